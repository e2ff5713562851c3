package message

import "time"

// DeadLetter stands for what could not be used: one index of a frame, a frame
// unreadable as a whole, or a message that a sink rejected. Its identity is
// Stage and ID.
type DeadLetter struct {
	// Stage is where it fell: "normalizer", or "sink." and the sink's name.
	Stage string
	// ID is the message ID; for a frame unreadable as a whole, that of index 0.
	ID    string
	Agent string
	// Index is the place in the frame, and Count how many the frame has.
	Index, Count int
	Code         Code
	// Field is the path of the field at fault, such as body.pending; empty
	// where the fault is not a field's.
	Field string
	// Reason is one printable sentence of at most MaxReason bytes.
	Reason string
	// Value is the raw bytes: the frame, or the element of a frame that holds
	// several, or the record that a sink rejected.
	Value []byte
	// Topic, Partition and Offset are where the record that failed stands.
	Topic     string
	Partition int32
	Offset    int64
	// Src is the ingest record behind it.
	Src Source
	// Protocol, ContentType and Connection are the frame's.
	Protocol, ContentType, Connection string
	Network, Genesis                  string
	// ReceivedAt is the frame's.
	ReceivedAt time.Time
	// Attempts counts how often it was tried, from 1.
	Attempts int
}

// MaxReason is the length in bytes at which a reason is cut.
const MaxReason = 1024

// Code says why something became a dead letter or was refused. The list is
// closed: tools group by it.
type Code string

// The codes. The first group is of the bytes, the second of the envelope, the
// third of the body, the last of the stages behind.
const (
	CodeMalformed   Code = "malformed"    // neither JSON nor MessagePack as declared, or bytes after the end
	CodeDepth       Code = "depth"        // nested too deep
	CodeNodes       Code = "nodes"        // too many values
	CodeLength      Code = "length"       // a declared length runs past the end
	CodeUTF8        Code = "utf8"         // text that is not UTF-8
	CodeDuplicate   Code = "duplicate"    // a name twice in one object
	CodeNumber      Code = "number"       // not finite, or not a number this type can hold
	CodeContentType Code = "content_type" // an encoding the protocol does not have
	CodeProtocol    Code = "protocol"     // no decoder for the frame's protocol
	CodeDecoder     Code = "decoder"      // the decoder failed, which is no fault of the frame

	CodeEnvelope    Code = "envelope"     // a field of the envelope missing or of the wrong kind
	CodeUnknownType Code = "unknown_type" // a data type that has no schema
	CodeForeignID   Code = "foreign_id"   // id is not the agent that authenticated
	CodeTime        Code = "time"         // event time outside the accepted range
	CodeEmpty       Code = "empty"        // a frame with nothing to say

	CodeUnknownKind Code = "unknown_kind" // a kind the data type does not have
	CodeMissing     Code = "missing"      // a mandatory field of the body is absent
	CodeInvalid     Code = "invalid"      // a field of the body has the wrong kind of value

	CodeTooLarge    Code = "too_large"   // larger than the limit of the stage
	CodeUnreadable  Code = "unreadable"  // a sink cannot decode the record
	CodeUnsupported Code = "unsupported" // a sink has no place for such a message
)

// Codes lists every code.
var Codes = []Code{
	CodeMalformed, CodeDepth, CodeNodes, CodeLength, CodeUTF8, CodeDuplicate, CodeNumber,
	CodeContentType, CodeProtocol, CodeDecoder, CodeEnvelope, CodeUnknownType, CodeForeignID, CodeTime,
	CodeEmpty, CodeUnknownKind, CodeMissing, CodeInvalid, CodeTooLarge, CodeUnreadable,
	CodeUnsupported,
}
