package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
)

// shape is a schema reduced to what it takes to walk over a value: records have
// no lengths of their own in a block.
type shape struct {
	kind kind
	size int      // of fixed
	of   []*shape // fields of a record, branches of a union, items of an array or a map
}

type kind uint8

const (
	kindNull   kind = iota
	kindByte        // boolean
	kindVarint      // int, long, enum
	kindFixed       // fixed, float, double
	kindBytes       // bytes, string
	kindRecord
	kindUnion
	kindArray
	kindMap
)

var errNoID = errors.New("its first field is not the string id")

// compile returns the shape of a schema whose records begin with their ID.
func compile(schema string) (*shape, error) {
	var v any
	if err := json.Unmarshal([]byte(schema), &v); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	root, _ := v.(map[string]any)
	fields, _ := root["fields"].([]any)
	if len(fields) == 0 {
		return nil, errNoID
	}
	first, _ := fields[0].(map[string]any)
	s, err := (&compiler{named: map[string]*shape{}}).shape(v, "")
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	if first["name"] != "id" || s.kind != kindRecord || s.of[0].kind != kindBytes {
		return nil, errNoID
	}
	return s, nil
}

type compiler struct{ named map[string]*shape }

func (c *compiler) shape(v any, space string) (*shape, error) {
	switch v := v.(type) {
	case string:
		return c.name(v, space)
	case []any:
		s := &shape{kind: kindUnion}
		return s, c.add(s, v, space)
	case map[string]any:
		return c.complex(v, space)
	}
	return nil, fmt.Errorf("%T is no type", v)
}

func (c *compiler) name(name, space string) (*shape, error) {
	switch name {
	case "null":
		return &shape{kind: kindNull}, nil
	case "boolean":
		return &shape{kind: kindByte}, nil
	case "int", "long":
		return &shape{kind: kindVarint}, nil
	case "float":
		return &shape{kind: kindFixed, size: 4}, nil
	case "double":
		return &shape{kind: kindFixed, size: 8}, nil
	case "bytes", "string":
		return &shape{kind: kindBytes}, nil
	}
	if s := c.named[full(name, space)]; s != nil {
		return s, nil
	}
	if s := c.named[name]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("unknown type %q", name)
}

func full(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}

func (c *compiler) complex(m map[string]any, space string) (*shape, error) {
	s := &shape{}
	name, _ := m["name"].(string)
	if n, ok := m["namespace"].(string); ok {
		space = n
	}
	name = full(name, space)
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		space = name[:i]
	}
	switch t := m["type"]; t {
	case "record", "error":
		s.kind = kindRecord
		c.named[name] = s
		fields, _ := m["fields"].([]any)
		types := make([]any, len(fields))
		for i := range fields {
			f, _ := fields[i].(map[string]any)
			types[i] = f["type"]
		}
		return s, c.add(s, types, space)
	case "enum":
		s.kind = kindVarint
		c.named[name] = s
	case "fixed":
		size, ok := m["size"].(float64)
		if !ok || size < 0 || size > 1<<30 {
			return nil, fmt.Errorf("fixed %q has no size", name)
		}
		s.kind, s.size = kindFixed, int(size)
		c.named[name] = s
	case "array":
		s.kind = kindArray
		return s, c.add(s, []any{m["items"]}, space)
	case "map":
		s.kind = kindMap
		return s, c.add(s, []any{m["values"]}, space)
	default:
		return c.shape(t, space)
	}
	return s, nil
}

func (c *compiler) add(s *shape, types []any, space string) error {
	for _, t := range types {
		inner, err := c.shape(t, space)
		if err != nil {
			return err
		}
		s.of = append(s.of, inner)
	}
	return nil
}

// record returns the ID of the record that b begins with, and what follows the
// record; false if b does not begin with a whole one.
func (s *shape) record(b []byte) (id, rest []byte, ok bool) {
	w := walker{b: b}
	id = w.bytes()
	for _, f := range s.of[1:] {
		w.value(f, 0)
	}
	return id, w.b, !w.bad
}

// maxDepth is how deep values may nest; a schema may be recursive.
const maxDepth = 64

// walker walks over Avro bytes of which nothing is known: no count makes it
// take more steps than there are bytes.
type walker struct {
	b   []byte
	bad bool
}

func (w *walker) fail() {
	w.bad, w.b = true, nil
}

func (w *walker) long() int64 {
	v, n := binary.Varint(w.b)
	if n <= 0 {
		w.fail()
		return 0
	}
	w.b = w.b[n:]
	return v
}

func (w *walker) take(n int64) []byte {
	if n < 0 || n > int64(len(w.b)) {
		w.fail()
		return nil
	}
	b := w.b[:n]
	w.b = w.b[n:]
	return b
}

func (w *walker) bytes() []byte { return w.take(w.long()) }

func (w *walker) value(s *shape, depth int) {
	if w.bad || depth > maxDepth {
		w.fail()
		return
	}
	switch s.kind {
	case kindNull:
	case kindByte:
		w.take(1)
	case kindVarint:
		w.long()
	case kindFixed:
		w.take(int64(s.size))
	case kindBytes:
		w.bytes()
	case kindRecord:
		for _, f := range s.of {
			w.value(f, depth+1)
		}
	case kindUnion:
		i := w.long()
		if i < 0 || i >= int64(len(s.of)) {
			w.fail()
			return
		}
		w.value(s.of[i], depth+1)
	case kindArray, kindMap:
		w.blocks(s, depth)
	}
}

func (w *walker) blocks(s *shape, depth int) {
	for !w.bad {
		count := w.long()
		if count == 0 {
			return
		}
		if count < 0 {
			count = -count
			w.long()
		}
		if count < 0 || count > int64(len(w.b)) {
			w.fail()
		}
		for ; count > 0 && !w.bad; count-- {
			if s.kind == kindMap {
				w.bytes()
			}
			w.value(s.of[0], depth+1)
		}
	}
}
