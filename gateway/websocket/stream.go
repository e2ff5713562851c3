package websocket

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"sluice/gateway"
	"sluice/internal/wire"
)

const (
	// maxDiscard is the largest message that is read to its end, to be refused.
	// The connection ends with one that declares more.
	maxDiscard = 16 << 20
	// ackEvery is the shortest time between two acks.
	ackEvery = 5 * time.Millisecond
	// writeTime is how long an agent may take to read what we wrote.
	writeTime = 10 * time.Second
	// drainTime is how long the end of a connection waits for frames in flight.
	drainTime = 2 * time.Second
	// lingerTime is how long we wait for an agent to read our last words.
	lingerTime = 500 * time.Millisecond
	// Pings of an agent: a burst, and then so many a second.
	pingBurst, pingRate = 20, 5
)

// stream is one connection.
type stream struct {
	h      *handler
	ws     *websocket.Conn
	sock   *socket
	conn   *gateway.Conn
	agent  string
	format wire.Format
	limit  int // largest frame
	window uint64

	// Of the reader.
	base    uint64 // number before the first frame
	seq     uint64 // number of the frame read last
	taken   uint64 // frames that Ingest took
	refused uint64
	slab    []byte
	pings   int
	pinged  time.Time

	// Of whoever learns that a frame is durable, which is one goroutine.
	durable atomic.Uint64 // frames taken that Kafka has, up to the first that failed
	failed  atomic.Bool   // a frame's fate is unknown: nothing is acknowledged any more
	dirty   atomic.Bool   // an ack is under way that will see the latest count

	paused atomic.Bool // the reader waits for wake
	wake   chan struct{}
	passed atomic.Uint64 // refused frames that acks have passed over

	// write guards writing and what follows.
	write  sync.Mutex
	skip   []uint64 // refused numbers that acks have not passed over, in order
	acked  uint64   // number acknowledged last
	wrote  time.Time
	buf    []byte
	silent bool // nothing is written any more

	// The first cause for which the connection ends.
	once   sync.Once
	quit   chan struct{}
	cause  cause
	pinger *time.Timer
}

// serve stays until the connection is over.
func (s *stream) serve() {
	defer func() { _ = s.ws.Close() }()
	first, err := s.login()
	if err != nil {
		c := s.explain(err)
		if c.reason != gateway.Closed && c.reason != gateway.Lost { // which is no refusal
			s.h.env.Reject("hello_" + string(c.reason))
		}
		s.say(c)
		return
	}
	s.base, s.seq, s.acked = first.next-1, first.next-1, first.next-1
	s.limit = int(s.h.env.Limits.Frame)
	s.conn, err = s.h.env.Host.Connect(gateway.Opening{
		Agent: s.agent, Protocol: s.h.env.Name, ContentType: s.format.ContentType(), Session: first.session,
		Done: s.done, End: s.end,
	})
	switch {
	case errors.Is(err, gateway.ErrDraining):
		s.say(draining)
		return
	case err != nil:
		s.say(cause{gateway.Closed, websocket.CloseTryAgainLater, "try again later"})
		return
	}
	s.window = uint64(s.conn.Window())
	s.pinger = time.AfterFunc(s.h.settings.Ping, s.ping)
	s.control(func(dst []byte) []byte {
		return appendWelcome(dst, s.format, s.agent, int64(s.limit), s.conn.Window())
	})
	if err := s.read(); err != nil {
		s.stop(s.explain(err))
	}
	<-s.quit
	s.finish()
}

// login reads messages until one is a hello.
func (s *stream) login() (hello, error) {
	s.ws.SetReadLimit(int64(s.h.env.Limits.BeforeLogin))
	s.ws.SetPingHandler(s.pong)
	s.sock.login = time.Now().Add(s.h.env.Limits.LoginTimeout)
	for left := int(s.h.env.Limits.BeforeLogin); ; {
		_, r, err := s.ws.NextReader()
		if err != nil {
			return hello{}, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return hello{}, err
		}
		first, err := parseHello(s.format, b)
		if err == nil {
			s.sock.login = time.Time{}
			s.ws.SetReadLimit(maxDiscard)
			return first, nil
		}
		if left -= len(b) + 1; !errors.Is(err, errNoHello) || left < 0 {
			return hello{}, malformed{err}
		}
	}
}

