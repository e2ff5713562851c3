package schemas

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"sluice/internal/wire"
	"sluice/message"
)

func TestRead(t *testing.T) {
	set := mustLoad(t)
	typ := set.Type("ethereum_metrics")
	record := mustAppend(t, typ, "pending", `{"pending":12}`)
	want := message.Message{
		ID: "a1/s/7#0", Agent: "a1", Node: "node one", Network: "77", Type: "ethereum_metrics", Kind: "pending",
		ReceivedAt: testTime(1795453669123), ObservedAt: testTime(1795453669001),
		Schema: typ.Schema, Avro: record[10:], Body: map[string]any{"pending": int64(12)},
		Topic: "kept", Offset: 7,
	}
	got := message.Message{Topic: "kept", Offset: 7, Genesis: "old"}
	if err := NewReader(set).Read(record, &got, true); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	got.Body = nil
	want.Body = nil
	if err := NewReader(set).Read(record, &got, false); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("without bodies: got\n%+v, want\n%+v", got, want)
	}

	head := Head{ID: "i", Agent: "a", Node: "n", Genesis: "0xd4", ReceivedAt: 1}
	record, _, err := typ.Append(nil, &head, "pending", wire.JSON, []byte(`{"pending":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := NewReader(set).Read(record, &got, false); err != nil {
		t.Fatal(err)
	}
	if got.Genesis != "0xd4" || got.Network != "" || !got.ObservedAt.IsZero() || !got.EventTime().Equal(testTime(1)) {
		t.Errorf("without a time: got %+v", got)
	}
}

func TestReadUnknownSchema(t *testing.T) {
	added := mustLoad(t, "test_type", testType).Type("test_type")
	record := mustAppend(t, added, "defaults", `{"need":1}`)
	r := NewReader(mustLoad(t))
	var m message.Message
	err := r.Read(record, &m, true)
	var unknown *UnknownSchemaError
	if !errors.Is(err, ErrUnknownSchema) || !errors.As(err, &unknown) || unknown.Fingerprint != added.Fingerprint {
		t.Fatalf("got %v, want the unknown fingerprint %016x", err, added.Fingerprint)
	}
	if err := r.Learn(added.Schema); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(record, &m, true); err != nil || m.Type != "test_type" {
		t.Errorf("after Learn: got %v, %q", err, m.Type)
	}

	confluent := mustAppend(t, added.Confluent(258), "defaults", `{"need":1}`)
	if want := append([]byte{0, 0, 0, 1, 2}, record[10:]...); !bytes.Equal(confluent, want) {
		t.Fatalf("confluent: got %x, want %x", confluent, want)
	}
	err = r.Read(confluent, &m, true)
	if !errors.As(err, &unknown) || !unknown.Registry || unknown.ID != 258 {
		t.Fatalf("confluent: got %v, want the unknown id 258", err)
	}
	if err := r.LearnID(258, added.Schema); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(confluent, &m, true); err != nil || m.Type != "test_type" {
		t.Errorf("after LearnID: got %v, %q", err, m.Type)
	}
	if err := r.Learn(`{"type":"record","name":"x","fields":[]}`); err == nil {
		t.Error("learn what is no data type: got no error")
	}
}

// TestReadHostile has bytes that claim more than they hold (T12). Each must
// end as unreadable, having allocated next to nothing.
func TestReadHostile(t *testing.T) {
	set := mustLoad(t, "test_type", testType)
	eth := set.Type("ethereum_metrics")
	header := eth.header
	head := func(kind int64) []byte {
		b := eth.appendHead(nil, &testHead, 0)
		return binary.AppendVarint(b[:len(b)-1], kind)
	}
	reorg := head(4)
	varint := func(b []byte, v ...int64) []byte {
		b = bytes.Clone(b)
		for _, v := range v {
			b = binary.AppendVarint(b, v)
		}
		return b
	}
	payload := varint(head(5), 1)
	good := append(append(payload, 4, '0', 'x'), 2)
	// A record of the test type up to its last three fields: grid, map, states.
	nested, _, err := set.Type("test_type").Append(nil, &testHead, "all", wire.JSON, []byte(
		`{"b":true,"i":1,"l":1,"f":1,"d":1,"s":"","by":"","fx":"AAAAAA==","en":"ok","ms":1,"rec":{"x":1},"recs":[],"grid":[],"map":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	nested = nested[:len(nested)-3]
	var m message.Message
	if err := NewReader(set).Read(varint(nested, 1, 1, 1, 5, 0, 0, 0, 0), &m, true); err != nil {
		t.Fatalf("the record that the others are made of: %v", err)
	}
	if err := NewReader(set).Read(good, &m, true); err != nil {
		t.Fatalf("the record that the others are made of: %v", err)
	}
	for _, tc := range []struct {
		name  string
		value []byte
	}{
		{"empty", nil},
		{"short", []byte{0xC3, 0x01, 1}},
		{"JSON", []byte(`{"id":"a1","type":"x"}`)},
		{"framing alone", header},
		{"head cut", head(0)[:30]},
		{"length of a string negative", varint(header, -1)},
		{"length of a string 2^62", varint(header, 1<<62)},
		{"id not UTF-8", append(varint(header, 1), append([]byte{0xff}, head(0)[20:]...)...)},
		{"kind 6", varint(head(6), 0, 0)},
		{"kind -1", varint(head(-1), 0, 0)},
		{"body cut", payload},
		{"bytes after the end", append(bytes.Clone(good), 0)},
		{"varint of 11 bytes", append(bytes.Clone(head(5)), bytes.Repeat([]byte{0xff}, 11)...)},
		{"branch 2 of an optional", varint(head(0), 2)},
		{"boolean 2", append(varint(head(3), 1), 2)},
		{"array of 2^31", varint(reorg, 1<<31)},
		{"array of 2^62", varint(reorg, 1<<62)},
		{"array of -2^63", varint(reorg, -1<<63, 0)},
		{"array of -2^40 in a block of 1", varint(reorg, -1<<40, 1)},
		{"array of 1 in a block of 2^40", varint(reorg, -1, 1<<40, 1, 0, 0)},
		{"array of 1 in a block of the wrong size", varint(reorg, -1, 1, 1, 0, 0, 0, 0, 0)},
		{"array of an array of 2^31", varint(nested, 1, 1<<31)},
		{"array of two blocks, the second of 2^31", varint(nested, 1, 0, 1<<31)},
		{"map of 2^31", varint(nested, 0, 1<<31)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := NewReader(set)
			var m message.Message
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := r.Read(tc.value, &m, true)
			runtime.ReadMemStats(&after)
			var fault *message.Fault
			if !errors.As(err, &fault) || fault.Code != message.CodeUnreadable {
				t.Errorf("got %v, want unreadable", err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
				t.Errorf("allocated %d bytes", got)
			}
		})
	}
}

// TestReaderConcurrent is for the race detector.
func TestReaderConcurrent(t *testing.T) {
	set := mustLoad(t)
	r := NewReader(set)
	added := mustLoad(t, "test_type", testType).Type("test_type")
	record := mustAppend(t, set.Type("system_metrics"), "load", `{"load1":1,"load5":2,"load15":3.5}`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				var m message.Message
				if err := r.Read(record, &m, true); err != nil || m.Body["load15"] != 3.5 {
					t.Errorf("got %v, %v", err, m.Body)
				}
			}
			if err := r.Learn(added.Schema); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestUnknownSchemaErrorNamesIt(t *testing.T) {
	err := error(&UnknownSchemaError{Fingerprint: 0xabc})
	if got, want := err.Error(), "unknown schema: fingerprint 0000000000000abc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	err = &UnknownSchemaError{ID: 7, Registry: true}
	if got := err.Error(); !strings.HasSuffix(got, "id 7") {
		t.Errorf("got %q, want the id", got)
	}
}
