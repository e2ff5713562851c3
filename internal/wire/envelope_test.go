package wire

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire/wiretest"
	"sluice/message"
)

// TestSplit reads each frame as JSON and, transcoded, as MessagePack. Both must
// say the same.
func TestSplit(t *testing.T) {
	fault := func(field, reason string) *message.Fault {
		return newFault(message.CodeEnvelope, field, reason)
	}
	const body = `{"n":1}`
	full := Envelope{ID: "a", Type: "t", Kind: "k", Node: "n", Time: 5, HasTime: true, Body: []byte(body)}
	with := func(change func(e *Envelope)) []Envelope {
		e := Envelope{ID: "a", Type: "t", Kind: "k", Body: []byte(body)}
		change(&e)
		return []Envelope{e}
	}
	for _, tt := range []struct {
		name string
		in   string
		want []Envelope
	}{
		{"all members", `{"id":"a","type":"t","time":5,"node":"n","data":{"type":"k","body":{"n":1}}}`, []Envelope{full}},
		{"other order", `{"data":{"body":{"n":1},"type":"k"},"node":"n","time":5,"type":"t","id":"a"}`, []Envelope{full}},
		{"unknown members", `{"x":[{"id":"b"}],"id":"a","type":"t","time":5,"node":"n","data":{"id":"c","x":{},"type":"k","body":{"n":1}}}`,
			[]Envelope{full}},
		{"array", `[{"id":"a","type":"t","time":5,"node":"n","data":{"type":"k","body":{"n":1}}},` +
			`{"id":"a","type":"t","time":5,"node":"n","data":{"type":"k","body":{"n":1}}}]`, []Envelope{full, full}},
		{"optional ones absent", `{"id":"a","type":"t","data":{"type":"k","body":{"n":1}}}`, with(func(*Envelope) {})},
		{"optional ones null", `{"id":"a","type":"t","time":null,"node":null,"data":{"type":"k","body":{"n":1}}}`, with(func(*Envelope) {})},

		{"T15 case variants", `{"id":"a","ID":"evil","Type":"x","type":"t","Data":{},"data":{"BODY":{},"type":"k","body":{"n":1}}}`,
			with(func(*Envelope) {})},
		{"T15 only a case variant", `{"ID":"a","type":"t","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.ID = ""
			e.Fault = fault("id", "is missing, want a name of at most 128 bytes")
		})},
		{"escaped name", `{"\u0069d":"\u0061","type":"t","data":{"type":"k","body":{"n":1}}}`, with(func(*Envelope) {})},

		{"id missing", `{"type":"t","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.ID = ""
			e.Fault = fault("id", "is missing, want a name of at most 128 bytes")
		})},
		{"id a number", `{"id":1,"type":"t","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.ID = ""
			e.Fault = fault("id", "is of the wrong kind, want a name of at most 128 bytes")
		})},
		{"id empty", `{"id":"","type":"t","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.ID = ""
			e.Fault = fault("id", "is empty, want a name of at most 128 bytes")
		})},
		{"id long", `{"id":"` + strings.Repeat("x", 129) + `","type":"t","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.ID = ""
			e.Fault = fault("id", "is too long, want a name of at most 128 bytes")
		})},
		{"id very long", `{"id":"` + strings.Repeat("x", 2000) + `","type":"t","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.ID = ""
			e.Fault = fault("id", "is too long, want a name of at most 128 bytes")
		})},
		{"type missing", `{"id":"a","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Type = ""
			e.Fault = fault("type", "is missing, want the name of a data type")
		})},
		{"type an object", `{"id":"a","type":{},"data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Type = ""
			e.Fault = fault("type", "is of the wrong kind, want the name of a data type")
		})},
		{"type no name", `{"id":"a","type":"../x","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Type = ""
			e.Fault = newFault(message.CodeUnknownType, "type", `"../x" cannot name a data type`)
		})},
		{"type reserved", `{"id":"a","type":"ingest","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Type = ""
			e.Fault = newFault(message.CodeUnknownType, "type", `"ingest" cannot name a data type`)
		})},
		{"id before type", `{"type":"../x"}`, []Envelope{{Fault: fault("id", "is missing, want a name of at most 128 bytes")}}},
		{"data missing", `{"id":"a","type":"t"}`, with(func(e *Envelope) {
			e.Kind, e.Body = "", nil
			e.Fault = fault("data", "is missing, want an object")
		})},
		{"data an array", `{"id":"a","type":"t","data":[1]}`, with(func(e *Envelope) {
			e.Kind, e.Body = "", nil
			e.Fault = fault("data", "is of the wrong kind, want an object")
		})},
		{"data.type missing", `{"id":"a","type":"t","data":{"body":{"n":1}}}`, with(func(e *Envelope) {
			e.Kind = ""
			e.Fault = fault("data.type", "is missing, want the name of a kind, at most 64 bytes")
		})},
		{"data.type long", `{"id":"a","type":"t","data":{"type":"` + strings.Repeat("k", 65) + `","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Kind = ""
			e.Fault = fault("data.type", "is too long, want the name of a kind, at most 64 bytes")
		})},
		{"data.body missing", `{"id":"a","type":"t","data":{"type":"k"}}`, with(func(e *Envelope) {
			e.Body = nil
			e.Fault = fault("data.body", "is missing, want an object")
		})},
		{"data.body an array", `{"id":"a","type":"t","data":{"type":"k","body":[]}}`, with(func(e *Envelope) {
			e.Body = nil
			e.Fault = fault("data.body", "is of the wrong kind, want an object")
		})},
		{"time a fraction", `{"id":"a","type":"t","time":1.5,"data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Fault = fault("time", "is of the wrong kind, want whole milliseconds since 1970")
		})},
		{"time text", `{"id":"a","type":"t","time":"5","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Fault = fault("time", "is of the wrong kind, want whole milliseconds since 1970")
		})},
		{"time beyond 64 bits", `{"id":"a","type":"t","time":9223372036854775808,"data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Fault = fault("time", "is of the wrong kind, want whole milliseconds since 1970")
		})},
		{"time least", `{"id":"a","type":"t","time":-9223372036854775808,"data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Time, e.HasTime = -1<<63, true
		})},
		{"time zero", `{"id":"a","type":"t","time":0,"data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) { e.HasTime = true })},
		{"node any script", `{"id":"a","type":"t","node":"Zoë's nödé ☃","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Node = "Zoë's nödé ☃"
		})},
		{"node empty", `{"id":"a","type":"t","node":"","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Fault = fault("node", "is empty, want a printable name of at most 128 bytes")
		})},
		{"node with a control character", `{"id":"a","type":"t","node":"a\u001b[31m","data":{"type":"k","body":{"n":1}}}`, with(func(e *Envelope) {
			e.Fault = fault("node", "is of the wrong kind, want a printable name of at most 128 bytes")
		})},
		{"outside data before inside", `{"id":"a","type":"t","time":"x","data":{}}`, with(func(e *Envelope) {
			e.Kind, e.Body = "", nil
			e.Fault = fault("time", "is of the wrong kind, want whole milliseconds since 1970")
		})},
		{"elements that are none", `[null,{"id":"a","type":"t","time":5,"node":"n","data":{"type":"k","body":{"n":1}}},[1]]`, []Envelope{
			{Fault: fault("", "want an object")}, full, {Fault: fault("", "want an object")},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Split(JSON, []byte(tt.in), DefaultLimits, nil)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, tt.want)

			got, err = Split(Msgpack, wiretest.Msgpack(t, []byte(tt.in)), DefaultLimits, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.want {
				if tt.want[i].Body != nil {
					tt.want[i].Body = wiretest.Msgpack(t, tt.want[i].Body)
				}
			}
			compare(t, got, tt.want)
		})
	}
}

