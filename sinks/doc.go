// Package sinks is the way out: the contract that every sink fulfils and the
// runner that feeds one from the typed topics.
//
//	typed topics ─► group or reader ─► runner ─► batch ─► Sink.Write ─► commit
//	                                     │ ▲                  │
//	                                     │ └── again, later ◄─┤ any other error
//	                                     └──► dead letters ◄──┘ *Rejected
//
// The runner promises a sink every message of the data types routed to it at
// least once, in the order of its partition, and commits an offset only when
// everything before it is durable in the sink or stands as a dead letter. It
// does not promise once: a batch comes again after an error, a crash or a
// rebalance, so a sink is idempotent by message ID.
//
// A sink is a plugin in a folder of its own, listed in app/plugins.go; see
// docs/adding-a-sink.md. Package sinktest holds the tests of the contract.
package sinks
