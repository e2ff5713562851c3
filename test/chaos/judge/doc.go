// Package judge decides whether a pipeline kept its word. A Ledger holds what
// agents sent and what was acknowledged; Pipeline compares it with all that
// stands in Kafka, and Table with all that stands in a table. Both are functions
// of what they are given, so that tests can show them made-up runs with one
// fault each and see that they find it.
//
//	agents ──► Ledger ──────────────┐
//	ingest ──► []Ingested ──────────┼─► Pipeline ─► Verdict
//	typed, dead letters ► []Outcome ┤
//	table ───► []Item ──────────────┴─► Table ────► Verdict
package judge
