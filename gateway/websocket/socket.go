package websocket

import (
	"net"
	"sync/atomic"
	"time"
)

// socket is the connection below a websocket. The websocket reads from it only
// when its buffer is empty, so here is where waiting begins: deadlines are set and
// the clock is read once for each such read, not for each frame.
//
// All fields but stopped are the reader's.
type socket struct {
	net.Conn
	idle, message time.Duration
	clock         func() time.Time

	// at is when the bytes in the buffer came.
	at time.Time
	// login is until when the agent may take to say hello; zero once it did.
	login time.Time
	// inside says that a message has begun; until is when it must have ended,
	// zero before the first wait inside of it.
	inside bool
	until  time.Time
	// set is the deadline that the connection has.
	set time.Time

	stopped atomic.Bool
}

// slack is how much longer than it must an idle deadline is, as a part of it, so
// that it need not be set anew for each read.
const slack = 12

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	now := time.Now()
	want := s.set
	switch {
	case !s.login.IsZero():
		want = s.login
	case s.inside:
		if s.until.IsZero() {
			s.until = now.Add(s.message)
		}
		want = s.until
	case s.set.Sub(now) < s.idle || s.set.Sub(now) > s.idle+s.idle/slack:
		// However long nothing was read: the time that the gateway paused is
		// over now, and does not count.
		want = now.Add(s.idle + s.idle/slack)
	}
	if want != s.set {
		s.set = want
		if err := s.SetReadDeadline(want); err != nil {
			return 0, err
		}
	}
	// stop sets stopped and then a deadline in the past. Either that comes after
	// ours, or it is seen here.
	if s.stopped.Load() {
		return 0, net.ErrClosed
	}
	n, err := s.Conn.Read(p)
	s.at = s.clock()
	return n, err
}

// begin and end enclose the reading of a message.
func (s *socket) begin() { s.inside = true }

func (s *socket) end() { s.inside, s.until = false, time.Time{} }

// stop ends a Read that waits, and every later one. Any goroutine may call it.
func (s *socket) stop() {
	s.stopped.Store(true)
	_ = s.SetReadDeadline(time.Unix(1, 0))
}

// CloseWrite ends what we send and lets the other side finish.
func (s *socket) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
