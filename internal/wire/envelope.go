package wire

import (
	"fmt"
	"sync"

	"sluice/message"
)

// Envelope is what one element of a frame says about itself. Its byte slices
// are parts of the frame.
//
// Members with a fault leave their field empty; the others are set whether or
// not there is a Fault.
type Envelope struct {
	// ID is who the agent says it is; Type is the data type, always one that
	// message.ValidType takes; Kind is data.type. Node is what the message
	// speaks of, empty where it says nothing.
	ID, Type, Kind, Node string
	// Time is the agent's clock in milliseconds, if HasTime.
	Time    int64
	HasTime bool
	// Body is the object data.body.
	Body []byte
	// Raw is the whole element.
	Raw []byte
	// Fault is the first thing wrong with the envelope, in the order id, type,
	// data, time, node, data.type, data.body. Its Field is the path within the
	// element, so one that starts with "data." is about what is inside data.
	Fault *message.Fault
}

// maxKind is the longest name of a kind, in bytes.
const maxKind = 64

// Check reports, as a *message.Fault, why b is not in the format f or breaks a
// limit. It does not ask for envelopes: any value will do.
func Check(f Format, b []byte, l Limits) error {
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.begin(l)
	switch f {
	case JSON:
		return orNil(s.checkJSON(b))
	case NDJSON:
		return orNil(s.checkLines(b))
	case Msgpack:
		return orNil(s.checkMsgpack(b))
	}
	return unknownFormat()
}

// Split checks b as Check does and appends its envelopes to dst, in their order:
// one for an object, one for each element of an array, one for each line of
// NDJSON. Faulty elements are among them, with their Fault.
//
// The error is a *message.Fault, for a frame unreadable as a whole: what Check
// finds, a frame that is neither object nor array, or one without any element
// (CodeEmpty). Then dst comes back as it was.
func Split(f Format, b []byte, l Limits, dst []Envelope) ([]Envelope, error) {
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.begin(l)
	old := len(dst)
	var fault *message.Fault
	switch f {
	case JSON:
		dst, fault = s.splitJSON(b, dst)
	case NDJSON:
		dst, fault = s.splitLines(b, dst)
	case Msgpack:
		dst, fault = s.splitMsgpack(b, dst)
	default:
		return dst, unknownFormat()
	}
	if fault == nil && len(dst) == old {
		fault = newFault(message.CodeEmpty, "", "the frame holds no message")
	}
	if fault != nil {
		clear(dst[old:])
		dst = dst[:old]
	}
	return dst, orNil(fault)
}

func unknownFormat() error {
	return newFault(message.CodeContentType, "", "neither JSON, NDJSON nor MessagePack")
}

func notContainer() *message.Fault {
	return newFault(message.CodeEnvelope, "", "want an object or an array of objects")
}

// state is what was found of one member of an envelope.
type state uint8

const (
	absent state = iota // not there, or null
	wrong               // there, of the wrong kind
	long                // text longer than any name
	empty               // text without a character
	good
)

// members is what was found of an envelope. Faults come from it, not from the
// order in which an agent happens to write its members.
type members struct {
	id, typ, data, time, node, kind, body state
}

// judge sets the fault of e and empties what is at fault.
func (e *Envelope) judge(m members) {
	if m.typ == good && !message.ValidType(e.Type) {
		e.Fault = newFault(message.CodeUnknownType, "type",
			fmt.Sprintf("%q cannot name a data type", message.Printable(e.Type, maxSegment)))
		e.Type = ""
	}
	if m.kind == good && len(e.Kind) > maxKind {
		m.kind, e.Kind = long, ""
	}
	if m.node == good && message.Printable(e.Node, message.MaxName) != e.Node {
		m.node, e.Node = wrong, ""
	}
	switch {
	case m.id != good:
		e.Fault = m.id.fault("id", "a name of at most 128 bytes")
	case m.typ != good:
		e.Fault = m.typ.fault("type", "the name of a data type")
	case e.Fault != nil:
	case m.data != good:
		e.Fault = m.data.fault("data", "an object")
	case m.time == wrong:
		e.Fault = m.time.fault("time", "whole milliseconds since 1970")
	case m.node != good && m.node != absent:
		e.Fault = m.node.fault("node", "a printable name of at most 128 bytes")
	case m.kind != good:
		e.Fault = m.kind.fault("data.type", "the name of a kind, at most 64 bytes")
	case m.body != good:
		e.Fault = m.body.fault("data.body", "an object")
	}
}

func (s state) fault(field, want string) *message.Fault {
	is := "is of the wrong kind"
	switch s {
	case absent:
		is = "is missing"
	case long:
		is = "is too long"
	case empty:
		is = "is empty"
	}
	return newFault(message.CodeEnvelope, field, is+", want "+want)
}

// notObject is the envelope of an element that is none.
func (e *Envelope) notObject(raw []byte) {
	e.Raw = raw
	e.Fault = newFault(message.CodeEnvelope, "", "want an object")
}

// scanners lends out the state that Check and Split need for a call.
var scanners = sync.Pool{New: func() any {
	return &scanner{names: newCache(1024), words: newCache(128)}
}}
