package schemas

import (
	"encoding/binary"
	"strconv"
	"strings"
	"sync"

	"sluice/internal/wire"
	"sluice/message"
)

// BodyPath is what the field of a fault of Append starts with: where the body
// stands in the envelope.
const BodyPath = "data.body"

// Head is what every record has beside its body.
type Head struct {
	// ID is the message ID.
	ID string
	// Agent is who authenticated, Node what the message speaks of.
	Agent, Node string
	// Network and Genesis name the chain; empty where unknown.
	Network, Genesis string
	// ReceivedAt and ObservedAt are in milliseconds since 1970. ObservedAt is 0
	// where the agent gave no time.
	ReceivedAt, ObservedAt int64
}

// state is what one conversion needs; it is used again.
type state struct {
	c       cursor
	out     []byte
	spans   []span // of the records being read, the innermost last
	keys    []span // where in out the names in the maps being read stand
	tmp     []byte // a record being put in order
	unknown int
}

// span is where the value of a field stands in out. end is 0 for a field that
// is not there: a value never ends at the start of out.
type span struct {
	start, end int32
	own        bool // given by its own name
}

// maxKept is how many bytes of each of its parts a state keeps for the next body.
const maxKept = 64 << 10

var states = sync.Pool{New: func() any { return new(state) }}

// Append converts body, one JSON or MessagePack object with the fields of kind,
// to a record in Avro's single-object encoding and appends it to dst. On error
// dst comes back as it was; the error is a *message.Fault. unknown counts the
// names in body that the schema does not have. dst and body are not kept.
func (t *Type) Append(dst []byte, h *Head, kind string, f wire.Format, body []byte) (out []byte, unknown int, err error) {
	k, ok := t.index[kind]
	if !ok {
		return dst, 0, &message.Fault{
			Code: message.CodeUnknownKind, Field: "data.type",
			Reason: t.Name + " has no kind " + strconv.Quote(message.Printable(kind, 64)) + ": want one of " + strings.Join(t.Kinds, ", "),
		}
	}
	if f != wire.JSON && f != wire.Msgpack && f != wire.NDJSON {
		return dst, 0, &message.Fault{Code: message.CodeContentType, Field: BodyPath, Reason: "neither JSON nor MessagePack"}
	}
	s := states.Get().(*state)
	out, unknown, fault := s.append(t, dst, h, k, f, body)
	states.Put(s)
	if fault != nil {
		fault.Field = wire.Join(BodyPath, fault.Field)
		return dst, 0, fault
	}
	return out, unknown, nil
}

// append does the work of Append. s keeps nothing of its arguments.
func (s *state) append(t *Type, dst []byte, h *Head, kind int, f wire.Format, body []byte) ([]byte, int, *message.Fault) {
	s.c.reset(body, f == wire.Msgpack)
	s.out, s.unknown = t.appendHead(dst, h, kind), 0
	s.spans, s.keys = s.spans[:0], s.keys[:0]
	fault := s.body(t.kinds[kind])
	out := s.out
	s.out, s.c.b, s.c.text = nil, nil, nil
	// What one large body needed is not kept.
	if cap(s.tmp) > maxKept {
		s.tmp = nil
	}
	if cap(s.c.scratch) > maxKept {
		s.c.scratch = nil
	}
	if cap(s.keys) > maxKept/16 {
		s.keys = nil
	}
	return out, s.unknown, fault
}

func (t *Type) appendHead(b []byte, h *Head, kind int) []byte {
	b = append(b, t.header...)
	b = appendString(b, h.ID)
	b = appendString(b, h.Agent)
	b = appendString(b, h.Node)
	b = appendOptional(b, h.Network)
	b = appendOptional(b, h.Genesis)
	b = binary.AppendVarint(b, h.ReceivedAt)
	if h.ObservedAt == 0 {
		b = append(b, 0)
	} else {
		b = binary.AppendVarint(append(b, 2), h.ObservedAt)
	}
	return binary.AppendVarint(b, int64(kind))
}

func appendString[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, 0)
	}
	return appendString(append(b, 2), s)
}

func (s *state) body(r *record) *message.Fault {
	if fault := s.c.next(); fault != nil {
		return fault
	}
	if s.c.kind != tokenObject {
		return s.wanted("an object")
	}
	if fault := s.record(r); fault != nil {
		return fault
	}
	return s.c.end()
}

// wanted is the fault of a value of the wrong kind.
func (s *state) wanted(what string) *message.Fault {
	return &message.Fault{Code: message.CodeInvalid, Reason: "want " + what + ", got " + gots[s.c.kind]}
}

func outOfRange(reason string) *message.Fault {
	return &message.Fault{Code: message.CodeNumber, Reason: reason}
}

// value reads one value and appends it.
func (s *state) value(n *node) *message.Fault {
	if fault := s.c.next(); fault != nil {
		return fault
	}
	return s.write(n)
}

// write appends the value whose token was read last.
func (s *state) write(n *node) *message.Fault {
	if n.optional {
		if s.c.kind == tokenNull {
			s.out = append(s.out, 0)
			return nil
		}
		s.out = append(s.out, 2)
	}
	c := &s.c
	switch n.kind {
	case kindString:
		if c.kind == tokenString && !n.number {
			s.out = appendString(s.out, c.text)
			return nil
		}
		return s.text(n)
	case kindInt, kindLong:
		return s.integer(n)
	case kindFloat, kindDouble:
		return s.float(n)
	case kindBoolean:
		if c.kind != tokenBool {
			return s.wanted(n.wants())
		}
		if c.bool {
			s.out = append(s.out, 1)
		} else {
			s.out = append(s.out, 0)
		}
		return nil
	case kindRecord:
		if c.kind != tokenObject {
			return s.wanted(n.wants())
		}
		return s.record(n.rec)
	case kindArray:
		return s.array(n)
	case kindMap:
		return s.object(n)
	case kindEnum:
		if c.kind != tokenString {
			return s.wanted(n.wants())
		}
		for i, symbol := range n.symbols {
			if symbol == string(c.text) {
				s.out = binary.AppendVarint(s.out, int64(i))
				return nil
			}
		}
		return &message.Fault{Code: message.CodeInvalid, Reason: message.Printable("not one of "+strings.Join(n.symbols, ", "), message.MaxReason)}
	default:
		return s.bytes(n)
	}
}
