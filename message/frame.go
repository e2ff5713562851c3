package message

import (
	"strconv"
	"time"
)

// Frame is one transmission of one agent, untouched. It is the value of one
// record of the ingest topic, whose key is Agent.
type Frame struct {
	// ID is the same for every transmission of the same frame: agent/session/seq
	// on a websocket, agent/key on REST. A resent frame keeps it.
	ID string
	// Agent is who authenticated, never what the payload claims.
	Agent string
	// Protocol names the gateway plugin that received the frame.
	Protocol string
	// ContentType says how Value is encoded, such as application/json.
	ContentType string
	// Connection tells one connection of an agent from another; empty where a
	// protocol has none.
	Connection string
	// Network and Genesis are what only the connection knew of the chain;
	// empty where it knew nothing.
	Network, Genesis string
	// Value is the bytes as received, less any secret.
	Value []byte
	// ReceivedAt is the gateway's clock at reception, in milliseconds. It is
	// the timestamp of the ingest record and of all that comes from it.
	ReceivedAt time.Time
	// Src is where the frame stands in the ingest topic; zero before it does.
	Src Source
}

// Source is the place of a frame in the ingest topic. Every record made from
// that frame carries it.
type Source struct {
	Partition int32
	Offset    int64
}

// String returns "partition:offset", the form of the src header.
func (s Source) String() string {
	return string(s.Append(make([]byte, 0, 24)))
}

// Append appends "partition:offset" to dst.
func (s Source) Append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(s.Partition), 10)
	dst = append(dst, ':')
	return strconv.AppendInt(dst, s.Offset, 10)
}

// Before reports whether s precedes t: by offset inside a partition, by
// partition number across partitions, which is arbitrary but fixed.
func (s Source) Before(t Source) bool {
	if s.Partition != t.Partition {
		return s.Partition < t.Partition
	}
	return s.Offset < t.Offset
}

// ParseSource reads the form that String writes.
func ParseSource(s []byte) (Source, bool) {
	for i, c := range s {
		if c != ':' {
			continue
		}
		p, err := strconv.ParseInt(string(s[:i]), 10, 32)
		if err != nil {
			return Source{}, false
		}
		o, err := strconv.ParseInt(string(s[i+1:]), 10, 64)
		if err != nil {
			return Source{}, false
		}
		return Source{Partition: int32(p), Offset: o}, true
	}
	return Source{}, false
}
