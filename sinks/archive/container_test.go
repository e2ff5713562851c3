package archive

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/linkedin/goavro/v2"

	"sluice/sinks/sinktest"
)

// every has every type of Avro.
const every = `{"type":"record","name":"every","namespace":"a.b","fields":[
	{"name":"id","type":"string"},
	{"name":"boolean","type":"boolean"},{"name":"int","type":"int"},{"name":"long","type":{"type":"long","logicalType":"timestamp-millis"}},
	{"name":"float","type":"float"},{"name":"double","type":"double"},{"name":"bytes","type":"bytes"},{"name":"null","type":"null"},
	{"name":"fixed","type":{"type":"fixed","name":"f","size":3}},
	{"name":"enum","type":{"type":"enum","name":"e","symbols":["A","B"]}},
	{"name":"map","type":{"type":"map","values":"long"}},
	{"name":"array","type":{"type":"array","items":{"type":"record","name":"inner","fields":[{"name":"f","type":["null","a.b.f"]},{"name":"e","type":"e"}]}}},
	{"name":"again","type":["null","inner"]},
	{"name":"list","type":["null",{"type":"record","name":"list","fields":[{"name":"next","type":["null","list"]}]}]}
]}`

func TestWalk(t *testing.T) {
	codec, err := goavro.NewCodec(every)
	if err != nil {
		t.Fatal(err)
	}
	inner := map[string]any{"f": goavro.Union("a.b.f", []byte("xyz")), "e": "B"}
	b, err := codec.BinaryFromNative(nil, map[string]any{
		"id": "a/s/1#0", "boolean": true, "int": int32(-5), "long": int64(1_700_000_000_000), "float": float32(1), "double": 2.0,
		"bytes": []byte{1, 2}, "null": nil, "fixed": []byte("abc"), "enum": "A",
		"map": map[string]any{"x": int64(1), "y": int64(-1)}, "array": []any{inner, inner, map[string]any{"f": nil, "e": "A"}},
		"again": goavro.Union("a.b.inner", inner),
		"list":  goavro.Union("a.b.list", map[string]any{"next": goavro.Union("a.b.list", map[string]any{"next": nil})}),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := compile(every)
	if err != nil {
		t.Fatal(err)
	}
	id, rest, ok := s.record(append(b, "rest"...))
	if !ok || string(id) != "a/s/1#0" || string(rest) != "rest" {
		t.Errorf("got %q, %q, %t", id, rest, ok)
	}
	for n := range b {
		if _, _, ok := s.record(b[:n]); ok {
			t.Errorf("took the first %d of %d bytes for a record", n, len(b))
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, schema := range []string{
		``, `"string"`, `{"type":"record","name":"r","fields":[]}`,
		`{"type":"record","name":"r","fields":[{"name":"x","type":"string"}]}`,
		`{"type":"record","name":"r","fields":[{"name":"id","type":"long"}]}`,
		`{"type":"record","name":"r","fields":[{"name":"id","type":"string"},{"name":"x","type":"nothing"}]}`,
		`{"type":"array","items":"string","fields":[{"name":"id"}]}`,
	} {
		if _, err := compile(schema); err == nil {
			t.Errorf("compiled %s", schema)
		}
	}
}

// TestReadContentsOfOthers reads what goavro wrote.
func TestReadContentsOfOthers(t *testing.T) {
	ms := sinktest.Messages(t, 1)
	for codec := range codecs {
		var out bytes.Buffer
		w, err := goavro.NewOCFWriter(goavro.OCFConfig{W: &out, Schema: ms[0].Schema, CompressionName: codec})
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := w.Codec().NativeFromBinary(ms[0].Avro)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := w.Append([]any{v, v}); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		c, err := readContents(bytes.NewReader(out.Bytes()), int64(out.Len()), func(id []byte) {
			if n++; string(id) != ms[0].ID {
				t.Errorf("got ID %q, want %q", id, ms[0].ID)
			}
		})
		if err != nil || n != 6 || c.whole != int64(out.Len()) || c.damaged || c.codec != codec {
			t.Errorf("%s: got %d IDs, %+v, %v", codec, n, c, err)
		}
	}
}

// FuzzReadContents: whatever a file holds, reading it ends, and what it calls
// whole is read the same without the rest.
func FuzzReadContents(f *testing.F) {
	h := header{schema: `{"type":"record","name":"r","fields":[{"name":"id","type":"string"},{"name":"a","type":{"type":"array","items":"null"}}]}`}
	record := []byte("\x06abc\x00")
	for codec := range codecs {
		h.codec = codec
		b := h.append(nil)
		for range 2 {
			var err error
			if b, err = h.appendBlock(b, 2, bytes.Repeat(record, 2)); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b)
		f.Add(b[:len(b)-5])
	}
	bomb := binary.AppendVarint(h.append(nil), 1<<40)
	f.Add(append(binary.AppendVarint(bomb, 1<<40), h.sync[:]...))
	f.Add([]byte("Obj\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		c, err := readContents(bytes.NewReader(b), int64(len(b)), func([]byte) { n++ })
		if err != nil || c.whole < 0 || c.whole > int64(len(b)) {
			t.Fatalf("got %+v, %v for %d bytes", c, err, len(b))
		}
		m := 0
		again, err := readContents(bytes.NewReader(b[:c.whole]), c.whole, func([]byte) { m++ })
		if err != nil || m != n || again.whole != c.whole {
			t.Fatalf("got %d IDs and %+v of the whole part, %d and %+v of all", m, again, n, c)
		}
	})
}
