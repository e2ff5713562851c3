package normalizer

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"sluice/internal/kafka"
	"sluice/internal/wire"
	"sluice/message"
	"sluice/normalizer/decode"
	"sluice/schemas"
)

var received = time.UnixMilli(1_795_453_669_123)

func newConversion(t testing.TB) (*conversion, *[]*kafka.Record) {
	t.Helper()
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	topics := map[string]string{}
	for _, name := range set.Names() {
		topics[name] = message.Topic(name)
	}
	c := DefaultConfig()
	out := &[]*kafka.Record{}
	return &conversion{
		rules: &rules{types: set, decoders: newDecoders(nil), topics: topics, past: c.Past, future: c.Future},
		emit:  func(r *kafka.Record) { *out = append(*out, r) },
		made:  new(kafka.Typed),
		tally: newTally(),
	}, out
}

func frame(contentType, value string) *message.Frame {
	return &message.Frame{
		ID: "a1/s/1", Agent: "a1", Protocol: "rest", ContentType: contentType, Value: []byte(value),
		ReceivedAt: received, Src: message.Source{Partition: 1, Offset: 42},
	}
}

func packed(build func([]byte) []byte) string { return string(build(nil)) }

// TestBadFrames proves that each bad input ends as one dead letter, with its
// code and the path of the field, and as nothing else.
func TestBadFrames(t *testing.T) {
	good := `{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}`
	with := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	tests := []struct {
		name, contentType, value string
		code                     message.Code
		field                    string
	}{
		{"array32 bomb", wire.TypeMsgpack, "\xdd\xff\xff\xff\xff", message.CodeLength, ""},
		{"map32 bomb", wire.TypeMsgpack, "\xdf\xff\xff\xff\xff", message.CodeLength, ""},
		{"bin32 bomb", wire.TypeMsgpack, "\xc6\xff\xff\xff\xff", message.CodeLength, ""},
		{"1 MiB of nested arrays", wire.TypeMsgpack, strings.Repeat("\x91", 1<<20), message.CodeDepth, ""},
		{"8 MiB of nested arrays", wire.TypeMsgpack, strings.Repeat("\x91", 8<<20), message.CodeDepth, ""},
		{"1 MiB of brackets", wire.TypeJSON, strings.Repeat("[", 1<<20), message.CodeDepth, ""},
		{"1e999", wire.TypeJSON, with("3", "1e999"), message.CodeNumber, ""},
		{"NaN", wire.TypeMsgpack, packed(func(b []byte) []byte {
			b = msgp.AppendString(msgp.AppendMapHeader(b, 1), "x")
			return msgp.AppendFloat64(b, math.NaN())
		}), message.CodeNumber, ""},
		{"bad UTF-8", wire.TypeJSON, with("pending\",\"body", "pend\xffing\",\"body"), message.CodeUTF8, ""},
		{"duplicate name", wire.TypeJSON, with(`"id":"a1"`, `"id":"a1","id":"a1"`), message.CodeDuplicate, ""},
		{"not JSON", wire.TypeJSON, "hello", message.CodeMalformed, ""},
		{"bytes after the end", wire.TypeJSON, good + "x", message.CodeMalformed, ""},
		{"nothing", wire.TypeJSON, "", message.CodeMalformed, ""},
		{"no type", wire.TypeJSON, with(`"type":"ethereum_metrics",`, ""), message.CodeEnvelope, "type"},
		{"unknown type", wire.TypeJSON, with("ethereum_metrics", "weather"), message.CodeUnknownType, "type"},
		{"topic injection", wire.TypeJSON, with("ethereum_metrics", "../x"), message.CodeUnknownType, "type"},
		{"reserved type", wire.TypeJSON, with("ethereum_metrics", "dead_letters"), message.CodeUnknownType, "type"},
		{"foreign id", wire.TypeJSON, with("a1", "a2"), message.CodeForeignID, "id"},
		{"id in another case", wire.TypeJSON, with(`"id"`, `"ID"`), message.CodeEnvelope, "id"},
		{"time far ahead", wire.TypeJSON, with(`"id"`, `"time":99999999999999,"id"`), message.CodeTime, "time"},
		{"time in seconds", wire.TypeJSON, with(`"id"`, `"time":1795453669,"id"`), message.CodeTime, "time"},
		{"unknown kind", wire.TypeJSON, with(`"type":"pending"`, `"type":"mood"`), message.CodeUnknownKind, "data.type"},
		{"wrong kind of value", wire.TypeJSON, with("3", `"three"`), message.CodeInvalid, "data.body.pending"},
		{"missing field", wire.TypeJSON, with(`"pending":3`, ""), message.CodeMissing, "data.body.pending"},
		{"number too large", wire.TypeJSON, with("3", "92233720368547758070"), message.CodeNumber, "data.body.pending"},
		{"unknown content type", "text/plain", good, message.CodeContentType, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, out := newConversion(t)
			c.frame(frame(tt.contentType, tt.value))
			if len(*out) != 1 {
				t.Fatalf("got %d records, want one dead letter", len(*out))
			}
			d := kafka.DeadLetter((*out)[0])
			if (*out)[0].Topic != message.TopicDeadLetters || d.Code != tt.code || (tt.field != "" && d.Field != tt.field) {
				t.Errorf("got %s, code %s, field %q, reason %q; want code %s, field %q", (*out)[0].Topic, d.Code, d.Field, d.Reason, tt.code, tt.field)
			}
			if d.ID != "a1/s/1#0" || d.Stage != "normalizer" || d.Reason == "" || string(d.Value) != tt.value || d.Src != (message.Source{Partition: 1, Offset: 42}) {
				t.Errorf("dead letter does not say where it is from: %+v", d.ID)
			}
			if got := c.tally.letters[tt.code]; got != 1 {
				t.Errorf("counted %d, want 1", got)
			}
		})
	}
}

