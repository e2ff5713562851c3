package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire/wiretest"
	"sluice/message"
)

const (
	mib      = 1 << 20
	okObject = `{"id":"a","type":"t","data":{"type":"k","body":{}}}`
)

// manyNames returns an object of n members, the last of which is named last.
func manyNames(n int, last string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n - 1 {
		fmt.Fprintf(&b, `"name%d":0,`, i)
	}
	fmt.Fprintf(&b, `%q:0}`, last)
	return b.String()
}

func packMap(names ...string) []byte {
	b := msgp.AppendMapHeader(nil, uint32(len(names)))
	for _, name := range names {
		b = msgp.AppendInt(msgp.AppendString(b, name), 1)
	}
	return b
}

func nested(open, inner, end string, n int) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
}

// TestCheck holds the attacks T9 to T15 of the threat model, and what must pass
// beside them.
func TestCheck(t *testing.T) {
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("name%d", i)
	}
	for _, tt := range []struct {
		name   string
		format Format
		in     string
		code   message.Code // empty: accepted
		field  string
	}{
		{"object", JSON, okObject, "", ""},
		{"space around", JSON, " \r\n\t" + okObject + "\n", "", ""},
		{"scalar", JSON, "1", "", ""},
		{"block", JSON, blockJSON, "", ""},
		{"nothing", JSON, "", message.CodeMalformed, ""},
		{"only space", JSON, " \n", message.CodeMalformed, ""},
		{"no json", JSON, "hello", message.CodeMalformed, ""},
		{"half an object", JSON, `{"a":1`, message.CodeMalformed, ""},
		{"half a string", JSON, `{"a":"x`, message.CodeMalformed, "a"},
		{"no value", JSON, `{"a":}`, message.CodeMalformed, "a"},
		{"number as name", JSON, `{1:2}`, message.CodeMalformed, ""},
		{"trailing comma", JSON, `[1,]`, message.CodeMalformed, ""},
		{"wrong end", JSON, `[1}`, message.CodeMalformed, ""},
		{"NaN", JSON, `[NaN]`, message.CodeMalformed, "[0]"},
		{"leading zero", JSON, `[01]`, message.CodeMalformed, ""},
		{"raw newline in text", JSON, "[\"a\nb\"]", message.CodeMalformed, "[0]"},
		{"two values", JSON, okObject + okObject, message.CodeMalformed, ""},
		{"byte after the end", JSON, okObject + "x", message.CodeMalformed, ""},
		{"NUL after the end", JSON, okObject + "\x00", message.CodeMalformed, ""},
		{"byte order mark", JSON, "\ufeff" + okObject, message.CodeMalformed, ""},

		{"T9 depth 32", JSON, nested("[", "1", "]", 32), "", ""},
		{"T9 depth 33", JSON, nested("[", "", "]", 33), message.CodeDepth, strings.Repeat("[0]", 32)},
		{"T9 depth 33 of objects", JSON, nested(`{"a":`, "1", "}", 33), message.CodeDepth, "a" + strings.Repeat(".a", 31)},
		{"T9 a MiB of [", JSON, strings.Repeat("[", mib), message.CodeDepth, strings.Repeat("[0]", 32)},

		{"T10 20000 values", JSON, "[" + strings.Repeat("1,", 19_998) + "1]", "", ""},
		{"T10 20001 values", JSON, "[" + strings.Repeat("1,", 19_999) + "1]", message.CodeNodes, "[19999]"},
		{"T10 a MiB of objects", JSON, "[" + strings.Repeat(`{"":{}},`, mib/8) + "1]", message.CodeNodes, `[9999].""`},
		{"T10 a MiB of arrays", JSON, "[" + strings.Repeat(`[],`, mib/3) + "1]", message.CodeNodes, "[19999]"},
		{"T10 19999 names", JSON, manyNames(19_999, "last"), "", ""},

		{"T13 1e308", JSON, `{"a":1e308}`, "", ""},
		{"T13 1e999", JSON, `{"a":{"b":[1e999]}}`, message.CodeNumber, "a.b[0]"},
		{"T13 -1E400", JSON, `{"a":-1E400}`, message.CodeNumber, "a"},
		{"T13 1e-999", JSON, `{"a":1e-999}`, "", ""},
		{"T13 30 digits", JSON, `{"a":123456789012345678901234567890}`, "", ""},
		{"T13 400 digits", JSON, strings.Repeat("1", 400), message.CodeNumber, ""},
		{"T13 400 digits behind the point", JSON, "0." + strings.Repeat("1", 400), "", ""},
		{"T13 minus zero", JSON, `-0`, "", ""},

		{"T14 stray byte", JSON, "{\"a\":{\"b\":\"x\xff\"}}", message.CodeUTF8, "a.b"},
		{"T14 stray byte in a name", JSON, "{\"a\":{\"b\xff\":1}}", message.CodeUTF8, "a"},
		{"T14 overlong", JSON, "[\"\xc0\x80\"]", message.CodeUTF8, "[0]"},
		{"T14 surrogate as bytes", JSON, "[\"\xed\xa0\x80\"]", message.CodeUTF8, "[0]"},
		{"T14 high surrogate", JSON, `["\ud800"]`, message.CodeUTF8, "[0]"},
		{"T14 low surrogate", JSON, `["\udc00x"]`, message.CodeUTF8, "[0]"},
		{"T14 pair", JSON, `["\ud83d\ude00"]`, "", ""},
		{"T14 stray byte outside text", JSON, "[\xff]", message.CodeMalformed, "[0]"},

		{"T15 name twice", JSON, `{"id":"a","id":"b"}`, message.CodeDuplicate, "id"},
		{"T15 name twice below", JSON, `[{},{"a":{"b":1,"b":1}}]`, message.CodeDuplicate, "[1].a.b"},
		{"T15 name twice, escaped", JSON, `{"id":1,"\u0069d":2}`, message.CodeDuplicate, "id"},
		{"T15 name twice, far apart", JSON, manyNames(1000, "name0"), message.CodeDuplicate, "name0"},
		{"T15 case variant", JSON, `{"id":"a","ID":"evil"}`, "", ""},
		{"T15 same name at two depths", JSON, `{"a":{"a":1}}`, "", ""},

		{"lines", NDJSON, okObject + "\n" + okObject + "\r\n\n", "", ""},
		{"line broken", NDJSON, "{}\n\n{\"a\":[1,}\n", message.CodeMalformed, "[1].a"},
		{"two values in a line", NDJSON, "{} {}\n", message.CodeMalformed, "[0]"},
		{"value over two lines", NDJSON, "{\n}\n", message.CodeMalformed, "[0]"},
		{"no line", NDJSON, "\n\n", "", ""},
		{"nodes over all lines", NDJSON, strings.Repeat("[1]\n", 10_001), message.CodeNodes, "[10000]"},

		{"msgpack block", Msgpack, string(wiretest.Msgpack(t, []byte(blockJSON))), "", ""},
		{"msgpack nothing", Msgpack, "", message.CodeLength, ""},
		{"msgpack trailing", Msgpack, "\x80\xc0", message.CodeMalformed, ""},
		{"msgpack never used", Msgpack, "\xc1", message.CodeMalformed, ""},
		{"msgpack bin", Msgpack, "\xc4\x02\xff\xfe", "", ""},
		{"msgpack ext", Msgpack, "\x91\xd4\x07\x00", message.CodeMalformed, "[0]"},
		{"msgpack timestamp", Msgpack, "\x81\xa1a\xd6\xff\x00\x00\x00\x00", message.CodeMalformed, "a"},
		{"msgpack ext32 claim", Msgpack, "\xc9\xff\xff\xff\xff\x01", message.CodeMalformed, ""},
		{"msgpack half an int", Msgpack, "\x81\xa1a\xd3\x00", message.CodeLength, "a"},
		{"msgpack map one short", Msgpack, "\x82\xa1a\x01", message.CodeLength, ""},
		{"msgpack number as name", Msgpack, "\x81\x01\x02", message.CodeMalformed, ""},
		{"msgpack bin as name", Msgpack, "\x81\xc4\x01a\x02", message.CodeMalformed, ""},
		{"msgpack nil as name", Msgpack, "\x81\xc0\x02", message.CodeMalformed, ""},

		{"T11 array32 claim", Msgpack, "\xdd\xff\xff\xff\xff", message.CodeLength, ""},
		{"T11 map32 claim", Msgpack, "\xdf\xff\xff\xff\xff", message.CodeLength, ""},
		{"T11 bin32 claim", Msgpack, "\xc6\xff\xff\xff\xff", message.CodeLength, ""},
		{"T11 str32 claim", Msgpack, "\xdb\xff\xff\xff\xff", message.CodeLength, ""},
		{"T11 str32 claim as name", Msgpack, "\x81\xdb\xff\xff\xff\xff", message.CodeLength, ""},
		{"T11 a MiB of 91", Msgpack, strings.Repeat("\x91", mib), message.CodeDepth, strings.Repeat("[0]", 32)},
		{"T11 8 MiB of 91", Msgpack, strings.Repeat("\x91", 8*mib), message.CodeDepth, strings.Repeat("[0]", 32)},
		{"T11 maps in maps", Msgpack, strings.Repeat("\x81\xa0", mib), message.CodeDepth, strings.Repeat(`"".`, 31) + `""`},
		{"T11 claim below", Msgpack, "\x82\xa1a\x01\xa1b\x92\x01\xdd\x00\xff\xff\xff", message.CodeLength, "b[1]"},
		{"msgpack depth 32", Msgpack, strings.Repeat("\x91", 31) + "\x90", "", ""},
		{"msgpack depth 33", Msgpack, strings.Repeat("\x91", 32) + "\x90", message.CodeDepth, strings.Repeat("[0]", 32)},
		{"msgpack 20000 values", Msgpack, "\xdc\x4e\x1f" + strings.Repeat("\x01", 19_999), "", ""},
		{"msgpack 20001 values", Msgpack, "\xdc\x4e\x20" + strings.Repeat("\x01", 20_000), message.CodeNodes, "[19999]"},

		{"msgpack float64", Msgpack, string(msgp.AppendFloat64(nil, 1.5)), "", ""},
		{"msgpack NaN", Msgpack, "\x81\xa1a" + string(msgp.AppendFloat64(nil, math.NaN())), message.CodeNumber, "a"},
		{"msgpack Inf", Msgpack, string(msgp.AppendFloat64(nil, math.Inf(-1))), message.CodeNumber, ""},
		{"msgpack float32 Inf", Msgpack, string(msgp.AppendFloat32(nil, float32(math.Inf(1)))), message.CodeNumber, ""},
		{"msgpack uint64", Msgpack, string(msgp.AppendUint64(nil, math.MaxUint64)), "", ""},

		{"msgpack stray byte", Msgpack, "\x81\xa1a\xa1\xff", message.CodeUTF8, "a"},
		{"msgpack stray byte in a name", Msgpack, "\x81\xa1\xff\x01", message.CodeUTF8, ""},
		{"msgpack name twice", Msgpack, string(packMap("id", "x", "id")), message.CodeDuplicate, "id"},
		{"msgpack name twice below", Msgpack, "\x91\x81\xa1a" + string(packMap("b", "b")), message.CodeDuplicate, "[0].a.b"},
		{"msgpack many names", Msgpack, string(packMap(names...)), "", ""},
		{"msgpack many names, one twice", Msgpack, string(packMap(append(names, "name3")...)), message.CodeDuplicate, "name3"},
		{"msgpack 17 names, one twice", Msgpack, string(packMap(append(names[:16:16], "name15")...)), message.CodeDuplicate, "name15"},
		{"msgpack same name at two depths", Msgpack, "\x81\xa1a" + string(packMap("a")), "", ""},

		{"no format", Format(0), "{}", message.CodeContentType, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.format, []byte(tt.in), DefaultLimits)
			checkFault(t, err, tt.code, tt.field)
			// Split finds the same wrong with the structure.
			if tt.code != "" {
				_, err := Split(tt.format, []byte(tt.in), DefaultLimits, nil)
				checkFault(t, err, tt.code, tt.field)
			}
		})
	}
}