// compare compares all of envelopes but Raw.
func compare(t *testing.T, got, want []Envelope) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d envelopes, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		g.Raw, w.Raw = nil, nil
		if !reflect.DeepEqual(g, w) {
			t.Errorf("envelope %d: got %+v (%v), want %+v (%v)", i, g, g.Fault, w, w.Fault)
		}
	}
}

func TestSplitFrameFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		format Format
		in     string
		code   message.Code
	}{
		{"scalar", JSON, `"x"`, message.CodeEnvelope},
		{"null", JSON, `null`, message.CodeEnvelope},
		{"empty array", JSON, ` [ ] `, message.CodeEmpty},
		{"empty array, more behind", JSON, `[] []`, message.CodeMalformed},
		{"one element broken", JSON, `[` + okObject + `,{]`, message.CodeMalformed},
		{"no line", NDJSON, " \n\r\n", message.CodeEmpty},
		{"one line broken", NDJSON, okObject + "\n{\n", message.CodeMalformed},
		{"msgpack scalar", Msgpack, "\x01", message.CodeEnvelope},
		{"msgpack empty array", Msgpack, "\x90", message.CodeEmpty},
		{"msgpack empty array, more behind", Msgpack, "\x90\x90", message.CodeMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := []Envelope{{ID: "before"}}
			got, err := Split(tt.format, []byte(tt.in), DefaultLimits, before)
			fault, ok := err.(*message.Fault)
			if !ok || fault.Code != tt.code {
				t.Errorf("got %v, want a fault %s", err, tt.code)
			}
			if len(got) != 1 || got[0].ID != "before" {
				t.Errorf("got %v, want what was there before", got)
			}
		})
	}
}

