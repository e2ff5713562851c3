package decode

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/internal/wire"
	"sluice/internal/wire/wiretest"
	"sluice/message"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden decodes the frames in testdata. A file is named
// protocol.what.encoding; an agent a1 sent each. MessagePack is made of the JSON
// in the file where there is nothing wrong with it as JSON.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*.*json")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d frames, %v", len(files), err)
	}
	decoders := Default(wire.DefaultLimits)
	for _, file := range files {
		protocol, _, _ := strings.Cut(filepath.Base(file), ".")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		frames := map[string]*message.Frame{".golden": {ContentType: wire.TypeJSON, Value: text}}
		if strings.HasSuffix(file, ".ndjson") {
			frames[".golden"].ContentType = wire.TypeNDJSON
		} else if protocol != "gateway" && wire.Check(wire.JSON, text, wire.DefaultLimits) == nil {
			frames[".msgpack.golden"] = &message.Frame{ContentType: wire.TypeMsgpack, Value: wiretest.Msgpack(t, text)}
		}
		for suffix, frame := range frames {
			t.Run(filepath.Base(file)+suffix, func(t *testing.T) {
				frame.Agent, frame.Protocol = "a1", protocol
				value := bytes.Clone(frame.Value)
				items, err := decoders[protocol](frame, nil)
				if !bytes.Equal(frame.Value, value) {
					t.Error("got a frame changed by its decoder")
				}
				compareGolden(t, file+suffix, print(items, err))
			})
		}
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// print writes items for people.
func print(items []Item, err error) string {
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "error %s: %v\n", err.(*message.Fault).Code, err)
	}
	for i, it := range items {
		fmt.Fprintf(&b, "item %d, %s\n", i, it.Format.ContentType())
		for _, field := range [][2]string{{"type", it.Type}, {"kind", it.Kind}, {"node", it.Node}} {
			if field[1] != "" {
				fmt.Fprintf(&b, "  %s %s\n", field[0], field[1])
			}
		}
		if it.HasTime {
			fmt.Fprintf(&b, "  time %d\n", it.Time)
		}
		if it.Fault != nil {
			fmt.Fprintf(&b, "  fault %s: %v\n", it.Fault.Code, it.Fault)
		} else {
			fmt.Fprintf(&b, "  at %q, its field x at %q\n  body %s\n", it.At, it.Path("x"), readable(it.Format, it.Body))
		}
		fmt.Fprintf(&b, "  raw %s\n", readable(it.Format, it.Raw))
	}
	return b.String()
}

func readable(f wire.Format, b []byte) string {
	if f == wire.Msgpack {
		return hex.EncodeToString(b)
	}
	return strings.TrimSpace(string(b))
}

func TestContentType(t *testing.T) {
	for protocol, decode := range Default(wire.DefaultLimits) {
		t.Run(protocol, func(t *testing.T) {
			frame := &message.Frame{Agent: "a1", Protocol: protocol, ContentType: "text/\x1b[31m", Value: []byte(`{}`)}
			_, err := decode(frame, nil)
			fault, ok := err.(*message.Fault)
			if !ok || fault.Code != message.CodeContentType {
				t.Errorf("got %v, want a fault %s", err, message.CodeContentType)
			}
			if message.Printable(err.Error(), 1024) != err.Error() {
				t.Errorf("got %q, want it printable", err)
			}
		})
	}
}

// TestAppends makes sure that a decoder leaves alone what is there already.
func TestAppends(t *testing.T) {
	frame := &message.Frame{Agent: "a1", ContentType: wire.TypeJSON}
	for _, tt := range []struct {
		name, value string
		want        int
	}{
		{"one more", `{"id":"a1","type":"t","data":{"type":"k","body":{}}}`, 2},
		{"unreadable", `{`, 1},
		{"empty", `[]`, 1},
		{"history without blocks", `{"id":"a1","type":"ethereum_metrics","data":{"type":"history","body":{"history":[]}}}`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frame.Value = []byte(tt.value)
			got, err := Envelope(wire.DefaultLimits, false)(frame, []Item{{Type: "before"}})
			if len(got) != tt.want || got[0].Type != "before" || (err != nil) != (tt.want == 1) {
				t.Errorf("got %+v, %v, want %d items", got, err, tt.want)
			}
		})
	}
}