func TestForeignFrames(t *testing.T) {
	tests := []struct {
		name string
		f    message.Frame
		code message.Code
		id   string
	}{
		{"a protocol without decoder", message.Frame{ID: "a/x/1", Agent: "a", Protocol: "carrier_pigeon"}, message.CodeProtocol, "a/x/1#0"},
		{"no headers at all", message.Frame{Src: message.Source{Partition: 3, Offset: 9}}, message.CodeProtocol, "sluice.ingest/3:9#0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, out := newConversion(t)
			c.frame(&tt.f)
			if len(*out) != 1 {
				t.Fatalf("got %d records, want 1", len(*out))
			}
			if d := kafka.DeadLetter((*out)[0]); d.Code != tt.code || d.ID != tt.id {
				t.Errorf("got %s %s, want %s %s", d.Code, d.ID, tt.code, tt.id)
			}
		})
	}
}

// TestDecoderPanics proves that a decoder which fails in the middle of a frame
// costs that frame, as one dead letter, and not those beside it.
func TestDecoderPanics(t *testing.T) {
	c, out := newConversion(t)
	c.decoders["faulty"] = func(f *message.Frame, dst []decode.Item) ([]decode.Item, error) {
		if string(f.Value) == "bomb" {
			panic("index out of range")
		}
		return append(dst, decode.Item{Type: "system_metrics", Kind: "load", Format: wire.JSON, Body: []byte(`{"load1":1,"load5":1,"load15":1}`)}), nil
	}
	reported := 0
	c.panicked = func(*message.Frame, any) { reported++ }
	for i, value := range []string{"fine", "bomb", "fine"} {
		c.frame(&message.Frame{ID: fmt.Sprint("a/s/", i), Agent: "a", Protocol: "faulty", Value: []byte(value), ReceivedAt: received})
	}
	if len(*out) != 3 || reported != 1 || c.tally.messages["system_metrics"] != 2 || c.tally.letters[message.CodeDecoder] != 1 {
		t.Fatalf("got %d records, %d reports, %v, %v", len(*out), reported, c.tally.messages, c.tally.letters)
	}
	if d := kafka.DeadLetter((*out)[1]); d.Code != message.CodeDecoder || d.ID != "a/s/1#0" || string(d.Value) != "bomb" {
		t.Errorf("got %+v", d)
	}
}

