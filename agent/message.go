package agent

import (
	"errors"
	"fmt"
	"time"

	"sluice/message"
)

// Message is one fact to report.
type Message struct {
	// Type is the data type, such as system_metrics, and Kind the branch of its
	// body, such as load.
	Type, Kind string
	// Node is what the message speaks of; empty means the agent itself.
	Node string
	// Time is when the fact was made; zero means when Send was called. It
	// travels in milliseconds.
	Time time.Time
	// Body holds the fields of the kind: a map[string]any, or whatever encodes
	// as a JSON object, such as a struct with json tags or a jsontext.Value.
	// Integers keep every digit in both encodings; MessagePack has none beyond
	// 64 bits, so larger ones must be strings, as the schemas want them anyway.
	Body any
}

// check returns an error for an envelope that could only become a dead letter.
func (m *Message) check() error {
	switch {
	case !message.ValidType(m.Type):
		return fmt.Errorf("type %q cannot name a data type", m.Type)
	case m.Kind == "":
		return errors.New("message without a kind")
	}
	return nil
}

// TooLarge is the error of Send for a frame that the gateway would refuse. The
// frame was not taken.
type TooLarge struct {
	// Size is the frame's, Limit the most that the gateway takes, in bytes.
	Size, Limit int
}

// Error returns both sizes.
func (e *TooLarge) Error() string {
	return fmt.Sprintf("frame of %d bytes is larger than the %d that the gateway takes", e.Size, e.Limit)
}

// Refused is a frame that the gateway did not take. The client drops it, but has
// to send it again in its place when a connection ends while frames before it
// are unacknowledged; a gateway with a larger limit then takes it after all.
type Refused struct {
	// Seq is its number.
	Seq uint64
	// Code is the gateway's reason, such as too_large.
	Code string
	// Limit is the limit that it broke, in bytes; 0 where there is none.
	Limit int
	// Frame is the frame as it was sent.
	Frame []byte
}

// Errors of Send, TrySend and Flush.
var (
	// ErrClosed says that Run has ended, or is ending: nothing more is sent.
	ErrClosed = errors.New("agent client is closed")
	// ErrFull says that as much is unacknowledged as the buffer holds.
	ErrFull = errors.New("buffer of unacknowledged frames is full")
)
