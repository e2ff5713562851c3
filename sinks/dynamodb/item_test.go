package dynamodb

import (
	"flag"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sluice/message"
	"sluice/sinks/sinktest"
)

var update = flag.Bool("update", false, "write the golden files")

// dump returns an item in DynamoDB's JSON.
func dump(it item) map[string]value {
	out := make(map[string]value, len(it))
	for name, v := range it {
		out[name] = dumpValue(v)
	}
	return out
}

func dumpValue(v types.AttributeValue) value {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return value{"S": v.Value}
	case *types.AttributeValueMemberN:
		return value{"N": v.Value}
	case *types.AttributeValueMemberB:
		return value{"B": v.Value}
	case *types.AttributeValueMemberBOOL:
		return value{"BOOL": v.Value}
	case *types.AttributeValueMemberNULL:
		return value{"NULL": v.Value}
	case *types.AttributeValueMemberM:
		return value{"M": dump(v.Value)}
	case *types.AttributeValueMemberL:
		list := make([]value, len(v.Value))
		for i := range v.Value {
			list[i] = dumpValue(v.Value[i])
		}
		return value{"L": list}
	}
	return value{"?": v}
}

func asText(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// everything is a message with every kind of value that Message.Body can hold.
func everything() message.Message {
	at := time.UnixMilli(1795460701123).UTC()
	return message.Message{
		ID: "cred/node-7/s.1/42#3", Agent: "cred/node-7", Node: "a node # behind", Network: "1", Genesis: "0xd4e5",
		Type: "ethereum_metrics", Kind: "block", ObservedAt: at, ReceivedAt: at.Add(250 * time.Millisecond),
		Src: message.Source{Partition: 3, Offset: 12345}, Index: 3, Count: 9,
		Body: map[string]any{
			"absent": nil, "true": true, "false": false,
			"int": int32(math.MinInt32), "long": int64(math.MaxInt64), "lowest": int64(math.MinInt64), "zero": int64(0),
			"float": float32(0.1), "double": 0.1, "large": 1e125, "small": 1e-130, "exact": 9007199254740993.0, "minus_zero": math.Copysign(0, -1),
			"digits": "58750003716598352816469", "decimal": "-0.1000000000000000000000000000000000000000001",
			"empty": "", "hostile": "\"quoted\", \\ and\nbroken \u0000 \u2028 </script> Ωνομα 🦀 \x7f", "bytes": []byte{0, 255, 10}, "no bytes": []byte{}, "nil bytes": []byte(nil),
			"time": at, "micros": time.UnixMicro(1795460701123456).UTC(), "before 1970": time.UnixMicro(-1500).UTC(),
			"none": []any{}, "list": []any{nil, "", int64(1), []any{[]any{true}}}, "names": map[string]any{},
			"nested": map[string]any{"a.b": map[string]any{"#c": []any{map[string]any{"absent": nil, "there": int32(1)}}}, "pk": "not the key", ":v": "x"},
		},
	}
}

func TestItems(t *testing.T) {
	m := everything()
	s := sinkFor(t, "", func(c *Config) { c.TTL = 36 * time.Hour })
	r, no := s.rowOf(0, &m)
	if no != nil {
		t.Fatal(no)
	}
	latest := dump(latestOf(r).item) // which leaves that of the history as it is
	got := map[string]any{"history": dump(r.item), "latest": latest}

	late := m
	late.ObservedAt, late.Network, late.Genesis, late.Body = time.Time{}, "", "", nil
	plain := sinkFor(t, "")
	if r, no = plain.rowOf(0, &late); no != nil {
		t.Fatal(no)
	}
	got["without a time, a network and a body"] = dump(r.item)
	golden(t, "testdata/items.golden.json", got)
}

// TestItemsOfMessages pins the items of messages as they come from Kafka.
func TestItemsOfMessages(t *testing.T) {
	s := sinkFor(t, "")
	var got []any
	for _, m := range sinktest.Messages(t, 7) {
		r, no := s.rowOf(0, &m)
		if no != nil {
			t.Fatal(no)
		}
		got = append(got, dump(r.item))
	}
	golden(t, "testdata/messages.golden.json", got)
}

func golden(t *testing.T, file string, v any) {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		t.Fatal(err)
	}
	got := string(b) + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant what %s has", got, file)
	}
}

// TestNumbers checks that the text of a float is that float and nothing more.
func TestNumbers(t *testing.T) {
	for _, f := range []float64{0.1, -0.1, 1.0 / 3, math.Pi * 1e100, 1e21, 123456789, 1e-130, 9.99e125, math.MaxInt64} {
		v, no := valueOf("f", f)
		if no != nil {
			t.Fatalf("%v: %v", f, no)
		}
		n := v.(*types.AttributeValueMemberN).Value
		if back, err := strconv.ParseFloat(n, 64); err != nil || back != f {
			t.Errorf("got %s for %v", n, f)
		}
		if digits := strings.Count(n, "") - 1; digits > 25 {
			t.Errorf("got %d characters for %v", digits, f)
		}
	}
	if v, no := valueOf("f", float32(0.1)); no != nil || v.(*types.AttributeValueMemberN).Value != "0.1" {
		t.Errorf("got %v, %v for a float of 32 bits, want 0.1", v, no)
	}
}

