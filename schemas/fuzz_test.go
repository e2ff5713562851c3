package schemas

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/linkedin/goavro/v2"
	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire"
	"sluice/message"
)

// target is a type with its codec and a reader, for fuzzing.
type target struct {
	typ   *Type
	codec *goavro.Codec
	read  *Reader
}

func targets(f *testing.F) map[string]target {
	set := mustLoad(f, "test_type", testType)
	out := make(map[string]target)
	for _, name := range set.Names() {
		out[name] = target{set.Type(name), fullCodec(f, set.Type(name)), NewReader(set)}
	}
	return out
}

// appended holds what Append says of any bytes to what must be so: a fault that
// is one and leaves dst alone, or a record that goavro and the reader read.
func (x target) appended(t *testing.T, kind string, f wire.Format, body []byte) bool {
	out, _, err := x.typ.Append([]byte("before"), &testHead, kind, f, body)
	if err != nil {
		var fault *message.Fault
		if !errors.As(err, &fault) || fault.Code == "" || fault.Reason == "" || string(out) != "before" {
			t.Fatalf("got %#v and %q", err, out)
		}
		// What passed the structural check has no fault of structure here.
		switch fault.Code {
		case message.CodeMalformed, message.CodeUTF8, message.CodeDepth, message.CodeDuplicate:
			if wire.Check(f, body, wire.DefaultLimits) == nil {
				t.Fatalf("the structural check took it: %v", fault)
			}
		}
		return false
	}
	var m message.Message
	if err := x.read.Read(out[6:], &m, true); err != nil {
		t.Fatalf("read what was appended: %v", err)
	}
	native, rest, err := x.codec.NativeFromBinary(out[16:])
	if err != nil || len(rest) > 0 {
		t.Fatalf("goavro: %v, %d bytes left", err, len(rest))
	}
	again, err := x.codec.BinaryFromNative(nil, native)
	if err != nil || len(again) != len(out[16:]) {
		t.Fatalf("goavro writes it as\n%x\nnot %x: %v", again, out[16:], err)
	}
	return true
}

func FuzzAppendJSON(f *testing.F) {
	all := targets(f)
	for _, e := range examples {
		f.Add(e.typ, e.kind, []byte(e.body))
	}
	f.Add("test_type", "all", []byte(`{"b":true,"i":1,"l":1,"f":1,"d":1,"s":"\n","by":"AA==","fx":"AAAAAA==","en":"ok","ms":1,"rec":{"x":1},"recs":[],"grid":[[1,null]],"map":{"":[1]}}`))
	f.Add("test_type", "defaults", []byte(`{"need":-0,"x":[{}]}`))
	f.Fuzz(func(t *testing.T, typ, kind string, body []byte) {
		x, ok := all[typ]
		if !ok {
			return
		}
		// What jsontext refuses is refused, and jsontext alone knows names given
		// twice where the schema does not know them.
		strict := jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true))
		if x.appended(t, kind, wire.JSON, body) && !strict {
			t.Fatalf("took what is not JSON: %q", body)
		}
	})
}

func FuzzAppendMsgpack(f *testing.F) {
	all := targets(f)
	for _, e := range examples {
		f.Add(e.typ, e.kind, toMsgpack(f, jsontext.Value(e.body)))
	}
	f.Add("test_type", "all", []byte("\xdf\xff\xff\xff\xff"))
	f.Add("test_type", "defaults", []byte("\x82\xa4need\x01\xa3map\x81\xa1a\x01"))
	f.Fuzz(func(t *testing.T, typ, kind string, body []byte) {
		x, ok := all[typ]
		if !ok {
			return
		}
		if !x.appended(t, kind, wire.Msgpack, body) {
			return
		}
		if rest, err := msgp.Skip(body); err != nil || len(rest) > 0 {
			t.Fatalf("took what is not MessagePack: %x", body)
		}
	})
}

// FuzzRead has hostile Avro (T12): what the reader takes, goavro takes too and
// has the same bytes for it.
func FuzzRead(f *testing.F) {
	all := targets(f)
	for _, e := range examples {
		f.Add(mustAppend(f, all[e.typ].typ, e.kind, e.body))
	}
	f.Add(mustAppend(f, all["test_type"].typ, "defaults", `{"need":1,"list":[{"x":1},{"x":2}],"map":{"a":1,"b":2}}`))
	r := all["test_type"].read
	f.Fuzz(func(t *testing.T, value []byte) {
		before := bytes.Clone(value)
		var m, head message.Message
		err := r.Read(value, &m, true)
		if headErr := r.Read(value, &head, false); (err == nil) != (headErr == nil) {
			t.Fatalf("with bodies: %v, without: %v", err, headErr)
		}
		if !bytes.Equal(value, before) {
			t.Fatal("the value was changed")
		}
		if err != nil {
			var fault *message.Fault
			if !errors.Is(err, ErrUnknownSchema) && (!errors.As(err, &fault) || fault.Code != message.CodeUnreadable) {
				t.Fatalf("got %#v", err)
			}
			return
		}
		native, rest, err := all[m.Type].codec.NativeFromBinary(m.Avro)
		if err != nil || len(rest) > 0 {
			t.Fatalf("goavro: %v, %d bytes left", err, len(rest))
		}
		if id := native.(map[string]any)["id"]; !reflect.DeepEqual(id, m.ID) {
			t.Fatalf("got the id %q, goavro has %q", m.ID, id)
		}
	})
}
