package agent

import (
	"reflect"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

type object = map[string]any

func TestDecodeControl(t *testing.T) {
	const big = 1<<63 + 7
	for _, tt := range []struct {
		name string
		json string
		msg  any
		want control
	}{
		{"welcome", `{"welcome":{"agent":"a1","limits":{"frame":262144,"window":256,"new":[1]},"more":{"x":null}}}`,
			object{"welcome": object{"agent": "a1", "limits": object{"frame": 262144, "window": 256, "new": []int{1}}, "more": object{"x": nil}}},
			control{Welcome: &welcome{Agent: "a1", Limits: limits{Frame: 262144, Window: 256}}}},
		{"ack", `{"ack":{"seq":9223372036854775815,"x":1}}`, object{"ack": object{"seq": uint64(big), "x": 1}},
			control{Ack: &ack{Seq: big}}},
		{"refused", `{"refused":{"seq":9,"code":"too_large","limit":262144,"why":"?"}}`,
			object{"refused": object{"seq": 9, "code": "too_large", "limit": 262144, "why": "?"}},
			control{Refused: &refusal{Seq: 9, Code: "too_large", Limit: 262144}}},
		{"unknown", `{"future":{"seq":1}}`, object{"future": object{"seq": 1}}, control{}},
		{"nothing", `{}`, object{}, control{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packed, err := msgpack.Marshal(tt.msg)
			if err != nil {
				t.Fatal(err)
			}
			for encoding, b := range map[string][]byte{JSON: []byte(tt.json), Msgpack: packed} {
				got, err := decodeControl(encoding, b)
				if err != nil || !reflect.DeepEqual(got, tt.want) {
					t.Errorf("%s: %+v, %v, want %+v", encoding, got, err, tt.want)
				}
			}
		})
	}
}

func TestDecodeControlErrors(t *testing.T) {
	for _, tt := range []struct{ name, encoding, in string }{
		{"empty", JSON, ""},
		{"not an object", JSON, `[]`},
		{"twice", JSON, `{"ack":{"seq":1},"ack":{"seq":2}}`},
		{"negative", JSON, `{"ack":{"seq":-1}}`},
		{"after the end", JSON, `{} {}`},
		{"empty msgpack", Msgpack, ""},
		{"not a map", Msgpack, "\x90"},
		{"cut", Msgpack, "\x81\xa3ack\x81\xa3seq"},
		{"negative msgpack", Msgpack, "\x81\xa3ack\x81\xa3seq\xff"},
		{"text for a number", Msgpack, "\x81\xa3ack\x81\xa3seq\xa11"},
		{"claims", Msgpack, "\xdf\xff\xff\xff\xff"},
		{"after the end of msgpack", Msgpack, "\x80\x80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := decodeControl(tt.encoding, []byte(tt.in)); err == nil {
				t.Errorf("read as %+v", got)
			}
		})
	}
}

// TestHello is read by the library that the tests' gateway uses.
func TestHello(t *testing.T) {
	if got, want := string(encodeHello(JSON, "b2", 7)), `{"hello":{"session":"b2","next":7}}`; got != want {
		t.Errorf("hello %s, want %s", got, want)
	}
	var got object
	if err := msgpack.Unmarshal(encodeHello(Msgpack, "b2", 1<<40), &got); err != nil {
		t.Fatal(err)
	}
	if want := (object{"hello": object{"session": "b2", "next": uint64(1 << 40)}}); !reflect.DeepEqual(got, want) {
		t.Errorf("hello %v, want %v", got, want)
	}
}

// FuzzDecodeControl reads what a broken gateway may say: it never panics, and
// what both encodings can say is read alike.
func FuzzDecodeControl(f *testing.F) {
	for _, s := range []string{
		`{"welcome":{"agent":"a1","limits":{"frame":262144,"window":256}}}`, `{"ack":{"seq":17}}`,
		`{"refused":{"seq":9,"code":"too_large","limit":1}}`, `{"x":[[[1]]]}`,
		"\x81\xa3ack\x81\xa3seq\x11", "\x81\xa7refused\x81\xa4code\xa1x", "\xdf\xff\xff\xff\xff", "\x81\xa1x\xdd\xff\xff\xff\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := decodeControl(JSON, b); err == nil && b[0] != '{' && b[0] > ' ' {
			t.Errorf("%q was read as an object", b)
		}
		c, err := decodeControl(Msgpack, b)
		if err != nil {
			return
		}
		// What was read, written anew, is read as the same.
		again := object{}
		if c.Ack != nil {
			again["ack"] = object{"seq": c.Ack.Seq}
		}
		if c.Refused != nil {
			again["refused"] = object{"seq": c.Refused.Seq, "code": c.Refused.Code, "limit": c.Refused.Limit}
		}
		if c.Welcome != nil {
			again["welcome"] = object{"agent": c.Welcome.Agent, "limits": object{"frame": c.Welcome.Limits.Frame, "window": c.Welcome.Limits.Window}}
		}
		packed, err := msgpack.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeControl(Msgpack, packed); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%q gives %+v, then %+v, %v", b, c, got, err)
		}
	})
}
