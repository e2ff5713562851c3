// Package chaos tests sluice as processes on a real Kafka and a real DynamoDB
// while they are killed, paused, stopped and multiplied, and judges what they
// leave (package judge). The faults are drawn from a seed that each test prints;
// SLUICE_TEST_SEED=N draws them again, though not the moments in which processes
// meet them.
//
//	            ┌─ gateway 0 ─┐            ┌─ normalizer 0 ─┐             ┌─ sink 0 ─┐
//	8 agents ─► proxy          ├─► ingest ─┼─ normalizer 1 ─┼─► typed ─┬─┴─ sink 1 ─┴─► table
//	   │        └─ gateway 1 ─┘    │       └─ normalizer 2 ─┘   │      └► observer      │
//	   ledger ─────────────────────┴────────── judge ◄──────────┴───────────────────────┘
//
// It takes minutes, so `go test ./...` says that it was left out; `make chaos`
// runs it (SLUICE_TEST_LONG=1).
package chaos
