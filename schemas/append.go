package schemas

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
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
		fault.Field = join(BodyPath, fault.Field)
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

// join puts a path together; an index needs no dot.
func join(path, rest string) string {
	if rest == "" || rest[0] == '[' {
		return path + rest
	}
	return path + "." + rest
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

// record reads an object. Fields are appended as they come and put into the
// schema's order after the last, unless they came in it.
func (s *state) record(r *record) *message.Fault {
	base, start := len(s.spans), len(s.out)
	s.spans = slices.Grow(s.spans, len(r.fields))[:base+len(r.fields)]
	clear(s.spans[base:])
	guess := 0
	for l := s.c.list(); ; {
		more, fault := s.c.more(&l)
		if fault != nil {
			return fault
		}
		if !more {
			break
		}
		name, fault := s.c.name()
		if fault != nil {
			return fault
		}
		i := guess
		if i >= len(r.fields) || string(name) != r.fields[i].name {
			var known bool
			if i, known = r.index[string(name)]; !known {
				s.unknown++
				if fault := s.ignore(); fault != nil {
					return fault
				}
				continue
			}
		}
		own := i < len(r.fields)
		if !own {
			i -= len(r.fields)
		}
		guess = i + 1
		if fault := s.field(r, base, i, own); fault != nil {
			fault.Field = join(r.fields[i].name, fault.Field)
			return fault
		}
	}
	fault := s.arrange(r, base, start)
	s.spans = s.spans[:base]
	return fault
}

func (s *state) ignore() *message.Fault {
	if fault := s.c.next(); fault != nil {
		return fault
	}
	return s.c.skip()
}

// field reads the value of one field. A value given by the field's own name
// wins over one given otherwise.
func (s *state) field(r *record, base, i int, own bool) *message.Fault {
	f := &r.fields[i]
	sp := s.spans[base+i]
	if sp.own && own {
		return &message.Fault{Code: message.CodeDuplicate, Reason: "given twice"}
	}
	if sp.end != 0 && !own {
		return s.ignore()
	}
	if fault := s.c.next(); fault != nil {
		return fault
	}
	if s.c.kind == tokenNull && !f.node.optional && f.def != nil {
		return nil
	}
	var fault *message.Fault
	if f.node.flag && s.c.kind == tokenObject {
		if fault = s.members(r, base, f); fault != nil {
			return fault
		}
		sp.start = int32(len(s.out))
		if f.node.optional {
			s.out = append(s.out, 2)
		}
		s.out = append(s.out, 1)
	} else {
		sp.start = int32(len(s.out))
		if fault = s.write(f.node); fault != nil {
			return fault
		}
	}
	s.spans[base+i] = span{sp.start, int32(len(s.out)), own}
	return nil
}

// members reads the object given for a flag: other fields are filled from it.
func (s *state) members(r *record, base int, f *field) *message.Fault {
	for l := s.c.list(); ; {
		more, fault := s.c.more(&l)
		if fault != nil || !more {
			return fault
		}
		name, fault := s.c.name()
		if fault != nil {
			return fault
		}
		i := slices.IndexFunc(f.members, func(m member) bool { return m.name == string(name) })
		if i < 0 {
			if fault := s.ignore(); fault != nil {
				return fault
			}
			continue
		}
		if fault := s.field(r, base, f.members[i].field, false); fault != nil {
			fault.Field = join(f.members[i].name, fault.Field)
			return fault
		}
	}
}

// arrange puts the fields of a record into order and fills in defaults.
func (s *state) arrange(r *record, base, start int) *message.Fault {
	spans := s.spans[base:]
	at := int32(start)
	for i := range spans {
		if spans[i].start != at || spans[i].end == 0 {
			return s.rearrange(r, spans, start)
		}
		at = spans[i].end
	}
	if int(at) != len(s.out) {
		return s.rearrange(r, spans, start)
	}
	return nil
}

func (s *state) rearrange(r *record, spans []span, start int) *message.Fault {
	s.tmp = s.tmp[:0]
	for i := range spans {
		f := &r.fields[i]
		switch {
		case spans[i].end != 0:
			s.tmp = append(s.tmp, s.out[spans[i].start:spans[i].end]...)
		case f.def != nil:
			s.tmp = append(s.tmp, f.def...)
		default:
			return &message.Fault{Code: message.CodeMissing, Field: f.name, Reason: "missing, want " + f.node.wants()}
		}
	}
	s.out = append(s.out[:start], s.tmp...)
	return nil
}

// array reads an array into one block, as goavro does: the count, the items,
// a zero.
func (s *state) array(n *node) *message.Fault {
	if s.c.kind != tokenArray {
		return s.wanted(n.wants())
	}
	start, count := s.open()
	for l := s.c.list(); ; count++ {
		more, fault := s.c.more(&l)
		if fault != nil {
			return fault
		}
		if !more {
			s.close(start, count)
			return nil
		}
		if fault = s.c.next(); fault == nil {
			if n.member != "" && s.c.kind == tokenObject {
				fault = s.member(n)
			} else {
				fault = s.write(n.elem)
			}
		}
		if fault != nil {
			fault.Field = join("["+strconv.Itoa(count)+"]", fault.Field)
			return fault
		}
	}
}

// member reads an object that stands for one of its members, a string.
func (s *state) member(n *node) *message.Fault {
	start := len(s.out)
	for l := s.c.list(); ; {
		more, fault := s.c.more(&l)
		if fault != nil {
			return fault
		}
		if !more {
			if len(s.out) == start {
				s.out = append(s.out, 0)
			}
			return nil
		}
		name, fault := s.c.name()
		if fault != nil {
			return fault
		}
		if string(name) != n.member {
			if fault := s.ignore(); fault != nil {
				return fault
			}
			continue
		}
		if len(s.out) > start {
			return &message.Fault{Code: message.CodeDuplicate, Field: n.member, Reason: "given twice"}
		}
		if fault := s.value(n.elem); fault != nil {
			fault.Field = join(n.member, fault.Field)
			return fault
		}
	}
}

// object reads a map.
func (s *state) object(n *node) *message.Fault {
	if s.c.kind != tokenObject {
		return s.wanted(n.wants())
	}
	start, count := s.open()
	base := len(s.keys)
	for l := s.c.list(); ; count++ {
		more, fault := s.c.more(&l)
		if fault != nil {
			return fault
		}
		if !more {
			break
		}
		name, fault := s.c.name()
		if fault != nil {
			return fault
		}
		s.out = appendString(s.out, name)
		key := span{start: int32(len(s.out) - len(name)), end: int32(len(s.out))}
		s.keys = append(s.keys, key)
		if fault := s.value(n.elem); fault != nil {
			fault.Field = join(s.key(key), fault.Field)
			return fault
		}
	}
	keys := s.keys[base:]
	s.keys = s.keys[:base]
	slices.SortFunc(keys, func(a, b span) int { return bytes.Compare(s.out[a.start:a.end], s.out[b.start:b.end]) })
	for i := 1; i < len(keys); i++ {
		if a, b := keys[i-1], keys[i]; string(s.out[a.start:a.end]) == string(s.out[b.start:b.end]) {
			return &message.Fault{Code: message.CodeDuplicate, Field: s.key(b), Reason: "given twice"}
		}
	}
	s.close(start, count)
	return nil
}

// key returns a name in a map for the path of a fault.
func (s *state) key(k span) string {
	return message.Printable(string(s.out[k.start:k.end]), 64)
}

// open leaves a byte for the count of a block.
func (s *state) open() (start, count int) {
	s.out = append(s.out, 0)
	return len(s.out) - 1, 0
}

// close writes the count of a block and what ends it.
func (s *state) close(start, count int) {
	if count == 0 {
		return // the byte left is the end
	}
	var buf [binary.MaxVarintLen64]byte
	w := binary.PutVarint(buf[:], int64(count))
	s.out = slices.Insert(s.out, start+1, buf[1:w]...)
	s.out[start] = buf[0]
	s.out = append(s.out, 0)
}

func (s *state) integer(n *node) *message.Fault {
	v, fits := s.c.int, s.c.fits
	if s.c.kind == tokenString && n.number {
		b, ok := s.decimal()
		if !ok {
			return s.wanted(n.wants())
		}
		v, fits = parseInt(b)
	} else if s.c.kind != tokenInt {
		return s.wanted(n.wants())
	}
	if n.kind == kindInt && (!fits || v != int64(int32(v))) {
		return outOfRange("an integer that does not fit 32 bits")
	}
	if !fits {
		return outOfRange("an integer that does not fit 64 bits")
	}
	s.out = binary.AppendVarint(s.out, v)
	return nil
}

func (s *state) float(n *node) *message.Fault {
	var v float64
	var err error
	c := &s.c
	switch {
	case c.kind == tokenFloat && c.msgpack:
		v = c.float
	case c.kind == tokenInt && c.fits && (c.int != 0 || c.msgpack):
		v = float64(c.int)
	case c.kind == tokenInt || c.kind == tokenFloat: // -0 is not 0
		v, err = strconv.ParseFloat(string(c.text), 64)
	case c.kind == tokenString && n.number:
		t := cursor{b: c.text}
		if len(c.text) == 0 || t.number() != nil || len(t.b) > 0 {
			return s.wanted(n.wants())
		}
		v, err = strconv.ParseFloat(string(c.text), 64)
	default:
		return s.wanted(n.wants())
	}
	if n.kind == kindFloat {
		v = float64(float32(v))
	}
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return outOfRange("a number that is not finite or too large")
	}
	if n.kind == kindFloat {
		s.out = binary.LittleEndian.AppendUint32(s.out, math.Float32bits(float32(v)))
	} else {
		s.out = binary.LittleEndian.AppendUint64(s.out, math.Float64bits(v))
	}
	return nil
}

