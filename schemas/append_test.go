package schemas

import (
	"errors"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire"
	"sluice/message"
)

func TestAppendBodies(t *testing.T) {
	set := mustLoad(t)
	reader := NewReader(set)
	eth := "ethereum_metrics"
	var stats = map[string]any{
		"active": true, "mining": false, "hashrate": int64(0), "peers": int64(12), "gasPrice": "1000000000", "syncing": false,
		"startingBlock": nil, "currentBlock": nil, "highestBlock": nil, "uptime": 100.0,
	}
	with := func(m map[string]any, pairs ...any) map[string]any {
		out := make(map[string]any)
		maps.Copy(out, m)
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return out
	}
	for _, tc := range []struct {
		name, typ, kind, body string
		want                  map[string]any // the fields that matter
	}{
		{"POA statistics", eth, "statistics", `{"active":true,"mining":false,"hashrate":0,"peers":12,"gasPrice":1000000000,"syncing":false,"uptime":100.0}`, stats},
		{
			"POA statistics, syncing", eth, "statistics",
			`{"active":true,"mining":false,"hashrate":0,"peers":12,"gasPrice":1000000000,"syncing":{"startingBlock":"0x384","currentBlock":"0x386","highestBlock":"0x454","x":[1]},"uptime":100.0}`,
			with(stats, "syncing", true, "startingBlock", int64(0x384), "currentBlock", int64(0x386), "highestBlock", int64(0x454)),
		},
		{
			"POA statistics, unreachable", eth, "statistics", `{"active":false,"mining":false,"hashrate":0,"peers":0,"gasPrice":null,"syncing":null,"uptime":null}`,
			with(stats, "active", false, "peers", int64(0), "gasPrice", nil, "syncing", nil, "uptime", nil),
		},
		{"syncing true", eth, "statistics", `{"syncing":true}`, map[string]any{"syncing": true, "currentBlock": nil}},
		{"syncing empty", eth, "statistics", `{"syncing":{}}`, map[string]any{"syncing": true, "currentBlock": nil}},
		{
			"own name wins over a member", eth, "statistics", `{"currentBlock":1,"syncing":{"currentBlock":"0x2","highestBlock":3},"highestBlock":4}`,
			map[string]any{"syncing": true, "currentBlock": int64(1), "highestBlock": int64(4)},
		},
		{"gas price as text", eth, "statistics", `{"gasPrice":"20000000000000000000000000000000000000001"}`, map[string]any{"gasPrice": "20000000000000000000000000000000000000001"}},
		{"geth statistics", eth, "statistics", `{"active":true,"syncing":false,"peers":0,"gasPrice":875000001,"uptime":100}`, map[string]any{"gasPrice": "875000001", "mining": nil, "uptime": 100.0}},
		{"POA system statistics", "system_metrics", "statistics", `{"cpu_load":12.5,"memory_usage":1.9,"disk_usage":63}`, map[string]any{"cpu_load": 12.5, "memory_usage": 1.9, "disk_usage": 63.0}},
		{"POA latency", "networking_metrics", "latency", `{"latency":14}`, map[string]any{"latency": 14.0}},
		{"geth latency", "networking_metrics", "latency", `{"latency":"83"}`, map[string]any{"latency": 83.0}},
		{"pending", eth, "pending", `{"pending":12}`, map[string]any{"pending": int64(12)}},
		{
			"POA block", eth, "block",
			`{"number":644964,"hash":"0x4950","difficulty":"340282366920938463463374607431768211454","gasLimit":8000000,"step":"308123456","sealFields":["0x84","0xb8"],"transactions":["0xa","0xb"],"uncles":[],"totalDifficulty":115792089237316195423570985008687907853269984665640564039457584007913129639935}`,
			map[string]any{
				"number": int64(644964), "difficulty": "340282366920938463463374607431768211454", "sealFields": []any{"0x84", "0xb8"}, "transactions": []any{"0xa", "0xb"}, "uncles": []any{},
				"totalDifficulty": "115792089237316195423570985008687907853269984665640564039457584007913129639935", "step": "308123456", "historic": nil,
			},
		},
		{
			"geth block", eth, "block",
			`{"number":1,"hash":"0x506d","timestamp":1795453669,"difficulty":"0","transactions":[{"hash":"0x1"},{"hash":"0x2"}],"uncles":[{"number":"0x1","hash":"0x3"},{}]}`,
			map[string]any{"timestamp": int64(1795453669), "transactions": []any{"0x1", "0x2"}, "uncles": []any{"0x3", ""}},
		},
		{
			"Besu block", eth, "block",
			`{"number":"0x10","hash":"0x1","gasUsed":"0xffffffff","difficulty":"0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF","transactions":[{"blockHash":"0x9","hash":"0x2","input":"0x"}]}`,
			map[string]any{
				"number": int64(16), "gasUsed": int64(4294967295), "transactions": []any{"0x2"},
				"difficulty": "115792089237316195423570985008687907853269984665640564039457584007913129639935",
			},
		},
		{"geth information", eth, "information", `{"name":"my node","port":0,"net":"1337","protocol":"eth/72, snap/1","canUpdateHistory":true}`, map[string]any{"port": "0", "net": "1337", "protocol": "eth/72, snap/1", "canUpdateHistory": true}},
		{"Reth information", eth, "information", `{"network":1,"os_ver":"x","protocol":63}`, map[string]any{"net": "1", "os_v": "x", "protocol": "63"}},
		{"alias and name", eth, "information", `{"network":"alias","net":"own","os_v":"own","os_ver":"alias"}`, map[string]any{"net": "own", "os_v": "own"}},
		{
			"Bor reorg", eth, "reorg", `{"added":[{"parent_hash":"0xa","hash":"0xb","number":7}],"removed":null,"type":"x"}`,
			map[string]any{"added": []any{map[string]any{"number": int64(7), "hash": "0xb", "parent_hash": "0xa"}}, "removed": []any{}, "type": "x"},
		},
		{"payload", eth, "payload", `{"number":1,"hash":"0x506d","processingTime":347026}`, map[string]any{"processingTime": int64(347026)}},
		{"refused", "networking_metrics", "refused", `{"reasons":[{"reason":"bad_token","count":3}]}`, map[string]any{"instance": nil, "reasons": []any{map[string]any{"reason": "bad_token", "count": int64(3)}}}},
		{"escaped name and text", eth, "information", `{"n\u0061me":"\ud83d\ude00 \"q\" \\ \u0000"}`, map[string]any{"name": "\U0001F600 \"q\" \\ \x00"}},
		{"names are matched exactly", eth, "pending", `{"Pending":1,"pending":2,"PENDING":3}`, map[string]any{"pending": int64(2)}},
		{"zeros", eth, "block", `{"number":"0x00","hash":"","difficulty":"-000","totalDifficulty":-0,"step":"0x0"}`, map[string]any{"number": int64(0), "difficulty": "0", "totalDifficulty": "0", "step": "0"}},
		{"negative", eth, "block", `{"number":-9223372036854775808,"hash":"","difficulty":"-07"}`, map[string]any{"number": int64(math.MinInt64), "difficulty": "-7"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m message.Message
			if err := reader.Read(mustAppend(t, set.Type(tc.typ), tc.kind, tc.body), &m, true); err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				if got := m.Body[name]; !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %#v, want %#v", name, got, want)
				}
			}
		})
	}
}