func checkFault(t *testing.T, err error, code message.Code, field string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("got %v, want no fault", err)
		}
		return
	}
	var fault *message.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("got %v, want a fault %s", err, code)
	}
	if fault.Code != code || fault.Field != message.Printable(field, maxField) {
		t.Errorf("got %s at %q (%s), want %s at %q", fault.Code, fault.Field, fault.Reason, code, field)
	}
	if fault.Reason == "" || len(fault.Reason) > 256 || len(fault.Field) > maxField {
		t.Errorf("got a reason of %d bytes and a field of %d: %v", len(fault.Reason), len(fault.Field), fault)
	}
	if s := fault.Error(); !utf8.ValidString(s) || message.Printable(s, 1024) != s {
		t.Errorf("got %q, want it printable", s)
	}
}

// TestCheckNoMemory holds hostile frames to next to no memory: none may make
// Check reserve more than a small part of its own size.
func TestCheckNoMemory(t *testing.T) {
	for _, tt := range []struct {
		name   string
		format Format
		in     []byte
	}{
		{"depth", JSON, bytes.Repeat([]byte("["), mib)},
		{"objects", JSON, append(append([]byte("["), bytes.Repeat([]byte(`{"":{}},`), mib/8)...), "1]"...)},
		{"arrays", JSON, bytes.Repeat([]byte("[],"), mib/3)},
		{"array32", Msgpack, []byte("\xdd\xff\xff\xff\xff")},
		{"map32", Msgpack, []byte("\xdf\xff\xff\xff\xff")},
		{"bin32", Msgpack, []byte("\xc6\xff\xff\xff\xff")},
		{"str32", Msgpack, []byte("\xdb\xff\xff\xff\xff")},
		{"91", Msgpack, bytes.Repeat([]byte("\x91"), mib)},
		{"full array", Msgpack, append([]byte("\xdd\x00\x0f\xff\xff"), bytes.Repeat([]byte("\x90"), mib)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := Check(tt.format, tt.in, DefaultLimits)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("got no fault")
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 256<<10 {
				t.Errorf("got %d bytes allocated, want at most 256 KiB", got)
			}
		})
	}
}

// TestFaultLength lets hostile text get into a fault by each way there is.
func TestFaultLength(t *testing.T) {
	big := strings.Repeat("\\u001b[31m<script>é", 10_000)
	for _, in := range []string{
		`{"` + big + `":1e999}`,
		`{"a":1,"` + big + `":{"` + big + `":{"` + big + `":{"` + big + `":{"` + big + `":[}`,
		`{"` + big + `":1,"` + big + `":1}`,
		`{"a":"` + big + `\x"}`,
		`{"a":` + big + `}`,
	} {
		err := Check(JSON, []byte(in), DefaultLimits)
		var fault *message.Fault
		if !errors.As(err, &fault) {
			t.Fatalf("got %v for %.40q", err, in)
		}
		checkFault(t, err, fault.Code, fault.Field)
	}
	name := strings.Repeat("\x1b<é", 10_000)
	err := Check(Msgpack, append(append(msgp.AppendMapHeader(nil, 1), msgp.AppendString(nil, name)...), 0xc1), DefaultLimits)
	checkFault(t, err, message.CodeMalformed, segment(name))
}
