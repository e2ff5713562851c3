package schemas

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/linkedin/goavro/v2"
	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire"
)

// testType is a type that uses all that a schema may.
const testType = `{"type":"record","name":"test_type","namespace":"sluice.test_type","fields":[
 {"name":"id","type":"string"},{"name":"agent","type":"string"},{"name":"node","type":"string"},
 {"name":"network","type":["null","string"],"default":null},{"name":"genesis","type":["null","string"],"default":null},
 {"name":"received_at","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"observed_at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
 {"name":"body","type":[
  {"type":"record","name":"all","fields":[
   {"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":"long"},{"name":"f","type":"float"},{"name":"d","type":"double"},
   {"name":"s","type":"string"},{"name":"by","type":"bytes"},
   {"name":"fx","type":{"type":"fixed","name":"four","size":4}},
   {"name":"en","type":{"type":"enum","name":"state","symbols":["ok","warn","bad"]}},
   {"name":"ms","type":{"type":"long","logicalType":"timestamp-millis"}},
   {"name":"us","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null},
   {"name":"rec","type":{"type":"record","name":"inner","fields":[{"name":"x","type":"int"},{"name":"y","type":["null","string"],"default":null}]}},
   {"name":"recs","type":{"type":"array","items":"inner"}},
   {"name":"opt","type":["null","inner"],"default":null},
   {"name":"grid","type":{"type":"array","items":{"type":"array","items":["null","long"]}}},
   {"name":"map","type":{"type":"map","values":{"type":"array","items":"double"}}},
   {"name":"states","type":["null",{"type":"map","values":"state"}],"default":null}]},
  {"type":"record","name":"defaults","fields":[
   {"name":"need","type":"long"},
   {"name":"b","type":"boolean","default":true},{"name":"i","type":"int","default":-7},{"name":"l","type":"long","default":9007199254740993},
   {"name":"f","type":"float","default":1.5},{"name":"d","type":"double","default":2},{"name":"s","type":"string","default":"a \"b\" é"},
   {"name":"en","type":"state","default":"warn"},
   {"name":"ms","type":{"type":"long","logicalType":"timestamp-millis"},"default":1000},
   {"name":"rec","type":"inner","default":{"x":3}},
   {"name":"list","type":{"type":"array","items":"inner"},"default":[{"x":1,"y":null},{"x":2}]},
   {"name":"map","type":{"type":"map","values":"int"},"default":{"one":1}},
   {"name":"opt","type":["null","inner"],"default":null}]}
 ]}]}`

// mustLoad returns the built-in types and those given by name and schema.
func mustLoad(t testing.TB, files ...string) *Set {
	t.Helper()
	dir := ""
	if len(files) > 0 {
		dir = t.TempDir()
	}
	for i := 0; i+1 < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]+".avsc"), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var testHead = Head{
	ID: "a1/s/7#0", Agent: "a1", Node: "node one", Network: "77", ReceivedAt: 1795453669123, ObservedAt: 1795453669001,
}

// mustAppend converts a body given as JSON, in both encodings, and returns the record.
func mustAppend(t testing.TB, typ *Type, kind, body string) []byte {
	t.Helper()
	got, _, err := typ.Append(nil, &testHead, kind, wire.JSON, []byte(body))
	if err != nil {
		t.Fatalf("append %s as JSON: %v", body, err)
	}
	packed, _, err := typ.Append(nil, &testHead, kind, wire.Msgpack, toMsgpack(t, jsontext.Value(body)))
	if err != nil {
		t.Fatalf("append %s as MessagePack: %v", body, err)
	}
	if string(packed) != string(got) {
		t.Fatalf("%s: MessagePack gave\n%x, JSON\n%x", body, packed, got)
	}
	return got
}

// toMsgpack writes a JSON value as MessagePack, members in the same order.
// Integers beyond 64 bits become strings.
func toMsgpack(t testing.TB, v jsontext.Value) []byte {
	t.Helper()
	out, err := appendMsgpack(nil, v)
	if err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	return out
}

func appendMsgpack(b []byte, v jsontext.Value) ([]byte, error) {
	switch v.Kind() {
	case 'n':
		return msgp.AppendNil(b), nil
	case 't', 'f':
		return msgp.AppendBool(b, v.Kind() == 't'), nil
	case '"':
		s, err := jsontext.AppendUnquote(nil, v)
		return msgp.AppendString(b, string(s)), err
	case '0':
		if i, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return msgp.AppendInt64(b, i), nil
		}
		if u, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			return msgp.AppendUint64(b, u), nil
		}
		f, err := strconv.ParseFloat(string(v), 64)
		if f == math.Trunc(f) && math.Abs(f) > 1<<63 && isInteger(v) {
			return msgp.AppendString(b, string(v)), nil
		}
		return msgp.AppendFloat64(b, f), err
	case '[':
		var items []jsontext.Value
		if err := json.Unmarshal(v, &items); err != nil {
			return nil, err
		}
		b = msgp.AppendArrayHeader(b, uint32(len(items)))
		for _, i := range items {
			var err error
			if b, err = appendMsgpack(b, i); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	names, values, err := membersOf(v)
	if err != nil {
		return nil, err
	}
	b = msgp.AppendMapHeader(b, uint32(len(names)))
	for i := range names {
		if b, err = appendMsgpack(msgp.AppendString(b, names[i]), values[i]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func isInteger(v jsontext.Value) bool {
	for _, ch := range v {
		if ch == '.' || ch|0x20 == 'e' {
			return false
		}
	}
	return true
}

// membersOf returns the members of a JSON object in their order.
func membersOf(v jsontext.Value) (names []string, values []jsontext.Value, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	if _, err := dec.ReadToken(); err != nil {
		return nil, nil, err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, nil, err
		}
		names = append(names, name.String())
		value, err := dec.ReadValue()
		if err != nil {
			return nil, nil, err
		}
		values = append(values, value.Clone())
	}
	return names, values, nil
}

// fullCodec is goavro's of the whole record.
func fullCodec(t testing.TB, typ *Type) *goavro.Codec {
	t.Helper()
	c, err := goavro.NewCodec(typ.Schema)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
