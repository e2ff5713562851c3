package agent

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/vmihailenco/msgpack/v5"
)

var noon = time.UnixMilli(1795453669123)

func TestFrameJSON(t *testing.T) {
	m := Message{Type: "system_metrics", Kind: "load", Body: map[string]any{"load5": 2.5, "load1": 0.4}}
	noded := Message{Type: "system_metrics", Kind: `a "kind"`, Node: "n/1", Time: noon.Add(time.Second), Body: struct{}{}}
	var elements [][]byte
	for _, m := range []Message{m, noded} {
		e, err := encodeElement(JSON, &m, noon)
		if err != nil {
			t.Fatal(err)
		}
		elements = append(elements, e)
	}
	one := `{"id":"a1","type":"system_metrics","time":1795453669123,"data":{"type":"load","body":{"load1":0.4,"load5":2.5}}}`
	two := `{"id":"a1","type":"system_metrics","time":1795453670123,"node":"n/1","data":{"type":"a \"kind\"","body":{}}}`
	if got, want := string(appendFrame(nil, JSON, "a1", elements[:1], false)), one; got != want {
		t.Errorf("frame\n%s, want\n%s", got, want)
	}
	if got, want := string(appendFrame(nil, JSON, "a1", elements, true)), "["+one+","+two+"]"; got != want {
		t.Errorf("batch\n%s, want\n%s", got, want)
	}
}

// TestFrameEncodings reads what both encodings write, with libraries that did
// not write it: the values are the same, and integers keep every digit.
func TestFrameEncodings(t *testing.T) {
	type inner struct {
		Big   uint64  `json:"big"`
		Small int64   `json:"small"`
		Part  float32 `json:"part"`
	}
	type body struct {
		Height int64             `json:"height"`
		Skip   *int              `json:"skip,omitzero"`
		Null   *int              `json:"null"`
		Text   string            `json:"text"`
		Yes    bool              `json:"yes"`
		Inner  inner             `json:"inner"`
		List   []inner           `json:"list"`
		Many   map[string]string `json:"many"`
		Bytes  []byte            `json:"bytes"`
		At     time.Time         `json:"at"`
	}
	many := map[string]string{}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		many[string(c)] = "é\u2028\""
	}
	for _, tt := range []struct {
		name string
		body any
	}{
		{"struct", body{Height: math.MaxInt64, Text: "x\x00y", Yes: true, Inner: inner{math.MaxUint64, math.MinInt64, 0.1},
			List: make([]inner, 20), Many: many, Bytes: []byte{1, 2}, At: noon.UTC()}},
		{"map", map[string]any{"a": nil, "b": true, "i": 7, "i32": int32(-7), "i64": int64(math.MinInt64), "u32": uint32(9),
			"u64": uint64(math.MaxUint64), "f": 2.5, "fs": []float64{0.5, -1e300}, "any": []any{"x", 1, map[string]any{}},
			"m": map[string]any{"deep": []any{}}, "struct": inner{Big: 1 << 60}, "at": noon.UTC(), "i8": int8(-1), "strings": []string{"p", "q"}}},
		{"raw", jsontext.Value(`{"n": -9223372036854775808, "e": 1e3, "f": 0.5, "list": [1, [2, {"x": []}]]}`)},
		{"map type", map[string]int{"a": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := Message{Type: "t", Kind: "k", Node: "n", Body: tt.body}
			var values [2]any
			for i, encoding := range []string{JSON, Msgpack} {
				e, err := encodeElement(encoding, &m, noon)
				if err != nil {
					t.Fatal(err)
				}
				values[i] = canonical(decodeAny(t, encoding, appendFrame(nil, encoding, "a1", [][]byte{e, e}, true)))
			}
			if !reflect.DeepEqual(values[0], values[1]) {
				t.Errorf("JSON gives\n%v, MessagePack\n%v", values[0], values[1])
			}
		})
	}
}

