// Package normalizer turns raw frames into checked records: a consumer group
// that reads the ingest topic and writes one topic per data type.
//
//	ingest ─► poll ─┬─ partition 0: decode ─► schema ─► typed topics ─┐
//	                ├─ partition 1:   …         └ fault ─► dead letters├─► commit
//	                └─ …                                              ─┘
//
// Each index of a frame ends as exactly one message or one dead letter. On a
// real Kafka that is exact: records and offsets are committed in one transaction.
// On the embedded broker a frame may be normalized again after a kill, to
// messages with the same IDs. The messages of one agent keep the order in which
// the gateway took its frames.
//
// No input stops it: a frame that cannot be used costs one dead letter and no
// more time than any other.
package normalizer
