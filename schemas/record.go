package schemas

import (
	"bytes"
	"encoding/binary"
	"slices"

	"sluice/internal/wire"
	"sluice/message"
)

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
			fault.Field = wire.Join(r.fields[i].name, fault.Field)
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
			fault.Field = wire.Join(f.members[i].name, fault.Field)
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
			fault.Field = wire.Join(wire.Index(count), fault.Field)
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
			fault.Field = wire.Join(n.member, fault.Field)
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
			fault.Field = wire.Join(s.key(key), fault.Field)
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
