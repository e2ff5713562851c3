// Package fleet holds the state of all nodes as the messages tell it. It does
// no I/O, has no clock and no goroutine.
//
// It guarantees that the same set of messages gives the same view at the same
// time, in whatever order they come and however often each comes: of every
// group of fields only the latest message counts, as message.Supersedes orders
// them, and everything else kept is a maximum, a minimum or a set. So a view
// built live and one rebuilt from history agree, and loading old messages
// behind new ones does no harm.
//
// States follow the gateway's clock, never an agent's. What is older than
// Forget is gone, and only there the order can show: a node forgotten by Sweep
// does not get back what it had said before.
//
// A Fleet is not safe for concurrent use.
package fleet
