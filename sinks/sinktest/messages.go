package sinktest

import (
	"fmt"
	"testing"
	"time"

	"sluice/internal/wire"
	"sluice/message"
	"sluice/schemas"
)

// Start is the event time of the first of Messages: ten minutes before the end
// of an hour, in UTC.
var Start = time.Date(2026, 11, 23, 18, 50, 0, 0, time.UTC)

// bodies are one of some kinds of each built-in data type. They hold what upsets
// sinks: quotes, line breaks, text beyond ASCII, markup, integers beyond 2^53.
var bodies = []struct{ dataType, kind, body string }{
	{"system_metrics", "cpu", `{"usage": 12.5, "cores": 8, "per_core": [1.5, 0, 100]}`},
	{"ethereum_metrics", "block", `{"number": 21000000, "hash": "0xaa", "difficulty": "58750003716598352816469", "gasLimit": 9007199254740993,
		"transactions": ["0x01", "0x02"], "extraData": "\"quoted\", \\ and\nbroken \u0000 \u2028"}`},
	{"system_metrics", "memory", `{"total": 9223372036854775807, "used": 0, "available": 1, "usage": 0.1}`},
	{"networking_metrics", "latency", `{"latency": 3.25}`},
	{"ethereum_metrics", "information", `{"name": "</script><b>Ωνομα 🦀", "contact": "../../etc/passwd", "node": "Geth/v1.17.10\u001b[31m"}`},
	{"system_metrics", "disk", `{"mount": "/data/ä b", "total": 1, "used": 1, "free": 0, "usage": 100}`},
	{"ethereum_metrics", "pending", `{"pending": 0}`},
}

// Messages returns n messages as the runner gives them to a sink, with bodies:
// of all built-in data types and several kinds, from seven agents on three
// partitions, one every 7 seconds from Start on, each partition in order. Every
// fifth has no time of its own, so that its event time is that of reception.
// They are the same in every call.
func Messages(t testing.TB, n int) []message.Message {
	t.Helper()
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	reader := schemas.NewReader(set)
	offsets := map[string]int64{}
	all := make([]message.Message, n)
	for i := range all {
		b := bodies[i%len(bodies)]
		observed := Start.Add(time.Duration(i) * 7 * time.Second)
		agent := fmt.Sprintf("agent-%d", i%7)
		head := schemas.Head{
			ID:    message.MessageID(fmt.Sprintf("%s/session.1/%d", agent, i), i%3),
			Agent: agent, Node: agent, Network: "1",
			ReceivedAt: observed.Add(250 * time.Millisecond).UnixMilli(),
			ObservedAt: observed.UnixMilli(),
		}
		if i%5 == 4 {
			head.ObservedAt = 0
		}
		if i%4 == 3 {
			head.Node = "a node behind " + agent
		}
		value, unknown, err := set.Type(b.dataType).Append(nil, &head, b.kind, wire.JSON, []byte(b.body))
		if err != nil || unknown > 0 {
			t.Fatalf("make message %d: %v, %d unknown fields", i, err, unknown)
		}
		m := &all[i]
		if err := reader.Read(value, m, true); err != nil {
			t.Fatalf("read message %d: %v", i, err)
		}
		m.Topic = message.Topic(m.Type)
		m.Partition = int32(i % 7 % 3)
		place := fmt.Sprint(m.Topic, m.Partition)
		m.Offset = offsets[place]
		offsets[place]++
		m.Src = message.Source{Partition: m.Partition, Offset: int64(i)}
		m.Index, m.Count = i%3, 3
	}
	return all
}

// clone returns messages that share no memory that a sink is given with ms.
func clone(ms []message.Message) []message.Message {
	c := make([]message.Message, len(ms))
	for i, m := range ms {
		m.Avro = append([]byte(nil), m.Avro...)
		m.Body = copyOf(m.Body).(map[string]any)
		c[i] = m
	}
	return c
}

func copyOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, inner := range v {
			c[k] = copyOf(inner)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, inner := range v {
			c[i] = copyOf(inner)
		}
		return c
	}
	return v
}
