package gateway

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
)

// The window that an agent is given: its share of the budget within these.
const (
	minWindow = 8
	maxWindow = 1024
	// guess is the size of a frame as long as there were too few to know.
	guess   = 1 << 10
	toGuess = 1000
)

// Connect implements Host.
func (g *Gateway) Connect(o Opening) (*Conn, error) {
	if err := g.taking(); err != nil {
		return nil, err
	}
	id, err := g.random(8)
	if err != nil {
		g.metrics.rejected.add("internal")
		return nil, err
	}
	session := o.Session
	if session == "" {
		session = id
	}
	c := &Conn{
		g: g, id: id, opened: o, count: g.counts[o.Protocol],
		key:    []byte(o.Agent),
		prefix: []byte(o.Agent + "/" + session + "/"),
		header: kafka.FrameHeaders(&message.Frame{
			Protocol: o.Protocol, ContentType: o.ContentType, Connection: id,
			Network: o.Network, Genesis: o.Genesis,
		}),
	}
	if c.count == nil {
		c.count = new(counts) // of a protocol that is served under another name
	}
	c.decide = c.decided

	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		g.metrics.rejected.add("draining")
		return nil, ErrDraining
	}
	older := g.byAgent[o.Agent]
	kept := 0
	for _, old := range slices.Backward(older) { // the newest first

		switch {
		case old.ended != "":
		case kept >= g.cfg.Limits.PerAgent-1, old.opened.Session == o.Session && o.Session != "":
			g.end(old, Replaced)
		default:
			kept++
		}
	}
	c.bucket = int(g.opened % uint64(len(g.due)))
	g.opened++
	g.byAgent[o.Agent] = append(older, c)
	g.conns[c] = struct{}{}
	g.due[c.bucket][c] = struct{}{}
	c.window = g.share()
	g.say(c, "connected", "", g.clock())
	return c, nil
}

// share returns the window of one more connection: the budget, divided by the
// connections and by what a frame takes.
func (g *Gateway) share() int {
	var frames, bytes uint64
	for _, c := range g.counts {
		frames += c.frames.Load()
		bytes += c.bytes.Load()
	}
	mean := int64(guess)
	if frames >= toGuess {
		mean = int64(bytes / frames)
	}
	n := g.room.size / int64(len(g.conns)) / (mean + overhead)
	return int(min(max(n, minWindow), maxWindow))
}

// say queues a frame of the gateway's own about c. The mutex is held.
func (g *Gateway) say(c *Conn, what string, reason Reason, at time.Time) {
	c.said++
	g.own.add(c.opened.Agent, c.opened.Agent+"/"+c.id+"/"+strconv.FormatUint(c.said, 10), event{
		Event: what, Connection: c.id, Protocol: c.opened.Protocol, Instance: g.instance, Reason: string(reason),
	}, at)
}

// sayAlive queues alive for the connections whose turn it is. One that is skipped
// while Kafka is slow is not missed: three in a row would be.
func (g *Gateway) sayAlive(bucket int, now time.Time) {
	if g.own.waiting() > 4*ownInFlight {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.due[bucket] {
		g.say(c, "alive", "", now)
	}
}

// end has a connection end itself. The mutex is held.
func (g *Gateway) end(c *Conn, reason Reason) {
	if c.ended != "" || c.gone {
		return
	}
	c.ended = reason
	go c.opened.End(reason)
}

// disconnect takes a connection off the lists.
func (g *Gateway) disconnect(c *Conn, reason Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	if c.ended != "" {
		reason = c.ended
	}
	delete(g.conns, c)
	delete(g.due[c.bucket], c)
	if left := without(g.byAgent[c.opened.Agent], c); len(left) > 0 {
		g.byAgent[c.opened.Agent] = left
	} else {
		delete(g.byAgent, c.opened.Agent)
	}
	g.say(c, "disconnected", reason, g.clock())
	if why, ok := endings[reason]; ok {
		g.metrics.rejected.add(why)
	}
}

// evict ends the connections of an agent that may not have them any longer, and
// of those that share its credential. An agent that has another token comes back.
func (g *Gateway) evict(agent string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		if a := c.opened.Agent; a == agent || strings.HasPrefix(a, agent+"/") {
			g.end(c, Banned)
		}
	}
}

// connected returns how many long-lived connections there are.
func (g *Gateway) connected() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}
