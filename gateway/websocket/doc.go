// Package websocket speaks sluice's own protocol, docs/protocol-websocket.md, on
// GET /v1/stream.
//
//	reader: hello ─► frame, frame, … ─► Conn.Ingest ─► Kafka
//	           │         │ ErrBusy or window full: pause          │
//	           ▼         ▼                                        ▼ done, in order
//	        welcome   refused            ack ◄─ at most every 5 ms ─ count
//	           └─────────┴───── one lock ─┘
//
// One goroutine per connection reads. An ack needs another for the moment of
// writing, and pings a timer, so a connection that says nothing costs neither.
//
// It guarantees that a number is acknowledged only when Kafka has every frame up
// to it that was not refused; that frames go to Kafka in their order, untouched;
// and that a frame of any declared length takes no more memory than the limit.
// It does not look into frames.
package websocket
