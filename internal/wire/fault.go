package wire

import (
	"strconv"

	"sluice/message"
)

// Bytes of the input that may appear in a fault: hostile input must not choose
// how long an error is.
const (
	maxSegment = 64
	maxField   = 256
	maxQuote   = 128
)

func newFault(code message.Code, field, reason string) *message.Fault {
	return &message.Fault{Code: code, Field: field, Reason: reason}
}

// orNil makes an error of f, which is a nil error if f is nil.
func orNil(f *message.Fault) error {
	if f == nil {
		return nil
	}
	f.Field = message.Printable(f.Field, maxField)
	return f
}

// Join puts the path field below parent, as in data.body and block.number, or
// [3] and data.body. Either may be empty.
func Join(parent, field string) string {
	switch {
	case parent == "":
		return field
	case field == "":
		return parent
	case field[0] == '[':
		return parent + field
	}
	return parent + "." + field
}

// Index returns the path of an array's element: [i].
func Index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// segment is a member's name as part of a path.
func segment(name string) string {
	if name == "" {
		return `""`
	}
	return message.Printable(name, maxSegment)
}
