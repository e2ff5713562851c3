package wire

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"sluice/message"
)

// few is up to how many names of an object are compared one by one; more are
// sorted first.
const few = 16

func (s *scanner) checkMsgpack(b []byte) *message.Fault {
	rest, f := s.pack(b, 1)
	if f != nil {
		return f
	}
	return packEnd(rest)
}

func packEnd(rest []byte) *message.Fault {
	if len(rest) > 0 {
		return newFault(message.CodeMalformed, "", "bytes after the end of the value")
	}
	return nil
}

func (s *scanner) splitMsgpack(b []byte, dst []Envelope) ([]Envelope, *message.Fault) {
	var f *message.Fault
	switch msgp.NextType(b) {
	case msgp.MapType:
		dst = append(dst, Envelope{})
		b, f = s.packEnvelope(b, &dst[len(dst)-1], 1)
	case msgp.ArrayType:
		var n int
		n, b, f = s.packOpen(b, msgp.ArrayType, 1)
		for i := 0; f == nil && i < n; i++ {
			dst = append(dst, Envelope{})
			if b, f = s.packEnvelope(b, &dst[len(dst)-1], 2); f != nil {
				f.Field = Join(Index(i), f.Field)
			}
		}
	default:
		if f = s.checkMsgpack(b); f == nil {
			f = notContainer()
		}
	}
	if f != nil {
		return dst, f
	}
	return dst, packEnd(b)
}

// packEnvelope reads the value at the start of b into e and returns what
// follows it.
func (s *scanner) packEnvelope(b []byte, e *Envelope, depth int) ([]byte, *message.Fault) {
	if msgp.NextType(b) != msgp.MapType {
		rest, f := s.pack(b, depth)
		if f == nil {
			e.notObject(b[:len(b)-len(rest)])
		}
		return rest, f
	}
	n, rest, f := s.packOpen(b, msgp.MapType, depth)
	if f != nil {
		return nil, f
	}
	var m members
	first := len(s.keys)
	for range n {
		var name []byte
		if name, rest, f = s.packName(rest, first); f != nil {
			return nil, f
		}
		switch string(name) {
		case "id":
			e.ID, m.id, rest, f = s.packString(rest, &s.names, depth+1)
		case "type":
			e.Type, m.typ, rest, f = s.packString(rest, &s.words, depth+1)
		case "node":
			e.Node, m.node, rest, f = s.packString(rest, &s.names, depth+1)
		case "time":
			e.Time, m.time, rest, f = s.packInteger(rest, depth+1)
			e.HasTime = m.time == good
		case "data":
			m.data, rest, f = s.packData(rest, e, &m, depth+1)
		default:
			rest, f = s.pack(rest, depth+1)
		}
		if f != nil {
			f.Field = Join(segment(string(name)), f.Field)
			return nil, f
		}
	}
	if f := s.packUnique(first); f != nil {
		return nil, f
	}
	e.Raw = b[:len(b)-len(rest)]
	e.judge(m)
	return rest, nil
}

// packData reads the member data of an envelope.
func (s *scanner) packData(b []byte, e *Envelope, m *members, depth int) (state, []byte, *message.Fault) {
	if kind := msgp.NextType(b); kind != msgp.MapType {
		rest, f := s.pack(b, depth)
		return packAbsentOr(kind, wrong), rest, f
	}
	n, rest, f := s.packOpen(b, msgp.MapType, depth)
	if f != nil {
		return wrong, nil, f
	}
	first := len(s.keys)
	for range n {
		var name []byte
		if name, rest, f = s.packName(rest, first); f != nil {
			return wrong, nil, f
		}
		switch string(name) {
		case "type":
			e.Kind, m.kind, rest, f = s.packString(rest, &s.words, depth+1)
		case "body":
			kind, body := msgp.NextType(rest), rest
			if rest, f = s.pack(rest, depth+1); kind == msgp.MapType {
				e.Body, m.body = body[:len(body)-len(rest)], good
			} else {
				m.body = packAbsentOr(kind, wrong)
			}
		default:
			rest, f = s.pack(rest, depth+1)
		}
		if f != nil {
			f.Field = Join(segment(string(name)), f.Field)
			return wrong, nil, f
		}
	}
	return good, rest, s.packUnique(first)
}

// packAbsentOr takes nil for a member that is not there.
func packAbsentOr(kind msgp.Type, other state) state {
	if kind == msgp.NilType {
		return absent
	}
	return other
}

// packString reads a value and returns it if it is text.
func (s *scanner) packString(b []byte, c *cache, depth int) (string, state, []byte, *message.Fault) {
	kind := msgp.NextType(b)
	rest, f := s.pack(b, depth)
	if f != nil || kind != msgp.StrType {
		return "", packAbsentOr(kind, wrong), rest, f
	}
	// pack has read it, so there is no error.
	v, _, _ := msgp.ReadStringZC(b)
	text, st := word(c, v)
	return text, st, rest, nil
}