// text writes what stands for a string in a field with sluice.number or
// sluice.text.
func (s *state) text(n *node) *message.Fault {
	c := &s.c
	switch {
	case n.number && c.kind == tokenString:
		b, ok := s.decimal()
		if !ok {
			return s.wanted(n.wants())
		}
		s.out = appendString(s.out, b)
	case (n.number || n.text) && c.kind == tokenInt:
		b := c.text
		if c.fits {
			c.scratch = strconv.AppendInt(c.scratch[:0], c.int, 10)
			b = c.scratch
		}
		s.out = appendString(s.out, b)
	case n.text && c.kind == tokenBool:
		s.out = appendString(s.out, strconv.FormatBool(c.bool))
	default:
		return s.wanted(n.wants())
	}
	return nil
}

// decimal returns the digits of the integer that the last string holds, as
// decimal or 0x and hexadecimal, without leading zeros.
func (s *state) decimal() ([]byte, bool) {
	b := s.c.text
	if len(b) > 2 && b[0] == '0' && b[1]|0x20 == 'x' {
		return s.hexadecimal(b[2:])
	}
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if end, ok := digits(b, 0); !ok || end != len(b) {
		return nil, false
	}
	for len(b) > 1 && b[0] == '0' {
		b = b[1:]
	}
	if neg && b[0] != '0' {
		s.c.scratch = append(append(s.c.scratch[:0], '-'), b...)
		return s.c.scratch, true
	}
	return b, true
}

