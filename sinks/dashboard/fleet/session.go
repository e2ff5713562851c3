package fleet

import (
	"time"

	"sluice/message"
)

// aliveTimeout is three times the period of a gateway's alive messages: a
// connection not heard of for so long is gone, as its gateway may be.
const aliveTimeout = 60 * time.Second

// drainTime is how long a connection that its gateway drained counts as open:
// the agent has that long to connect to another.
const drainTime = 30 * time.Second

// draining is the reason of a disconnection that the gateway wanted.
const draining = "draining"

// sessions is what is known of the connections of one agent.
type sessions struct {
	conns map[string]conn
	// last is when a gateway last spoke of any connection, in ms.
	last int64
	// chain is what the connection knew of the chain.
	chain fact[chainID]
	// end is the latest end of a connection.
	end fact[ending]
	// speaks is true while a view is made if the agent has a node to show.
	speaks bool
}

type chainID struct{ network, genesis string }

// ending is the end of a connection.
type ending struct {
	at     int64 // ms
	reason string
}

// conn is one connection. What comes late of the time before its end does not
// open it again.
type conn struct {
	first, last int64 // ms, of connected and alive
	end         fact[ending]
}

// isSession reports whether m speaks of a connection.
func isSession(m *message.Message) bool {
	return m.Type == "networking_metrics" && (m.Kind == "connected" || m.Kind == "alive" || m.Kind == "disconnected")
}

// apply takes m, which speaks of a connection.
func (s *sessions) apply(m *message.Message) {
	at, received := stampOf(m), m.ReceivedAt.UnixMilli()
	s.last = max(s.last, received)
	s.chain.put(at, chainID{text(m.Network, maxNet), text(m.Genesis, maxHash)})
	id := textOf(m.Body["connection"], 2*maxName)
	c := s.conns[id]
	if m.Kind == "disconnected" {
		e := ending{received, textOf(m.Body["reason"], maxName)}
		c.end.put(at, e)
		s.end.put(at, e)
	} else {
		c.last = max(c.last, received)
		if c.first == 0 || received < c.first {
			c.first = received
		}
	}
	if s.conns == nil {
		s.conns = make(map[string]conn)
	}
	s.conns[id] = c
}

// open reports whether the connection counts as open at now, in ms.
func (c conn) open(now int64) bool {
	if c.end.known && c.end.value.at >= c.last {
		return c.end.value.reason == draining && now-c.end.value.at < drainTime.Milliseconds()
	}
	return now-c.last < aliveTimeout.Milliseconds()
}

// open reports whether any connection counts as open at now, in ms.
func (s *sessions) open(now int64) bool {
	for _, c := range s.conns {
		if c.open(now) {
			return true
		}
	}
	return false
}

// opened returns when the youngest of the connections open at now, in ms, was
// first heard of.
func (s *sessions) opened(now int64) int64 {
	var youngest int64
	for _, c := range s.conns {
		if c.open(now) {
			youngest = max(youngest, c.first)
		}
	}
	return youngest
}

// ended returns when and why the agent was left without a connection. A reason
// is known only of a connection that ended in order.
func (s *sessions) ended() ending {
	if s.end.known && s.end.value.at >= s.last {
		return s.end.value
	}
	return ending{at: s.last}
}

// sweep drops the connections that no message older than now can make count
// again: nothing of them is younger than aliveTimeout.
func (s *sessions) sweep(now int64) {
	for id, c := range s.conns {
		if now-max(c.last, c.end.value.at) >= aliveTimeout.Milliseconds() {
			delete(s.conns, id)
		}
	}
}