func TestRefusedHere(t *testing.T) {
	tests := []struct {
		name   string
		change func(*message.Message)
		code   message.Code
		reason string
	}{
		{"NaN", func(m *message.Message) { m.Body["x"] = math.NaN() }, message.CodeNumber, "body.x: NaN is no number that DynamoDB has"},
		{"infinity", func(m *message.Message) { m.Body["x"] = float32(math.Inf(-1)) }, message.CodeNumber, "body.x: -Inf is no number that DynamoDB has"},
		{"too large a number", func(m *message.Message) { m.Body["x"] = []any{map[string]any{"y": 1e126}} }, message.CodeNumber, "body.x[0].y: 1e+126 is no number that DynamoDB has"},
		{"too small a number", func(m *message.Message) { m.Body["x"] = 9.9e-131 }, message.CodeNumber, "body.x: 9.9e-131 is no number that DynamoDB has"},
		{"empty name", func(m *message.Message) { m.Body["x"] = map[string]any{"": true} }, message.CodeUnsupported, "body.x: an empty name, DynamoDB wants one of at least one character"},
		{"unknown value", func(m *message.Message) { m.Body["x"] = uint64(1) }, message.CodeUnsupported, "body.x: no attribute for a uint64"},
		{"before 1970", func(m *message.Message) { m.ObservedAt = time.UnixMilli(-1) }, message.CodeTime, "no sort key for an event time of -1 ms"},
		{"after 2286", func(m *message.Message) { m.ObservedAt = time.UnixMilli(1e13) }, message.CodeTime, "no sort key for an event time of 10000000000000 ms"},
		{"large", func(m *message.Message) { m.Body["x"] = strings.Repeat("ä", 205_000) }, message.CodeTooLarge, "an item of about 410321 bytes, DynamoDB takes 409600"},
		{"large name of a node", func(m *message.Message) { m.Node = strings.Repeat("n", 1024) }, message.CodeTooLarge, "a sort key of 1037 bytes, DynamoDB takes 1024"},
		{"large ID", func(m *message.Message) { m.ID = strings.Repeat("n", 1020) }, message.CodeTooLarge, "a sort key of 1034 bytes, DynamoDB takes 1024"},
		{"large name of an agent", func(m *message.Message) { m.Agent = strings.Repeat("a", 2048) }, message.CodeTooLarge, "a partition key of 2065 bytes, DynamoDB takes 2048"},
	}
	s := sinkFor(t, "")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := everything()
			m.Body = map[string]any{}
			tt.change(&m)
			_, no := s.rowOf(5, &m)
			if no == nil || no.row.index != 5 || no.code != tt.code || no.reason != tt.reason {
				t.Errorf("got %+v, want %s: %s", no, tt.code, tt.reason)
			}
		})
	}
	// What bounds the latest item bounds nobody who keeps none.
	m := everything()
	m.Node = strings.Repeat("n", 1024)
	if _, no := sinkFor(t, "", func(c *Config) { c.Latest = false }).rowOf(0, &m); no != nil {
		t.Errorf("got %+v, want it taken without latest items", no)
	}
}

// TestSize pins sizes that the Developer Guide gives a rule for. Numbers count up
// to two bytes more than there, never less.
func TestSize(t *testing.T) {
	tests := []struct {
		name string
		v    any
		want int
	}{
		{"text", "äb", 3}, {"empty", "", 0}, {"bytes", []byte{1, 2}, 2}, {"true", true, 1}, {"null in a list", []any{nil}, 3 + 1 + 1},
		{"zero", int64(0), 1 + 2}, {"two digits", int64(12), 1 + 2}, {"three digits", int64(123), 2 + 2}, {"minus", int64(-123), 2 + 2},
		{"float", 1.5e-7, 2 + 2}, {"empty list", []any{}, 3}, {"empty map", map[string]any{}, 3},
		{"list", []any{"ab", "c"}, 3 + 2 + 3}, {"map", map[string]any{"name": "ab"}, 3 + 1 + 4 + 2},
		{"nested", map[string]any{"a": []any{map[string]any{"b": ""}}}, (3 + 1 + 1) + (3 + 1) + (3 + 1 + 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, no := valueOf("v", tt.v)
			if no != nil {
				t.Fatal(no)
			}
			got, _ := measure(item{"name": v})
			if want := tt.want + len("name"); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		})
	}
}

// TestWire checks that a request is never longer than what measure says.
func TestWire(t *testing.T) {
	ms := append(sinktest.Messages(t, 14), everything())
	s := sinkFor(t, "")
	for i := range ms {
		r, no := s.rowOf(0, &ms[i])
		if no != nil {
			t.Fatal(no)
		}
		b, err := json.Marshal(dump(r.item), json.Deterministic(true), jsontext.EscapeForHTML(true), jsontext.EscapeForJS(true))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > r.wire || r.wire > 3*len(b) {
			t.Errorf("got %d bytes estimated for %d: %s", r.wire, len(b), b)
		}
	}
}

// TestVersionIsSupersedes holds the order of versions to that of messages.
func TestVersionIsSupersedes(t *testing.T) {
	at := time.UnixMilli(1795460701123)
	var ms []message.Message
	for _, ms1 := range []time.Duration{-1700000000000 * time.Millisecond, 0, time.Millisecond} {
		for _, p := range []int32{0, 9, 10} {
			for _, o := range []int64{0, 9, 10, math.MaxInt64} {
				for _, i := range []int{0, 9, 10} {
					ms = append(ms, message.Message{ObservedAt: at.Add(ms1), Src: message.Source{Partition: p, Offset: o}, Index: i})
				}
			}
		}
	}
	for i := range ms {
		for j := range ms {
			if got, want := version(&ms[j]) <= version(&ms[i]), ms[i].Supersedes(&ms[j]); got != want {
				t.Fatalf("%s over %s: got %t, want %t", version(&ms[i]), version(&ms[j]), got, want)
			}
		}
	}
}
