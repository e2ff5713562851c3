package wire

import (
	"bytes"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/vmihailenco/msgpack/v5"

	"sluice/internal/wire/wiretest"
	"sluice/message"
)

var seeds = []string{
	okObject, blockJSON, "[" + okObject + "," + okObject + "]", `[null]`, `{"a":1e999}`, `["\ud800"]`, "[\"\xff\"]",
	`{"id":"a","ID":"b","\u0069d":"c"}`, `{"id":"a","type":"t","time":-0,"node":"x","data":{"type":"k","body":{"n":[1.5,true]}}}`,
	`{"id":"a","type":"t","time":1e3,"data":{"type":"k","body":{"f":1e-7,"i":123456789012345678901234567890}}}`,
	"{}\n{}", "[[[[]]]]", `{"a":{"b":{"a":1}}}`, " 1 ", "1 2", "",
}

// FuzzCheckJSON has go-json-experiment decode what Check accepts, and refuse
// what Check refuses for other reasons than its limits.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := Check(JSON, b, DefaultLimits)
		var v any
		other := json.Unmarshal(b, &v)
		if err == nil {
			if other != nil {
				t.Errorf("accepted %q, but: %v", b, other)
			}
			return
		}
		fault := err.(*message.Fault)
		checkFault(t, err, fault.Code, fault.Field)
		limit := fault.Code == message.CodeDepth || fault.Code == message.CodeNodes
		if other == nil && !limit {
			t.Errorf("refused %q with %v, but it is well", b, err)
		}
	})
}

// FuzzCheckMsgpack has another library decode what Check accepts, with a stack
// that a bomb would break.
func FuzzCheckMsgpack(f *testing.F) {
	for _, s := range seeds {
		if json.Unmarshal([]byte(s), new(any)) == nil {
			f.Add(wiretest.Msgpack(f, []byte(s)))
		}
	}
	for _, s := range []string{"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff",
		"\x91\x91\x91\x90", "\x82\xa1a\x01\xa1a\x02", "\xd6\xff\x00\x00\x00\x00", "\x81\xc4\x01a\x02", "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
		err := Check(Msgpack, b, DefaultLimits)
		if err != nil {
			fault := err.(*message.Fault)
			checkFault(t, err, fault.Code, fault.Field)
			return
		}
		dec := msgpack.NewDecoder(bytes.NewReader(b))
		if _, err := dec.DecodeInterface(); err != nil {
			t.Errorf("accepted %x, but: %v", b, err)
		}
	})
}

// FuzzEnvelopes wants the same envelopes of JSON and of the same value as
// MessagePack, and Check and Split to agree.
func FuzzEnvelopes(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, format := range []Format{JSON, NDJSON, Msgpack} {
			checked := Check(format, b, DefaultLimits)
			got, err := Split(format, b, DefaultLimits, nil)
			switch {
			case checked != nil && err == nil:
				t.Fatalf("Split takes what Check refuses with %v", checked)
			case checked == nil && err != nil:
				if code := err.(*message.Fault).Code; code != message.CodeEnvelope && code != message.CodeEmpty {
					t.Fatalf("Split refuses what Check takes: %v", err)
				}
			}
			for _, e := range got {
				if e.Fault == nil && (e.ID == "" || e.Type == "" || e.Kind == "" || e.Body == nil) {
					t.Errorf("got %+v, want all mandatory members or a fault", e)
				}
			}
		}

		fromJSON, err := Split(JSON, b, DefaultLimits, nil)
		if err != nil {
			return
		}
		packed := wiretest.Msgpack(t, b)
		fromMsgpack, err := Split(Msgpack, packed, DefaultLimits, nil)
		if err != nil {
			t.Fatalf("accepted %q, but as MessagePack: %v", b, err)
		}
		want := slices.Clone(fromJSON)
		for i := range want {
			if want[i].Body != nil {
				want[i].Body = wiretest.Msgpack(t, want[i].Body)
			}
		}
		compare(t, fromMsgpack, want)
	})
}
