package schemas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/message"
)

// ErrUnknownSchema says that a record was written under a schema that the
// reader has not learned yet. The schema is on the schemas topic before the
// record is on its own: read that topic to its end and try again. The error
// returned is an *UnknownSchemaError.
var ErrUnknownSchema = errors.New("unknown schema")

// UnknownSchemaError carries what names the schema.
type UnknownSchemaError struct {
	// Fingerprint is that of a record in Avro's single-object encoding.
	Fingerprint uint64
	// ID is the schema's ID in a Confluent registry, where Registry is set.
	ID       uint32
	Registry bool
	// Err, if not nil, is why the schema was not found when it was looked for.
	Err error
}

// Error names the schema and says why it was not found.
func (e *UnknownSchemaError) Error() string {
	name := fmt.Sprintf("fingerprint %016x", e.Fingerprint)
	if e.Registry {
		name = fmt.Sprintf("id %d", e.ID)
	}
	if e.Err != nil {
		return "unknown schema: " + name + ": " + e.Err.Error()
	}
	return "unknown schema: " + name
}

// Unwrap returns why the schema was not found.
func (e *UnknownSchemaError) Unwrap() error { return e.Err }

// Is reports whether target is ErrUnknownSchema.
func (e *UnknownSchemaError) Is(target error) bool { return target == ErrUnknownSchema }

// Reader reads records that were written under any schema it knows. It is safe
// for concurrent use.
type Reader struct {
	set  *Set
	mu   sync.Mutex // held by who changes known
	last atomic.Pointer[known]
}

// known is the writers' schemas. It is replaced, never changed.
type known struct {
	byFingerprint map[uint64]*Type
	byID          map[uint32]*Type
}

// NewReader returns a Reader that knows the schemas of s. Bodies get the
// defaults of s for fields that the writer of a record did not have.
func NewReader(s *Set) *Reader {
	k := &known{byFingerprint: make(map[uint64]*Type, len(s.types)), byID: make(map[uint32]*Type)}
	for _, t := range s.types {
		k.byFingerprint[t.Fingerprint] = t
	}
	r := &Reader{set: s}
	r.last.Store(k)
	return r
}

// Learn adds the schema of a writer, as the schemas topic has it. It takes what
// Load takes.
func (r *Reader) Learn(schema string) error {
	return r.learn(schema, func(k *known, t *Type) { k.byFingerprint[t.Fingerprint] = t })
}

// LearnID adds the schema that has this ID in a Confluent registry.
func (r *Reader) LearnID(id uint32, schema string) error {
	return r.learn(schema, func(k *known, t *Type) {
		// The same schema in another spelling reads the same: it stays one type.
		if have := k.byFingerprint[t.Fingerprint]; have != nil {
			t = have
		}
		k.byFingerprint[t.Fingerprint] = t
		k.byID[id] = t
	})
}

// byID returns the type that has this ID, nil if none is known.
func (r *Reader) byID(id uint32) *Type { return r.last.Load().byID[id] }

