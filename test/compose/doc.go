// Package compose tests compose.yaml and what belongs to it. Without a Docker
// engine it reads the files: that nothing is reached from outside this machine
// or runs with more rights than it needs, that each command and setting is one
// that sluice has, and that each metric on the board and in the alerts is one
// that sluice shows, with these labels. With an engine it runs all of it, more
// than one of each stage, and kills and restarts what runs.
//
// It does not start Prometheus, Grafana or the schema registry.
package compose