// TestEachIndexOnce proves that every index of a frame has one outcome, whatever
// its neighbours are.
func TestEachIndexOnce(t *testing.T) {
	c, out := newConversion(t)
	c.frame(frame(wire.TypeJSON, `[
		{"id":"a1","type":"ethereum_metrics","time":1795453660000,"node":"n7","data":{"type":"pending","body":{"pending":3,"mood":"good"}}},
		{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":"three"}}},
		{"id":"a1","type":"system_metrics","data":{"type":"load","body":{"load1":0.5,"load5":0.25,"load15":1}}}]`))
	var got []string
	reader := schemas.NewReader(c.types)
	for _, r := range *out {
		if r.Topic == message.TopicDeadLetters {
			d := kafka.DeadLetter(r)
			got = append(got, fmt.Sprintf("%s %s %s %d/%d", d.ID, d.Code, d.Field, d.Index, d.Count))
			if len(d.Value) > 120 {
				t.Errorf("the dead letter of one index holds the whole frame: %d bytes", len(d.Value))
			}
			continue
		}
		var m message.Message
		kafka.Message(r, &m)
		if err := reader.Read(r.Value, &m, true); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s/%s %s %s %d/%d %d", m.ID, m.Type, m.Kind, m.Node, m.Src, m.Index, m.Count, m.EventTime().UnixMilli()))
		if !r.Timestamp.Equal(received) || string(r.Key) != "a1" {
			t.Errorf("timestamp %v, key %s", r.Timestamp, r.Key)
		}
	}
	want := []string{
		"a1/s/1#0 ethereum_metrics/pending n7 1:42 0/3 1795453660000",
		"a1/s/1#1 invalid [1].data.body.pending 1/3",
		"a1/s/1#2 system_metrics/load a1 1:42 2/3 1795453669123",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if c.tally.unknown["ethereum_metrics"] != 1 {
		t.Errorf("unknown fields: got %v, want 1", c.tally.unknown)
	}
}

// TestFullSizeDeadLetterFits proves that the largest frames any protocol takes
// fit the dead letters topic, headers included.
func TestFullSizeDeadLetterFits(t *testing.T) {
	c, out := newConversion(t)
	c.frame(frame(wire.TypeJSON, strings.Repeat("{", 4<<20)))
	r := (*out)[0]
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value)
	}
	if size+room > kafka.MaxDeadLetter {
		t.Errorf("%d bytes with headers do not fit %d", size, kafka.MaxDeadLetter)
	}
}

// FuzzFrame proves that whatever a frame holds, it has at least one outcome, one
// for each index, and that a message that comes out can be read.
func FuzzFrame(f *testing.F) {
	f.Add(byte(0), []byte(`{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}`))
	f.Add(byte(0), []byte(`[{"id":"a1","type":"system_metrics","data":{"type":"cpu","body":{"usage":1.5,"cores":2}}},{}]`))
	f.Add(byte(1), binary.BigEndian.AppendUint32([]byte{0xdd}, math.MaxUint32))
	f.Add(byte(2), []byte("{}\n[]\n"))
	f.Add(byte(3), []byte(`{"event":"connected","connection":"c"}`))
	c, out := newConversion(f)
	reader := schemas.NewReader(c.types)
	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		*out = (*out)[:0]
		fr := frame([]string{wire.TypeJSON, wire.TypeMsgpack, wire.TypeNDJSON, wire.TypeJSON}[kind%4], string(value))
		if kind%4 == 3 {
			fr.Protocol = "gateway"
		}
		c.frame(fr)
		if len(*out) == 0 {
			t.Fatal("no outcome")
		}
		for i, r := range *out {
			if r.Topic == message.TopicDeadLetters {
				if d := kafka.DeadLetter(r); d.Index != i || d.Count != len(*out) || d.Code == "" || d.Reason == "" {
					t.Fatalf("record %d of %d is the dead letter %+v", i, len(*out), d)
				}
				continue
			}
			var m message.Message
			kafka.Message(r, &m)
			if err := reader.Read(r.Value, &m, true); err != nil {
				t.Fatalf("message that cannot be read: %v", err)
			}
			if m.Index != i || m.Count != len(*out) || m.ID != message.MessageID("a1/s/1", i) {
				t.Fatalf("record %d of %d has index %d, count %d, ID %s", i, len(*out), m.Index, m.Count, m.ID)
			}
		}
	})
}