// TestSplitRaw wants Raw to be a frame of its own with the same envelope in it.
func TestSplitRaw(t *testing.T) {
	const two = `[ {"id":"a","type":"t","data":{"type":"k","body":{"n":[1,2]}}} , 7 ,{"id":"b","type":"u","data":{"type":"k","body":{}}}]`
	lines := strings.NewReplacer(" ,", "\n", "7 ,", "7\n", "[ {", "{", "}}}]", "}}}").Replace(two)
	for _, tt := range []struct {
		name   string
		format Format
		in     []byte
	}{
		{"json", JSON, []byte(two)},
		{"lines", NDJSON, []byte(lines)},
		{"msgpack", Msgpack, wiretest.Msgpack(t, []byte(two))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all, err := Split(tt.format, tt.in, DefaultLimits, nil)
			if err != nil || len(all) != 3 {
				t.Fatalf("got %d envelopes, %v, want 3", len(all), err)
			}
			for _, i := range []int{0, 2} {
				alone, err := Split(tt.format, all[i].Raw, DefaultLimits, nil)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, alone, all[i:i+1])
			}
			if got := string(all[1].Raw); got != "7" && got != "\x07" {
				t.Errorf("got %q for the scalar, want 7", got)
			}
		})
	}
}

// TestSplitAfterFault makes sure that nothing of a refused frame is left in the
// state kept for the next.
func TestSplitAfterFault(t *testing.T) {
	twice := msgp.AppendMapHeader(nil, 2)
	twice = append(msgp.AppendString(twice, "id"), 0xc1)
	for range 100 {
		if err := Check(Msgpack, twice, DefaultLimits); err == nil {
			t.Fatal("got no fault")
		}
		if err := Check(JSON, []byte(`{"id":`), DefaultLimits); err == nil {
			t.Fatal("got no fault")
		}
		for _, format := range []Format{JSON, Msgpack} {
			in := []byte(okObject)
			if format == Msgpack {
				in = wiretest.Msgpack(t, []byte(okObject))
			}
			got, err := Split(format, in, DefaultLimits, nil)
			if err != nil || got[0].ID != "a" || got[0].Fault != nil {
				t.Fatalf("got %+v, %v", got, err)
			}
		}
	}
}

func TestFind(t *testing.T) {
	const doc = `{"a":{"a":1},"l":[1,"x",{"b":2}],"t":"\u0041\"b","e":[]}`
	for _, tt := range []struct {
		name   string
		format Format
		in     []byte
	}{
		{"json", JSON, []byte(doc)},
		{"msgpack", Msgpack, wiretest.Msgpack(t, []byte(doc))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, ok := Member(tt.format, tt.in, "l")
			if !ok {
				t.Fatal("got no member l")
			}
			elements, ok := Elements(tt.format, list, nil)
			if !ok || len(elements) != 3 {
				t.Fatalf("got %q, %v, want 3 elements", elements, ok)
			}
			if !IsObject(tt.format, elements[2]) || IsObject(tt.format, elements[0]) {
				t.Errorf("got %q, want the last alone to be an object", elements)
			}
			if got, ok := Text(tt.format, elements[1]); !ok || got != "x" {
				t.Errorf("got %q, %v, want x", got, ok)
			}
			v, ok := Member(tt.format, tt.in, "t")
			if got, isText := Text(tt.format, v); !ok || !isText || got != `A"b` {
				t.Errorf("got %q, want A\"b", got)
			}
			if _, ok := Text(tt.format, list); ok {
				t.Error("got text of an array")
			}
			if _, ok := Member(tt.format, tt.in, "A"); ok {
				t.Error("got a member by a name in another case")
			}
			if _, ok := Member(tt.format, list, "a"); ok {
				t.Error("got a member of an array")
			}
			if _, ok := Elements(tt.format, tt.in, nil); ok {
				t.Error("got elements of an object")
			}
			empty, _ := Member(tt.format, tt.in, "e")
			if got, ok := Elements(tt.format, empty, nil); !ok || len(got) != 0 {
				t.Errorf("got %q, %v, want an empty array", got, ok)
			}
			// Half of it: nothing found past the end, and no panic.
			for i := range tt.in {
				Member(tt.format, tt.in[:i], "e")
				Elements(tt.format, tt.in[:i], nil)
				Text(tt.format, tt.in[:i])
			}
		})
	}
}

func TestFormatOf(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Format
	}{
		{"application/json", JSON},
		{"application/json; charset=utf-8", JSON},
		{"Application/JSON", JSON},
		{"application/msgpack", Msgpack},
		{"application/x-msgpack", Msgpack},
		{"application/x-ndjson", NDJSON},
		{"application/jsonl", NDJSON},
		{"text/plain", 0},
		{"", 0},
		{"/", 0},
	} {
		got, ok := FormatOf(tt.in)
		if got != tt.want || ok != (tt.want != 0) {
			t.Errorf("FormatOf(%q): got %v, %v, want %v", tt.in, got, ok, tt.want)
		}
		if back, _ := FormatOf(got.ContentType()); back != got {
			t.Errorf("got %v of %q, want %v", back, got.ContentType(), got)
		}
	}
}

func TestJoin(t *testing.T) {
	for _, tt := range [][3]string{
		{"", "", ""},
		{"data.body", "", "data.body"},
		{"", "event", "event"},
		{"data.body", "number", "data.body.number"},
		{"[3]", "data", "[3].data"},
		{"data.history", "[3].number", "data.history[3].number"},
	} {
		if got := Join(tt[0], tt[1]); got != tt[2] {
			t.Errorf("Join(%q, %q): got %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}
