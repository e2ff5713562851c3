// Package agent is the client of sluice's websocket protocol
// (docs/protocol-websocket.md), and the collectors behind "sluice agent".
//
// What Send took is kept until the gateway has acknowledged or refused it: it is
// sent again, under the same number and as the same bytes, over as many
// connections as it takes, and in the order in which it was taken. So the
// gateway receives every frame at least once, and whoever stands behind it can
// tell the copies. The buffer is memory: what the process leaves unacknowledged
// when it ends is gone, and Pending says how much that is.
//
//	Send ──► buffer ──► writer ══ socket, many frames a write ══► gateway
//	 │         ▲  │                                                 │
//	 │ waits   │  └─ from the first unacknowledged number,          │
//	 │ while   │     again, on each connection                      │
//	 └ full    └── reader ◄══════════ ack, refused, ping ═══════════╝
//
// Run owns both goroutines and the connection. OnAck and OnRefused are called
// from the reader.
package agent