func TestAppendDefaults(t *testing.T) {
	set := mustLoad(t, "test_type", testType)
	record := mustAppend(t, set.Type("test_type"), "defaults", `{"s":null,"need":1}`)
	var m message.Message
	if err := NewReader(set).Read(record, &m, true); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"need": int64(1), "b": true, "i": int32(-7), "l": int64(9007199254740993), "f": float32(1.5), "d": 2.0, "s": `a "b" é`, "en": "warn",
		"ms": testTime(1000), "rec": map[string]any{"x": int32(3), "y": nil},
		"list": []any{map[string]any{"x": int32(1), "y": nil}, map[string]any{"x": int32(2), "y": nil}}, "map": map[string]any{"one": int32(1)}, "opt": nil,
	}
	if !reflect.DeepEqual(m.Body, want) {
		t.Errorf("got\n%v, want\n%v", m.Body, want)
	}
}

func TestAppendUnknownNames(t *testing.T) {
	typ := mustLoad(t).Type("networking_metrics")
	_, got, err := typ.Append(nil, &testHead, "refused", wire.JSON, []byte(`{"a":1,"reasons":[{"reason":"x","count":1,"b":[]}],"c":{"d":{"e":null}}}`))
	if err != nil || got != 3 {
		t.Errorf("got %d, %v, want 3 unknown names", got, err)
	}
}

