// Package message holds the words that every stage shares: the frame an agent
// sent, the message a frame becomes, the dead letter that stands for what could
// not be used, and the names of topics and record headers.
//
// It is data only. It does no I/O, starts nothing and imports nothing of ours,
// so that gateway, normalizer and sinks can speak of the same things without
// knowing one another:
//
//	agent ─ Frame ─► ingest ─► normalizer ─┬─ Message ─► typed topic ─► sinks
//	                                       └─ DeadLetter ─► dead letters
package message
