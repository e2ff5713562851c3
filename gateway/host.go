package gateway

import (
	"errors"
	"fmt"

	"sluice/message"
)

// Host is the gateway as a protocol sees it. A handler calls Login once per
// request or connection, before anything else; then Connect, if the connection
// lives on, and Conn.Ingest for its frames; or else Ingest.
//
// All methods return at once and may be called from any goroutine.
type Host interface {
	// Login returns the agent that a token belongs to. It returns
	// ErrUnauthorized for a token that is empty or not known, ErrBanned, or
	// ErrBusy while ingest takes nothing. Refused logins are counted by it.
	Login(protocol, token string) (agent string, err error)

	// Connect registers a long-lived connection whose agent has logged in. The
	// handler calls Close on what it returns when the connection is over. It
	// returns ErrBusy while ingest takes nothing.
	Connect(o Opening) (*Conn, error)

	// Ingest offers a frame and never blocks. With nil the frame is taken: its
	// bytes belong to the gateway, and done will be called exactly once, with
	// nil when Kafka has it, else with the error after which its fate is
	// unknown. ErrBusy means not taken: the handler keeps that one frame, stops
	// reading, offers it again, and offers no later one before. ErrTooLarge is
	// for a frame that no record can hold.
	//
	// Calls of done are in the order of the frames of one agent. They come from
	// one goroutine for all agents: done must not block, nor write to a socket.
	//
	// ReceivedAt is set by the gateway where it is zero.
	Ingest(f *message.Frame, done func(error)) error
}

// Opening describes a long-lived connection.
type Opening struct {
	// Agent is what Login returned, or made from it where several share a
	// credential: credential/name.
	Agent, Protocol, ContentType string
	// Session is part of the IDs of its frames, agent/session/seq; empty for
	// the connection's own ID, where frames are never sent again. A connection
	// ends an older one of the same agent and session.
	Session string
	// Network and Genesis are what the connection knows of the chain.
	Network, Genesis string
	// Done is called for every frame that Conn.Ingest took, as described at
	// Host.Ingest.
	Done func(error)
	// End is called at most once, in a goroutine of its own, when the gateway
	// wants the connection to end. The handler ends it and calls Conn.Close.
	End func(Reason)
}

// The errors of a Host.
var (
	// ErrUnauthorized says that a token is missing or belongs to nobody.
	ErrUnauthorized = errors.New("no agent has this token")
	// ErrBanned says that the agent may not come in.
	ErrBanned = errors.New("the agent is banned")
	// ErrBusy says that nothing is taken now, and to try again later.
	ErrBusy = errors.New("the gateway takes nothing now")
	// ErrDraining is ErrBusy for good: another gateway has to be asked.
	ErrDraining = fmt.Errorf("%w: it stops", ErrBusy)
	// ErrTooLarge says that no record of the ingest topic can hold the frame.
	ErrTooLarge = errors.New("the frame is larger than a record can be")
)

// Reason says why a connection ended. It stands in the gateway's own frames.
type Reason string

// The reasons. Replaced, Banned and Draining are the gateway's, which it gives
// to Opening.End; the others are the handler's, which it gives to Conn.Close.
const (
	Closed    Reason = "closed"     // the agent said that it is done
	Lost      Reason = "lost"       // the network connection broke
	Timeout   Reason = "timeout"    // nothing came for too long, or a message not to its end
	TooLarge  Reason = "too_large"  // a message so large that it was not read to its end
	Malformed Reason = "protocol"   // what came is not of the protocol
	Slow      Reason = "slow"       // the agent did not read what we wrote
	NotStored Reason = "not_stored" // Kafka answered a frame with an error
	Replaced  Reason = "replaced"   // the agent has newer connections
	Banned    Reason = "banned"     // the agent was banned or removed, or its token was
	Draining  Reason = "draining"   // the gateway stops
)
