// Package telemetry is how a process of sluice is seen from outside: its log, its
// traces, which it sends where OpenTelemetry's environment variables say, and
// its metrics and its health, which it serves on the admin address.
//
//	/livez    the process is not stuck; never depends on Kafka
//	/readyz   every part can do its work; ?verbose lists the parts as JSON
//	/metrics  Prometheus
//	/version  what was built
//
// It holds no state of the package's own: what it is given at the start is what
// it shows.
package telemetry
