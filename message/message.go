package message

import (
	"strconv"
	"time"
)

// Message is one fact of one data type, valid against that type's schema: one
// record of a typed topic, as a sink receives it.
type Message struct {
	// ID is the frame's ID and the index in the frame; see MessageID. The same
	// input always yields the same ID, so a sink keyed by it holds each once.
	ID string
	// Agent is who reported; Node is what the message speaks of, by default the
	// agent itself.
	Agent, Node string
	// Network and Genesis name the chain; empty where unknown.
	Network, Genesis string
	// Type is the data type, such as ethereum_metrics; Kind is the branch of
	// its body, such as block.
	Type, Kind string
	// ReceivedAt is the gateway's clock, in milliseconds.
	ReceivedAt time.Time
	// ObservedAt is the agent's clock when the fact was made; zero where the
	// agent gave none.
	ObservedAt time.Time
	// Src is the ingest record the message came from. Index is its place among
	// the Count messages and dead letters of that frame.
	Src          Source
	Index, Count int

	// Topic, Partition and Offset are where the message stands.
	Topic     string
	Partition int32
	Offset    int64

	// Schema is the writer's schema as JSON. Avro is the record in Avro binary
	// under that schema, without any framing.
	Schema string
	Avro   []byte
	// Body holds the fields of the kind, decoded, with the defaults of the
	// reader's schema for fields the writer did not know. Numbers are int32,
	// int64, float32 or float64 as the schema says; an absent optional field is
	// nil. It is nil for sinks that asked for no bodies.
	Body map[string]any
}

// EventTime is when the fact was made: the agent's clock if it gave one, else
// the gateway's.
func (m *Message) EventTime() time.Time {
	if !m.ObservedAt.IsZero() {
		return m.ObservedAt
	}
	return m.ReceivedAt
}

// Supersedes reports whether m is to replace old where only the latest is kept:
// the later event time wins, then the later place in ingest, then the later
// index. A correction of the same frame wins over what it corrects.
func (m *Message) Supersedes(old *Message) bool {
	a, b := m.EventTime(), old.EventTime()
	switch {
	case !a.Equal(b):
		return a.After(b)
	case m.Src != old.Src:
		return old.Src.Before(m.Src)
	default:
		return m.Index >= old.Index
	}
}

// MessageID returns the ID of the message at index in the frame called frameID.
func MessageID(frameID string, index int) string {
	return string(AppendMessageID(make([]byte, 0, len(frameID)+4), frameID, index))
}

// AppendMessageID appends to dst what MessageID returns.
func AppendMessageID(dst []byte, frameID string, index int) []byte {
	dst = append(dst, frameID...)
	dst = append(dst, '#')
	return strconv.AppendInt(dst, int64(index), 10)
}