// packInteger reads a value and returns it if it is an integer of 64 bits.
func (s *scanner) packInteger(b []byte, depth int) (int64, state, []byte, *message.Fault) {
	kind := msgp.NextType(b)
	rest, f := s.pack(b, depth)
	if f != nil || (kind != msgp.IntType && kind != msgp.UintType) {
		return 0, packAbsentOr(kind, wrong), rest, f
	}
	n, _, err := msgp.ReadInt64Bytes(b)
	if err != nil {
		return 0, wrong, rest, nil
	}
	return n, good, rest, nil
}

// pack reads any value at the start of b and returns what follows it. Lengths
// are held against the bytes left before anything relies on them.
func (s *scanner) pack(b []byte, depth int) ([]byte, *message.Fault) {
	var (
		err  error
		rest []byte
	)
	switch kind := msgp.NextType(b); kind {
	case msgp.MapType:
		n, rest, f := s.packOpen(b, kind, depth)
		if f != nil {
			return nil, f
		}
		first := len(s.keys)
		for range n {
			var name []byte
			if name, rest, f = s.packName(rest, first); f != nil {
				return nil, f
			}
			if rest, f = s.pack(rest, depth+1); f != nil {
				f.Field = Join(segment(string(name)), f.Field)
				return nil, f
			}
		}
		return rest, s.packUnique(first)
	case msgp.ArrayType:
		n, rest, f := s.packOpen(b, kind, depth)
		for i := 0; f == nil && i < n; i++ {
			if rest, f = s.pack(rest, depth+1); f != nil {
				f.Field = Join(Index(i), f.Field)
			}
		}
		return rest, f
	case msgp.StrType:
		var v []byte
		if v, rest, err = msgp.ReadStringZC(b); err == nil && !utf8.Valid(v) {
			return nil, newFault(message.CodeUTF8, "", "text that is not UTF-8")
		}
	case msgp.BinType:
		_, rest, err = msgp.ReadBytesZC(b)
	case msgp.IntType:
		_, rest, err = msgp.ReadInt64Bytes(b)
	case msgp.UintType:
		_, rest, err = msgp.ReadUint64Bytes(b)
	case msgp.Float64Type, msgp.Float32Type:
		var v float64
		if v, rest, err = msgp.ReadFloat64Bytes(b); err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			return nil, newFault(message.CodeNumber, "", "a number that is not finite")
		}
	case msgp.BoolType:
		_, rest, err = msgp.ReadBoolBytes(b)
	case msgp.NilType:
		rest, err = msgp.ReadNilBytes(b)
	default:
		if len(b) == 0 {
			return nil, packError(msgp.ErrShortBytes)
		}
		return nil, newFault(message.CodeMalformed, "", "a MessagePack extension or no MessagePack at all")
	}
	if err != nil {
		return nil, packError(err)
	}
	return rest, s.node()
}

// packOpen reads the header of a map or an array and returns how many members
// or elements follow.
func (s *scanner) packOpen(b []byte, kind msgp.Type, depth int) (int, []byte, *message.Fault) {
	if depth > s.limits.Depth {
		return 0, nil, tooDeep()
	}
	// least is the fewest bytes that a member or an element takes.
	read, least := msgp.ReadArrayHeaderBytes, uint64(1)
	if kind == msgp.MapType {
		read, least = msgp.ReadMapHeaderBytes, 2
	}
	n, rest, err := read(b)
	switch {
	case err != nil:
		return 0, nil, packError(err)
	case uint64(n)*least > uint64(len(rest)):
		return 0, nil, packError(msgp.ErrShortBytes)
	}
	return int(n), rest, s.node()
}

// packName reads a name of the object whose names start at first.
func (s *scanner) packName(b []byte, first int) (name, rest []byte, _ *message.Fault) {
	if len(b) > 0 && msgp.NextType(b) != msgp.StrType {
		return nil, nil, newFault(message.CodeMalformed, "", "a name that is not a string")
	}
	name, rest, err := msgp.ReadStringZC(b)
	if err != nil {
		return nil, nil, packError(err)
	}
	if !utf8.Valid(name) {
		return nil, nil, newFault(message.CodeUTF8, "", "a name that is not UTF-8")
	}
	if len(s.keys)-first < few {
		for _, k := range s.keys[first:] {
			if string(k) == string(name) {
				return nil, nil, packDuplicate(name)
			}
		}
	}
	s.keys = append(s.keys, name)
	return name, rest, nil
}

// packUnique ends the object whose names start at first, and makes sure that no
// name came twice in one of many.
func (s *scanner) packUnique(first int) *message.Fault {
	names := s.keys[first:]
	s.keys = s.keys[:first]
	if len(names) <= few {
		return nil
	}
	slices.SortFunc(names, bytes.Compare)
	for i := 1; i < len(names); i++ {
		if bytes.Equal(names[i-1], names[i]) {
			return packDuplicate(names[i])
		}
	}
	return nil
}

func packDuplicate(name []byte) *message.Fault {
	return newFault(message.CodeDuplicate, segment(string(name)), "a name twice in one object")
}

// packError makes a fault of an error of msgp.
func packError(err error) *message.Fault {
	if errors.Is(err, msgp.ErrShortBytes) {
		return newFault(message.CodeLength, "", "ends before its declared length")
	}
	return newFault(message.CodeMalformed, "", "not MessagePack")
}
