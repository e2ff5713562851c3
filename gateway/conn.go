package gateway

import (
	"strconv"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
)

// Conn is a long-lived connection of an agent. Its methods are for one goroutine,
// the one that reads.
type Conn struct {
	g      *Gateway
	id     string
	opened Opening
	window int
	count  *counts

	// What is the same for every frame. decide is made once: a method value
	// per frame would be an allocation per frame.
	key    []byte
	prefix []byte // agent/session/
	header []kafka.Header
	decide func(*kafka.Record, error)

	// Blocks that records are taken from, one after the other.
	records []kafka.Record
	headers []kafka.Header
	ids     []byte

	// wanted is the size of the frame that was refused last; granted is what
	// Wait took for it.
	wanted, granted int64

	// Guarded by the gateway's mutex.
	bucket int    // when it is due for alive
	ended  Reason // what End was given, or empty
	gone   bool
	said   uint64 // own frames so far
}

const (
	// block is how many records are allocated at once.
	block = 16
	// overhead is what one frame costs in memory beyond its bytes: record,
	// headers, ID and what the producer keeps of it.
	overhead = 512
)

// ID returns the gateway's name for the connection.
func (c *Conn) ID() string { return c.id }

// Window returns the most frames that the agent is to leave unacknowledged. It
// is the connection's share of the budget at the time it was opened, 8 to 1024.
func (c *Conn) Window() int { return c.window }

// Ingest offers the frame numbered seq, received at that time, as Host.Ingest
// does: its ID is agent/session/seq, and Opening.Done is what is called. After
// ErrBusy the same frame must be offered next.
func (c *Conn) Ingest(seq uint64, value []byte, at time.Time) error {
	n := overhead + int64(cap(value))
	if len(value) > maxFrame {
		return ErrTooLarge
	}
	if c.granted > 0 {
		c.granted = 0
	} else if !c.g.room.take(n) {
		c.wanted = n
		return ErrBusy
	}
	r := c.record(seq)
	r.Topic, r.Key, r.Value, r.Timestamp = message.TopicIngest, c.key, value, at
	c.g.ages.add(at)
	c.count.add(len(value))
	if c.g.tracer != nil {
		c.g.beginTrace(r, c.opened.Protocol, c.id)
	}
	c.g.producer.TryProduce(r, c.decide)
	return nil
}

// Wait returns true when the frame that Ingest did not take will be taken, and
// false once quit is closed. While it waits, nothing is read, so the agent feels
// it as a full socket.
func (c *Conn) Wait(quit <-chan struct{}) bool {
	if !c.g.room.wait(c.wanted, quit) {
		return false
	}
	c.granted = c.wanted
	return true
}

// record returns an empty record that has its headers.
func (c *Conn) record(seq uint64) *kafka.Record {
	h := len(c.header)
	if len(c.records) == 0 {
		c.records = make([]kafka.Record, block)
		c.headers = make([]kafka.Header, block*h)
	}
	r := &c.records[0]
	c.records = c.records[1:]
	r.Headers = c.headers[:h:h]
	c.headers = c.headers[h:]
	copy(r.Headers, c.header)

	if need := len(c.prefix) + 20; cap(c.ids)-len(c.ids) < need {
		c.ids = make([]byte, 0, block*need)
	}
	start := len(c.ids)
	c.ids = strconv.AppendUint(append(c.ids, c.prefix...), seq, 10)
	r.Headers[0].Value = c.ids[start:len(c.ids):len(c.ids)]
	return r
}

// decided is the promise of every frame of the connection.
func (c *Conn) decided(r *kafka.Record, err error) {
	c.g.settle(r, err)
	c.opened.Done(err)
}

// Close takes the connection off the gateway's list and says so in a frame of
// the gateway's own. The reason is what End was given, if it was called. Only
// the first call counts. Frames taken before are still decided.
func (c *Conn) Close(reason Reason) {
	if c.granted > 0 {
		c.g.room.give(c.granted)
		c.granted = 0
	}
	c.g.disconnect(c, reason)
}