func decodeAny(t *testing.T, encoding string, b []byte) any {
	t.Helper()
	var v any
	var err error
	if encoding == JSON {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		err = d.Decode(&v)
	} else {
		err = msgpack.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatalf("decode %q: %v", b, err)
	}
	return v
}

// canonical turns every number into its JSON text, integers without losing a
// digit, so that values can be compared.
func canonical(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = canonical(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = canonical(v[i])
		}
		return v
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			f, _ := v.Float64()
			return f
		}
		return v.String()
	case float64, string, bool, nil:
		return v
	default:
		b, _ := json.Marshal(v)
		return string(b)
	}
}

func TestEncodeErrors(t *testing.T) {
	deepest := any("[[[[")
	for range maxDepth {
		deepest = map[string]any{`\"[`: deepest}
	}
	for _, encoding := range []string{JSON, Msgpack} {
		if _, err := encodeElement(encoding, &Message{Type: "t", Kind: "k", Body: deepest}, noon); err != nil {
			t.Errorf("the deepest body in %s: %v", encoding, err)
		}
	}
	list := []any{deepest.(map[string]any)[`\"[`]}
	type structure struct{ X any }
	cycle := map[string]any{}
	cycle["self"] = cycle
	for _, tt := range []struct {
		name string
		m    Message
		json bool // an error in JSON as well
		err  string
	}{
		{"type", Message{Type: "Bad", Kind: "k", Body: struct{}{}}, true, `type "Bad"`},
		{"reserved type", Message{Type: "ingest", Kind: "k", Body: struct{}{}}, true, `type "ingest"`},
		{"kind", Message{Type: "t", Body: struct{}{}}, true, "without a kind"},
		{"no body", Message{Type: "t", Kind: "k"}, true, "not an object"},
		{"list", Message{Type: "t", Kind: "k", Body: []any{}}, true, "not an object"},
		{"struct that is a text", Message{Type: "t", Kind: "k", Body: noon}, true, "not an object"},
		{"NaN", Message{Type: "t", Kind: "k", Body: map[string]any{"x": math.NaN()}}, true, "NaN"},
		{"infinity in a list", Message{Type: "t", Kind: "k", Body: map[string]any{"x": []float64{math.Inf(1)}}}, true, "Inf"},
		{"text", Message{Type: "t", Kind: "k", Body: map[string]any{"x": "\xff"}}, true, "UTF-8"},
		{"name", Message{Type: "t", Kind: "k", Body: map[string]any{"\xff": 1}}, true, "UTF-8"},
		{"kind's text", Message{Type: "t", Kind: "\xff", Body: struct{}{}}, true, "UTF-8"},
		{"node's text", Message{Type: "t", Kind: "k", Node: "\xff", Body: struct{}{}}, true, "UTF-8"},
		{"function", Message{Type: "t", Kind: "k", Body: map[string]any{"x": func() {}}}, true, "func"},
		{"cycle", Message{Type: "t", Kind: "k", Body: cycle}, true, ""},
		{"depth", Message{Type: "t", Kind: "k", Body: map[string]any{"x": deepest}}, true, "nests deeper"},
		{"depth of a list", Message{Type: "t", Kind: "k", Body: map[string]any{"x": list}}, true, "nests deeper"},
		{"depth of a struct", Message{Type: "t", Kind: "k", Body: structure{deepest}}, true, "nests deeper"},
		{"integer", Message{Type: "t", Kind: "k", Body: jsontext.Value(`{"x":18446744073709551616}`)}, false, "send it as a string"},
		{"double", Message{Type: "t", Kind: "k", Body: jsontext.Value(`{"x":1e999}`)}, false, "beyond a double"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, encoding := range []string{JSON, Msgpack} {
				_, err := encodeElement(encoding, &tt.m, noon)
				if want := tt.json || encoding == Msgpack; (err != nil) != want {
					t.Errorf("%s: error %v, want one: %t", encoding, err, want)
				}
				if encoding == Msgpack && err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %q, want %q in it", err, tt.err)
				}
			}
		})
	}
}