// malformed is an error in what an agent said, not in how it came.
type malformed struct{ error }

var errPings = errors.New("too many pings")

// read takes frames until the connection ends. It returns nil if it was stopped.
func (s *stream) read() error {
	for {
		if s.outstanding() >= s.window {
			if !s.await(s.quit, func() bool { return s.outstanding() < s.window }) {
				return nil
			}
			s.sock.at = s.h.env.Clock() // what is in the buffer is received now
		}
		_, r, err := s.ws.NextReader()
		if err != nil {
			return err
		}
		s.sock.begin()
		value, fits, err := s.frame(r)
		s.sock.end()
		if err != nil {
			return err
		}
		s.seq++
		if !fits {
			s.refuse()
			continue
		}
		for {
			err := s.conn.Ingest(s.seq, value, s.sock.at)
			if err == nil {
				s.taken++
				break
			}
			if !errors.Is(err, gateway.ErrBusy) {
				return err // ErrTooLarge, which the limits rule out
			}
			if !s.conn.Wait(s.quit) {
				return nil
			}
			s.sock.at = s.h.env.Clock() // now it is received
		}
	}
}

const (
	slabSize = 8 << 10
	// slabRest is what a slab must have left to be read into.
	slabRest = 512
	// slabCopy is how much of a frame is moved to a new slab; a frame that is
	// longer gets memory of its own.
	slabCopy = 4 << 10
)

// frame reads a message to its end. One that is longer than the limit does not
// fit, and is thrown away as it comes.
func (s *stream) frame(r io.Reader) (value []byte, fits bool, err error) {
	if cap(s.slab)-len(s.slab) < slabRest {
		s.slab = make([]byte, 0, slabSize)
	}
	start, buf, shared := len(s.slab), s.slab, true
	for {
		size := len(buf) - start
		if size > s.limit {
			_, err := io.Copy(io.Discard, r)
			return nil, false, err
		}
		if len(buf) == cap(buf) {
			if shared && size < slabCopy {
				s.slab = make([]byte, 0, slabSize)
				buf = append(s.slab, buf[start:]...)
			} else {
				buf = append(make([]byte, 0, min(max(2*size, 4*slabCopy), s.limit+1)), buf[start:]...)
				shared = false
			}
			start = 0
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	value = buf[start:len(buf):len(buf)]
	switch {
	case len(value) > s.limit:
		return nil, false, nil
	case shared:
		s.slab = buf
	case cap(buf)-len(value) > len(value)/4:
		value = append(make([]byte, 0, len(value)), value...)
	}
	return value, true, nil
}

// outstanding returns how many frames the agent knows nothing of yet.
func (s *stream) outstanding() uint64 {
	return s.taken + s.refused - s.durable.Load() - s.passed.Load()
}

// await waits until ok, which is looked at whenever an ack may have changed it.
// It returns false if quit comes first.
func (s *stream) await(quit <-chan struct{}, ok func() bool) bool {
	s.paused.Store(true)
	defer s.paused.Store(false)
	for !ok() {
		select {
		case <-s.wake:
		case <-quit:
			return false
		}
	}
	return true
}

func (s *stream) rouse() {
	if s.paused.Load() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// ping asks the agent for a sign of life, from a timer, whether or not reading is
// paused.
func (s *stream) ping() {
	if err := s.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTime)); err != nil {
		s.stop(unwritten(err))
		return
	}
	s.pinger.Reset(s.h.settings.Ping)
}

// pong answers a ping, as long as they do not come in floods.
func (s *stream) pong(data string) error {
	if refill := int(s.sock.at.Sub(s.pinged).Seconds() * pingRate); refill > 0 {
		s.pings, s.pinged = max(s.pings-refill, 0), s.sock.at
	}
	if s.pings++; s.pings > pingBurst {
		return errPings
	}
	err := s.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeTime))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}