// TestRaw decodes the Raw of each item of frames that hold several. It must be a
// frame that says the same as the item did.
func TestRaw(t *testing.T) {
	const several = `[{"id":"a1","type":"ethereum_metrics","time":7,"node":"n\"ö","data":{"type":"history","body":{"history":[{"number":2},null,{"number":1}]}}},
		{"id":"a1","type":"t","time":8,"data":{"type":"k","body":{"x":1}}},{"id":"b","type":"t","time":8,"data":{"type":"k","body":{}}}]`
	for _, frame := range []*message.Frame{
		{ContentType: wire.TypeJSON, Value: []byte(several)},
		{ContentType: wire.TypeMsgpack, Value: wiretest.Msgpack(t, []byte(several))},
	} {
		t.Run(frame.ContentType, func(t *testing.T) {
			frame.Agent = "a1"
			decode := Envelope(wire.DefaultLimits, true)
			items, err := decode(frame, nil)
			if err != nil || len(items) != 5 {
				t.Fatalf("got %d items, %v, want 5", len(items), err)
			}
			for i, want := range items {
				alone, err := decode(&message.Frame{Agent: "a1", ContentType: frame.ContentType, Value: want.Raw}, nil)
				if err != nil || len(alone) != 1 {
					t.Fatalf("item %d: got %d items of its raw bytes, %v, want 1", i, len(alone), err)
				}
				got := alone[0]
				if (got.Fault == nil) != (want.Fault == nil) {
					t.Errorf("item %d: got the fault %v, want %v", i, got.Fault, want.Fault)
				}
				if got.Type != want.Type || got.Kind != want.Kind || got.Node != want.Node || got.Time != want.Time ||
					!bytes.Equal(got.Body, want.Body) {
					t.Errorf("item %d: got %+v, want %+v", i, got, want)
				}
			}
		})
	}
}

func FuzzEnvelopeDecoder(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*.*json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		if wire.Check(wire.JSON, b, wire.DefaultLimits) == nil {
			f.Add(wiretest.Msgpack(f, b))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for protocol, decode := range Default(wire.DefaultLimits) {
			for _, contentType := range []string{wire.TypeJSON, wire.TypeMsgpack, wire.TypeNDJSON} {
				frame := &message.Frame{Agent: "a1", Protocol: protocol, ContentType: contentType, Value: b}
				items, err := decode(frame, nil)
				again, err2 := decode(frame, nil)
				if print(items, err) != print(again, err2) {
					t.Fatal("got two answers for one frame")
				}
				if (err != nil) != (len(items) == 0) {
					t.Fatalf("got %d items and %v, want one or the other", len(items), err)
				}
				for _, it := range items {
					checkItem(t, &it, contentType)
				}
			}
		}
	})
}

func checkItem(t *testing.T, it *Item, contentType string) {
	t.Helper()
	if it.Fault != nil {
		if s := it.Fault.Error(); it.Fault.Code == "" || len(s) > 512 || message.Printable(s, 512) != s {
			t.Errorf("got the fault %+v, want it short and printable", it.Fault)
		}
	} else if !message.ValidType(it.Type) || it.Kind == "" || !wire.IsObject(it.Format, it.Body) {
		t.Errorf("got %+v, want a type, a kind and a body", it)
	} else if err := wire.Check(it.Format, it.Body, wire.DefaultLimits); err != nil {
		t.Errorf("got a body that is not well: %v", err)
	}
	if len(it.Node) > message.MaxName || !utf8.ValidString(it.Node) {
		t.Errorf("got the node %q", it.Node)
	}
	format, _ := wire.FormatOf(contentType)
	deeper := wire.Limits{Depth: wire.DefaultLimits.Depth, Nodes: wire.DefaultLimits.Nodes + 8}
	if err := wire.Check(format, it.Raw, deeper); err != nil {
		t.Errorf("got raw bytes that are not well: %v", err)
	}
}

func BenchmarkEnvelope(b *testing.B) {
	block, err := os.ReadFile("testdata/websocket.block.json")
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name, contentType string
		value             []byte
	}{
		{"json", wire.TypeJSON, bytes.TrimSpace(block)},
		{"msgpack", wire.TypeMsgpack, wiretest.Msgpack(b, block)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			frame := &message.Frame{Agent: "a1", ContentType: bench.contentType, Value: bench.value}
			decode := Envelope(wire.DefaultLimits, true)
			var items []Item
			b.ReportAllocs()
			b.SetBytes(int64(len(frame.Value)))
			for b.Loop() {
				var err error
				if items, err = decode(frame, items[:0]); err != nil || items[0].Fault != nil {
					b.Fatal(err, items)
				}
			}
		})
	}
}
