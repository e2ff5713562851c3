// Package app is the process: the commands, the settings, and the stages put
// together from the plugins that plugins.go names.
//
// Every stage is built by one function of stage.go, for its own command and for
// `up`, which runs all of them in one process:
//
//	up:    broker ─ normalizer ─ sinks ─ gateway ─ agent      (started in this order,
//	roles: one of them, against a Kafka elsewhere              stopped in the reverse)
//
// A process stops within ten seconds of its first signal, each part after those
// that feed it, and at once on the second.
package app