func (s *state) hexadecimal(b []byte) ([]byte, bool) {
	if len(b) > 64 {
		return nil, false
	}
	for _, ch := range b {
		if ch-'0' > 9 && ch|0x20-'a' > 5 {
			return nil, false
		}
	}
	c := &s.c
	if len(b) <= 16 {
		v, err := strconv.ParseUint(string(b), 16, 64)
		c.scratch = strconv.AppendUint(c.scratch[:0], v, 10)
		return c.scratch, err == nil
	}
	v, ok := new(big.Int).SetString(string(b), 16)
	if !ok {
		return nil, false
	}
	c.scratch = v.Append(c.scratch[:0], 10)
	return c.scratch, true
}

func (s *state) bytes(n *node) *message.Fault {
	b := s.c.text
	switch {
	case s.c.kind == tokenBytes:
	case s.c.kind == tokenString && !s.c.msgpack:
		var err error
		if b, err = base64.StdEncoding.AppendDecode(nil, b); err != nil {
			return &message.Fault{Code: message.CodeInvalid, Reason: "want bytes in base64"}
		}
	default:
		return s.wanted(n.wants())
	}
	if n.kind == kindBytes {
		s.out = appendString(s.out, b)
		return nil
	}
	if len(b) != n.size {
		return &message.Fault{Code: message.CodeInvalid, Reason: "want " + strconv.Itoa(n.size) + " bytes, got " + strconv.Itoa(len(b))}
	}
	s.out = append(s.out, b...)
	return nil
}
