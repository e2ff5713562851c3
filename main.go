// Command sluice gathers metrics from agents, keeps every raw frame in Kafka,
// turns the frames into checked records by type, and feeds those to sinks.
package main

import (
	"os"

	"sluice/app"
)

func main() { os.Exit(app.Main(app.Default())) }
