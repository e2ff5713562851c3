package decode

import (
	"sluice/internal/wire"
	"sluice/message"
)

// Item is what one index of a frame says, before the schema has looked at it.
// Its byte slices are parts of the frame.
type Item struct {
	// Type is the data type, Kind the kind of its body, and Node what it speaks
	// of, empty for the agent itself.
	Type, Kind, Node string
	// Time is the agent's clock in milliseconds, if HasTime. Whether it is near
	// enough to be believed is for the normalizer to say.
	Time    int64
	HasTime bool
	// Format is how Body is encoded: JSON or Msgpack.
	Format wire.Format
	// Body is one object, whose structure wire has checked.
	Body []byte
	// At is the path of Body from the frame down, such as data.body or
	// [3].data.body.history[7]; empty where the frame itself is the body.
	At string
	// Raw is the bytes that a dead letter for this index holds. They are a frame
	// of the same protocol and content type that says the same.
	Raw []byte
	// Fault, if set, makes a dead letter of this index. Its Field is the path
	// from the frame down.
	Fault *message.Fault
}

// Path returns the path from the frame down of a field of the body.
func (it *Item) Path(field string) string { return wire.Join(it.At, field) }

// Decoder appends the items of a frame to dst, in the order of their index. The
// error is a *message.Fault: the frame is unreadable as a whole, or says nothing
// (CodeEmpty); dst comes back as it was. A Decoder may be called from many
// goroutines.
type Decoder func(f *message.Frame, dst []Item) ([]Item, error)

// Default returns the decoders of the protocols that sluice brings along, by the
// protocol's name. On a websocket the agent's time is mandatory.
func Default(l wire.Limits) map[string]Decoder {
	return map[string]Decoder{
		"websocket": Envelope(l, true),
		"rest":      Envelope(l, false),
		"gateway":   Gateway(),
	}
}
