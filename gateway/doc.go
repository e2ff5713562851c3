// Package gateway is the front door: it listens, knows the agents, bounds what
// they may do, and puts their frames into the ingest topic.
//
// It speaks no protocol itself. A protocol is a plugin in a folder of its own,
// an http.Handler that is given a Host.
//
//	socket ─► protocol ─ Ingest ─► budget ─► Producer ─► sluice.ingest
//	             ▲                    │          │
//	             │       ErrBusy ◄────┘          │ promise, in order per agent
//	             └──────────── done ◄────────────┘
//
//	one goroutine per socket reads; one of the producer calls every done; one of
//	the gateway, each quarter of a second, looks for a stall and writes the
//	gateway's own frames
//
// It guarantees that done is called once for every frame that was taken, with
// nil only when Kafka has the frame; that the frames taken and not decided never
// exceed the budget, whatever Kafka does; and that agents of one gateway cannot
// take each other's names. Beside the budget, memory is what a connection needs to
// read one frame, times the connections. A frame whose done got an error may be in Kafka or
// not: only the agent, by sending it again under the same ID, makes it certain.
//
// It keeps nothing beyond its sockets: agents come from a compacted topic, and
// connection limits hold for one gateway, not for all of them together.
package gateway
