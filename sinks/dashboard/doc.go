// Package dashboard is the sink that people look at: a table of all nodes in the
// browser, kept live over a websocket of its own.
//
//	Write ─► fleet ◄─ view, at most hz times a second ─┬─► hub ─► one delta ─┬─► viewer ─► browser
//	          (mu)                                     │  (one goroutine)    └─► viewer ─► browser
//	                                                   └─► page, /api/v1/nodes      (two each: reads, writes)
//
// It keeps nothing that Kafka does not hold: it is broadcast, rebuilds itself
// from the history of the typed topics when it starts, and says so until that
// is done. Package fleet holds the state and guarantees that the order of
// messages does not matter.
//
// No viewer can slow another or the sink down: all get the same bytes, made
// once; one that falls behind gets the state instead of what it missed, and one
// that takes nothing is closed. It does not promise a viewer every change, only
// the latest state.
//
// The page is for reading. Nobody signs in, so by default it listens on this
// machine only, answers to names of this machine only, and refuses to listen
// elsewhere unless told so. What agents wrote reaches a browser as text.
package dashboard