func TestAppendFaults(t *testing.T) {
	set := mustLoad(t, "test_type", testType)
	eth := "ethereum_metrics"
	for _, tc := range []struct {
		name, typ, kind, body string
		code                  message.Code
		field, reason         string
	}{
		{"kind", eth, "nonsense", `{}`, message.CodeUnknownKind, "data.type", `ethereum_metrics has no kind "nonsense": want one of information, block, pending, statistics, reorg, payload`},
		{"not an object", eth, "pending", `[]`, message.CodeInvalid, "data.body", "want an object, got an array"},
		{"null body", eth, "pending", `null`, message.CodeInvalid, "data.body", "want an object, got null"},
		{"missing", eth, "pending", `{}`, message.CodeMissing, "data.body.pending", "missing, want an integer"},
		{"second missing", eth, "block", `{"number":1}`, message.CodeMissing, "data.body.hash", "missing, want a string"},
		{"null", eth, "pending", `{"pending":null}`, message.CodeInvalid, "data.body.pending", "want an integer, got null"},
		{"string for a long", eth, "pending", `{"pending":"many"}`, message.CodeInvalid, "data.body.pending", "want an integer, got a string"},
		{"digits for a long without sluice.number", eth, "pending", `{"pending":"12"}`, message.CodeInvalid, "data.body.pending", "want an integer, got a string"},
		{"text for a number", eth, "block", `{"number":"0xg","hash":""}`, message.CodeInvalid, "data.body.number", "want an integer, got a string"},
		{"0x alone", eth, "block", `{"number":"0x","hash":""}`, message.CodeInvalid, "data.body.number", "want an integer, got a string"},
		{"empty text for a number", eth, "block", `{"number":"","hash":""}`, message.CodeInvalid, "data.body.number", "want an integer, got a string"},
		{"65 digits", eth, "statistics", `{"gasPrice":"0x` + strings.Repeat("1", 65) + `"}`, message.CodeInvalid, "data.body.gasPrice", "want an integer, got a string"},
		{"boolean for a long", eth, "pending", `{"pending":true}`, message.CodeInvalid, "data.body.pending", "want an integer, got a boolean"},
		{"object for a long", eth, "pending", `{"pending":{}}`, message.CodeInvalid, "data.body.pending", "want an integer, got an object"},
		{"fraction", eth, "pending", `{"pending":1.5}`, message.CodeInvalid, "data.body.pending", "want an integer, got a number with a fraction or an exponent"},
		{"2^63", eth, "pending", `{"pending":9223372036854775808}`, message.CodeNumber, "data.body.pending", "an integer that does not fit 64 bits"},
		{"2^63 in hexadecimal", eth, "block", `{"number":"0x8000000000000000","hash":""}`, message.CodeNumber, "data.body.number", "an integer that does not fit 64 bits"},
		{"2^31", "test_type", "all", `{"i":2147483648}`, message.CodeNumber, "data.body.i", "an integer that does not fit 32 bits"},
		{"beyond float", "test_type", "all", `{"f":1e39}`, message.CodeNumber, "data.body.f", "a number that is not finite or too large"},
		{"string for a double", "test_type", "all", `{"d":"1"}`, message.CodeInvalid, "data.body.d", "want a number, got a string"},
		{"number for a string", "test_type", "all", `{"s":1}`, message.CodeInvalid, "data.body.s", "want a string, got an integer"},
		{"number for text", eth, "information", `{"port":1.5}`, message.CodeInvalid, "data.body.port", "want a string, got a number with a fraction or an exponent"},
		{"string for a boolean", "test_type", "all", `{"b":"true"}`, message.CodeInvalid, "data.body.b", "want a boolean, got a string"},
		{"object for a boolean without sluice.flag", eth, "statistics", `{"active":{}}`, message.CodeInvalid, "data.body.active", "want a boolean, got an object"},
		{"member of a flag", eth, "statistics", `{"syncing":{"currentBlock":"x"}}`, message.CodeInvalid, "data.body.syncing.currentBlock", "want an integer, got a string"},
		{"enum", "test_type", "all", `{"en":"good"}`, message.CodeInvalid, "data.body.en", "not one of ok, warn, bad"},
		{"length of a fixed", "test_type", "all", `{"fx":""}`, message.CodeInvalid, "data.body.fx", "want 4 bytes, got 0"},
		{"nested record", "test_type", "all", `{"rec":{"x":"a"}}`, message.CodeInvalid, "data.body.rec.x", "want an integer, got a string"},
		{"missing in an array", "test_type", "all", `{"recs":[{"x":1},{"y":"a"}]}`, message.CodeMissing, "data.body.recs[1].x", "missing, want an integer"},
		{"array in an array", "test_type", "all", `{"grid":[[1],[null,2,true]]}`, message.CodeInvalid, "data.body.grid[1][2]", "want an integer, got a boolean"},
		{"map", "test_type", "all", `{"map":{"a b":[1,"x"]}}`, message.CodeInvalid, "data.body.map.a b[1]", "want a number, got a string"},
		{"object in an array of strings", eth, "block", `{"sealFields":[{}]}`, message.CodeInvalid, "data.body.sealFields[0]", "want a string, got an object"},
		{"member of an element", eth, "block", `{"transactions":["0x1",{"hash":7}]}`, message.CodeInvalid, "data.body.transactions[1].hash", "want a string, got an integer"},
		{"timestamp as text", "test_type", "all", `{"ms":"2026-01-01T00:00:00Z"}`, message.CodeInvalid, "data.body.ms", "want an integer, got a string"},
		{"deep", eth, "pending", `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, message.CodeDepth, "data.body", "nested too deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for f, body := range map[wire.Format][]byte{wire.JSON: []byte(tc.body), wire.Msgpack: toMsgpack(t, jsontext.Value(tc.body))} {
				wantReason := tc.reason
				switch {
				case tc.name == "length of a fixed" && f == wire.Msgpack:
					wantReason = "want bytes, got a string"
				}
				checkFault(t, set.Type(tc.typ), tc.kind, f, body, message.Fault{Code: tc.code, Field: tc.field, Reason: wantReason})
			}
		})
	}
}

// TestAppendHostile has bytes that the structural check would have refused.
func TestAppendHostile(t *testing.T) {
	set := mustLoad(t, "test_type", testType)
	pack := func(name string, v []byte) string { return string(msgp.AppendString([]byte{0x81}, name)) + string(v) }
	malformed := message.Fault{Code: message.CodeMalformed, Field: "data.body", Reason: "not JSON"}
	packed := message.Fault{Code: message.CodeMalformed, Field: "data.body", Reason: "not MessagePack"}
	at := func(f message.Fault, field string) message.Fault { f.Field = field; return f }
	number := func(field string) message.Fault {
		return message.Fault{Code: message.CodeNumber, Field: field, Reason: "a number that is not finite or too large"}
	}
	utf8 := func(field string) message.Fault {
		return message.Fault{Code: message.CodeUTF8, Field: field, Reason: "text that is not UTF-8"}
	}
	for _, tc := range []struct {
		name string
		f    wire.Format
		body string
		want message.Fault
	}{
		{"empty", wire.JSON, ``, malformed},
		{"cut", wire.JSON, `{"i":1`, malformed},
		{"cut string", wire.JSON, `{"s":"abcdefghijkl`, at(malformed, "data.body.s")},
		{"cut escape", wire.JSON, `{"s":"abc\`, at(malformed, "data.body.s")},
		{"bad escape", wire.JSON, `{"s":"\x"}`, at(malformed, "data.body.s")},
		{"control character", wire.JSON, "{\"s\":\"abcdefgh\n\"}", at(malformed, "data.body.s")},
		{"no colon", wire.JSON, `{"i" 1}`, malformed},
		{"no comma", wire.JSON, `{"i":1 "l":1}`, malformed},
		{"comma at the end", wire.JSON, `{"i":1,}`, malformed},
		{"comma at the start", wire.JSON, `{,"i":1}`, malformed},
		{"leading zero", wire.JSON, `{"i":01}`, malformed},
		{"plus", wire.JSON, `{"i":+1}`, at(malformed, "data.body.i")},
		{"minus alone", wire.JSON, `{"i":-}`, at(malformed, "data.body.i")},
		{"no fraction", wire.JSON, `{"d":1.}`, at(malformed, "data.body.d")},
		{"no exponent", wire.JSON, `{"d":1e}`, at(malformed, "data.body.d")},
		{"NaN", wire.JSON, `{"d":NaN}`, at(malformed, "data.body.d")},
		{"literal", wire.JSON, `{"b":nul}`, at(malformed, "data.body.b")},
		{"name without quotes", wire.JSON, `{i:1}`, malformed},
		{"1e400", wire.JSON, `{"d":1e400}`, number("data.body.d")},
		{"30 digits times 11", wire.JSON, `{"d":` + strings.Repeat("9", 330) + `}`, number("data.body.d")},
		{"not UTF-8", wire.JSON, "{\"s\":\"abc\xff\"}", utf8("data.body.s")},
		{"not UTF-8 beside an escape", wire.JSON, "{\"s\":\"\\n\xff\"}", utf8("data.body.s")},
		{"lone surrogate", wire.JSON, `{"s":"\ud800"}`, utf8("data.body.s")},
		{"not UTF-8 in a name", wire.JSON, "{\"\xff\":1}", utf8("data.body")},
		{"depth", wire.JSON, `{"x":` + strings.Repeat("[", 1<<20), message.Fault{Code: message.CodeDepth, Field: "data.body", Reason: "nested too deep"}},
		{"NaN", wire.Msgpack, pack("d", msgp.AppendFloat64(nil, math.NaN())), number("data.body.d")},
		{"infinity", wire.Msgpack, pack("f", msgp.AppendFloat32(nil, float32(math.Inf(-1)))), number("data.body.f")},
		{"float for a long", wire.Msgpack, pack("l", msgp.AppendFloat64(nil, 1)), message.Fault{Code: message.CodeInvalid, Field: "data.body.l", Reason: "want an integer, got a number with a fraction or an exponent"}},
		{"2^64-1", wire.Msgpack, pack("l", msgp.AppendUint64(nil, math.MaxUint64)), message.Fault{Code: message.CodeNumber, Field: "data.body.l", Reason: "an integer that does not fit 64 bits"}},
		{"not UTF-8", wire.Msgpack, pack("s", msgp.AppendString(nil, "\xff")), utf8("data.body.s")},
		{"bytes for a string", wire.Msgpack, pack("s", msgp.AppendBytes(nil, []byte("a"))), message.Fault{Code: message.CodeInvalid, Field: "data.body.s", Reason: "want a string, got bytes"}},
		{"extension", wire.Msgpack, pack("s", []byte{0xd4, 1, 1}), message.Fault{Code: message.CodeInvalid, Field: "data.body.s", Reason: "want a string, got an extension"}},
		{"time", wire.Msgpack, pack("ms", []byte{0xd6, 0xff, 0, 0, 0, 1}), message.Fault{Code: message.CodeInvalid, Field: "data.body.ms", Reason: "want an integer, got an extension"}},
		{"number for a name", wire.Msgpack, "\x81\x01\x01", message.Fault{Code: message.CodeMalformed, Field: "data.body", Reason: "a name that is not a string"}},
		{"array of 2^32", wire.Msgpack, pack("recs", []byte{0xdd, 0xff, 0xff, 0xff, 0xff}), at(packed, "data.body.recs[0]")},
		{"map of 2^32", wire.Msgpack, "\xdf\xff\xff\xff\xff", packed},
		{"bytes of 2^32", wire.Msgpack, pack("by", []byte{0xc6, 0xff, 0xff, 0xff, 0xff}), at(packed, "data.body.by")},
		{"depth", wire.Msgpack, "\x81\xa1x" + strings.Repeat("\x91", 1<<20), message.Fault{Code: message.CodeDepth, Field: "data.body", Reason: "nested too deep"}},
		{"twice", wire.JSON, `{"i":1,"i":1}`, message.Fault{Code: message.CodeDuplicate, Field: "data.body.i", Reason: "given twice"}},
		{"twice", wire.Msgpack, "\x82\xa1i\x01\xa1i\x01", message.Fault{Code: message.CodeDuplicate, Field: "data.body.i", Reason: "given twice"}},
		{"twice in a map", wire.JSON, `{"map":{"a":[],"b":[1],"\u0061":[2]}}`, message.Fault{Code: message.CodeDuplicate, Field: "data.body.map.a", Reason: "given twice"}},
		{"no format", 0, `{}`, message.Fault{Code: message.CodeContentType, Field: "data.body", Reason: "neither JSON nor MessagePack"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkFault(t, set.Type("test_type"), "all", tc.f, []byte(tc.body), tc.want)
		})
	}
	checkFault(t, set.Type("ethereum_metrics"), "block", wire.JSON, []byte(`{"uncles":[{"hash":"a","hash":"b"}]}`),
		message.Fault{Code: message.CodeDuplicate, Field: "data.body.uncles[0].hash", Reason: "given twice"})
	whole := `{"need":1}`
	after := message.Fault{Code: message.CodeMalformed, Field: "data.body", Reason: "bytes after the end"}
	checkFault(t, set.Type("test_type"), "defaults", wire.JSON, []byte(whole+" x"), after)
	checkFault(t, set.Type("test_type"), "defaults", wire.Msgpack, append(toMsgpack(t, jsontext.Value(whole)), 0xc0), after)
}

func checkFault(t *testing.T, typ *Type, kind string, f wire.Format, body []byte, want message.Fault) {
	t.Helper()
	out, _, err := typ.Append([]byte("before"), &testHead, kind, f, body)
	var got *message.Fault
	if !errors.As(err, &got) {
		t.Fatalf("format %d: got %v, want a fault", f, err)
	}
	if *got != want {
		t.Errorf("format %d: got %+v, want %+v", f, *got, want)
	}
	if string(out) != "before" {
		t.Errorf("format %d: dst came back as %q", f, out)
	}
}
