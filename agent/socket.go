package agent

import (
	"net"
	"sync"
	"time"
)

// socket lies between the websocket library, which writes to the network once
// per message, and the network: between cork and uncork it gathers what is
// written, so that many frames cost one system call here and one at the
// gateway, whose cost follows frames per read.
type socket struct {
	net.Conn

	mu     sync.Mutex
	corked bool
	buf    []byte

	deadline sync.Mutex
	last     time.Time // no deadline is set later than this one, unless zero
}

// maxGather is how much is gathered before it is written in any case, in bytes.
const maxGather = 64 << 10

// Write writes p, or keeps it while the socket is corked.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.corked {
		return s.Conn.Write(p)
	}
	if len(s.buf) > 0 && len(s.buf)+len(p) > maxGather {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	s.buf = append(s.buf, p...)
	return len(p), nil
}

func (s *socket) cork() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = true
}

// uncork writes what was gathered.
func (s *socket) uncork() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = false
	return s.flush()
}

func (s *socket) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.Conn.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// expire ends every read and write at t at the latest, those that have begun
// and those to come.
func (s *socket) expire(t time.Time) {
	s.deadline.Lock()
	defer s.deadline.Unlock()
	s.last = t
	_ = s.Conn.SetDeadline(t)
}

// SetDeadline, SetReadDeadline and SetWriteDeadline set deadlines as long as
// expire was not called.
func (s *socket) SetDeadline(t time.Time) error {
	return s.set(t, s.Conn.SetDeadline)
}

// SetReadDeadline sets the deadline of reads; see SetDeadline.
func (s *socket) SetReadDeadline(t time.Time) error {
	return s.set(t, s.Conn.SetReadDeadline)
}

// SetWriteDeadline sets the deadline of writes; see SetDeadline.
func (s *socket) SetWriteDeadline(t time.Time) error {
	return s.set(t, s.Conn.SetWriteDeadline)
}

func (s *socket) set(t time.Time, set func(time.Time) error) error {
	s.deadline.Lock()
	defer s.deadline.Unlock()
	if !s.last.IsZero() && (t.IsZero() || t.After(s.last)) {
		t = s.last
	}
	return set(t)
}