func (r *Reader) learn(schema string, put func(*known, *Type)) error {
	t, problems := compile("schema", []byte(schema))
	if problems != nil {
		return fmt.Errorf("learn schema: %w", errors.Join(problems...))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.last.Load()
	k := &known{byFingerprint: maps.Clone(old.byFingerprint), byID: maps.Clone(old.byID)}
	put(k, t)
	r.last.Store(k)
	return nil
}

// Read decodes a record of a typed topic into m: ID, Agent, Node, Network,
// Genesis, Type, Kind, ReceivedAt, ObservedAt, Schema and Avro, and Body if
// bodies is set. The rest of m stays as it is. m.Avro is a part of value.
//
// The whole record is checked against the writer's schema whether Body is
// wanted or not. The error is an *UnknownSchemaError or a *message.Fault with
// CodeUnreadable.
//
// In Body a boolean is a bool, an int an int32, a long an int64, a timestamp a
// time.Time in UTC, float and double float32 and float64, bytes and fixed
// []byte, string and enum string, an array []any, map and record
// map[string]any, and an optional value that is absent nil. It has the fields
// of the writer's schema and those that the reader's has besides.
func (r *Reader) Read(value []byte, m *message.Message, bodies bool) error {
	t, b, err := r.writer(value)
	if err != nil {
		return err
	}
	m.Avro = b
	d := decoder{b: b}
	m.ID, m.Agent, m.Node = d.string(), d.string(), d.string()
	m.Network, m.Genesis = d.optional(), d.optional()
	m.ReceivedAt = time.UnixMilli(d.long()).UTC()
	m.ObservedAt = time.Time{}
	if d.present() {
		m.ObservedAt = time.UnixMilli(d.long()).UTC()
	}
	body := d.b
	k := d.long()
	if d.bad || k < 0 || k >= int64(len(t.kinds)) {
		return unreadable("the head")
	}
	d.record(t.kinds[k])
	if d.bad {
		return unreadable("the body")
	}
	if len(d.b) > 0 {
		return unreadable("the end: bytes follow it")
	}
	m.Type, m.Kind, m.Schema, m.Body = t.Name, t.Kinds[k], t.Schema, nil
	if bodies {
		m.Body, err = r.body(t, t.kinds[k], body)
	}
	return err
}

func unreadable(what string) error {
	return &message.Fault{Code: message.CodeUnreadable, Reason: "not Avro of its schema: " + what}
}

// writer returns the type that value was written under, and the value without
// its framing.
func (r *Reader) writer(value []byte) (*Type, []byte, error) {
	known := r.last.Load()
	switch {
	case len(value) >= 10 && value[0] == 0xC3 && value[1] == 0x01:
		fp := binary.LittleEndian.Uint64(value[2:])
		if t := known.byFingerprint[fp]; t != nil {
			return t, value[10:], nil
		}
		return nil, nil, &UnknownSchemaError{Fingerprint: fp}
	case len(value) >= 5 && value[0] == 0:
		id := binary.BigEndian.Uint32(value[1:])
		if t := known.byID[id]; t != nil {
			return t, value[5:], nil
		}
		return nil, nil, &UnknownSchemaError{ID: id, Registry: true}
	}
	return nil, nil, &message.Fault{Code: message.CodeUnreadable, Reason: "no framing that names a schema"}
}

// body decodes the body with goavro. The bytes have passed the decoder, so that
// no count in them makes goavro allocate more than they are worth.
func (r *Reader) body(t *Type, w *record, b []byte) (map[string]any, error) {
	native, rest, err := t.body.NativeFromBinary(b)
	if err != nil || len(rest) > 0 {
		return nil, unreadable("goavro refuses the body")
	}
	var newest *record
	if reader := r.set.types[t.Name]; reader != nil {
		if i, ok := reader.index[w.name]; ok {
			newest = reader.kinds[i]
		}
	}
	body, _ := native.(map[string]any)
	body, ok := branch(body["body"]).(map[string]any)
	if !ok {
		return nil, unreadable("goavro has no record")
	}
	resolveRecord(w, newest, body)
	return body, nil
}

// branch returns the value of a union in goavro's form: a map with one member.
func branch(v any) any {
	m, _ := v.(map[string]any)
	for _, v := range m {
		return v
	}
	return nil
}

// resolveRecord turns goavro's form of a record into ours, in place, and adds
// what the reader's record has besides; reader may be nil.
func resolveRecord(writer, reader *record, m map[string]any) {
	for i := range writer.fields {
		f := &writer.fields[i]
		m[f.name] = resolve(f.node, reader.node(f.name), m[f.name])
	}
	if reader == nil {
		return
	}
	for i := range reader.fields {
		f := &reader.fields[i]
		if _, there := m[f.name]; !there {
			m[f.name] = f.node.native(f.defJSON)
		}
	}
}

// node returns the type of a field, nil where there is none.
func (r *record) node(name string) *node {
	if r == nil {
		return nil
	}
	if i, ok := r.index[name]; ok && i < len(r.fields) {
		return r.fields[i].node
	}
	return nil
}

func resolve(w, r *node, v any) any {
	if w.optional {
		if v == nil {
			return nil
		}
		v = branch(v)
	}
	if r != nil && r.kind != w.kind {
		return promote(r.kind, v)
	}
	switch v := v.(type) {
	case map[string]any:
		if w.kind == kindRecord {
			var rec *record
			if r != nil {
				rec = r.rec
			}
			resolveRecord(w.rec, rec, v)
			break
		}
		for name := range v {
			v[name] = resolve(w.elem, r.item(), v[name])
		}
	case []any:
		for i := range v {
			v[i] = resolve(w.elem, r.item(), v[i])
		}
	case time.Time:
		return v.UTC()
	}
	return v
}

func (n *node) item() *node {
	if n == nil {
		return nil
	}
	return n.elem
}

// promote makes v what the reader's schema wants where the writer's had a
// smaller type, as Avro's schema resolution allows; it leaves all else.
func promote(to kind, v any) any {
	switch v := v.(type) {
	case int32:
		switch to {
		case kindLong:
			return int64(v)
		case kindFloat:
			return float32(v)
		case kindDouble:
			return float64(v)
		}
	case int64:
		switch to {
		case kindFloat:
			return float32(v)
		case kindDouble:
			return float64(v)
		}
	case float32:
		if to == kindDouble {
			return float64(v)
		}
	case string:
		if to == kindBytes {
			return []byte(v)
		}
	case []byte:
		if to == kindString {
			return strings.ToValidUTF8(string(v), "\uFFFD")
		}
	}
	return v
}
