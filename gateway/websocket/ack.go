package websocket

import (
	"time"

	"github.com/gorilla/websocket"

	"sluice/gateway"
	"sluice/internal/wire"
	"sluice/message"
)

// done is called for each frame taken, in order. It must not block.
func (s *stream) done(err error) {
	switch {
	case s.failed.Load():
	case err != nil:
		s.failed.Store(true)
		go s.stop(cause{gateway.NotStored, websocket.CloseInternalServerErr, "a frame could not be stored"})
	default:
		s.durable.Add(1)
		s.rouse()
		if !s.dirty.Swap(true) {
			go s.ack()
		}
	}
}

// ack says how far everything is durable. The first after a rest is said at once.
func (s *stream) ack() {
	s.write.Lock()
	rest := ackEvery - time.Since(s.wrote)
	s.write.Unlock()
	if rest > 0 {
		time.Sleep(rest)
	}
	s.write.Lock()
	defer s.write.Unlock()
	s.dirty.Store(false)
	s.sayAck()
}

// sayAck writes an ack if there is something new. The lock is held.
func (s *stream) sayAck() {
	at := s.base + s.durable.Load() + s.passed.Load()
	n := 0
	// Frames behind a refused one may be durable by now too, so that the count
	// can be past its number.
	for n < len(s.skip) && s.skip[n] <= at+1 {
		n++
		at++
	}
	s.skip = s.skip[n:]
	s.passed.Add(uint64(n))
	s.rouse()
	if at == s.acked || s.silent {
		return
	}
	s.acked = at
	s.buf = appendAck(s.buf[:0], s.format, at)
	s.send()
}

// refuse tells the agent that the frame read last is too large.
func (s *stream) refuse() {
	s.h.env.Reject("frame_size")
	s.refused++
	s.write.Lock()
	defer s.write.Unlock()
	s.skip = append(s.skip, s.seq)
	if !s.silent {
		s.buf = appendRefused(s.buf[:0], s.format, s.seq, message.CodeTooLarge, int64(s.limit))
		s.send()
	}
	s.sayAck() // where everything before is durable already, nobody else does
}

// control writes a control message.
func (s *stream) control(appendTo func([]byte) []byte) {
	s.write.Lock()
	defer s.write.Unlock()
	s.buf = appendTo(s.buf[:0])
	s.send()
}

// send writes what is in buf. The lock is held.
func (s *stream) send() {
	kind := websocket.TextMessage
	if s.format == wire.Msgpack {
		kind = websocket.BinaryMessage
	}
	s.wrote = time.Now()
	_ = s.ws.SetWriteDeadline(s.wrote.Add(writeTime))
	if err := s.ws.WriteMessage(kind, s.buf); err != nil {
		s.silent = true
		s.stop(unwritten(err))
	}
}
