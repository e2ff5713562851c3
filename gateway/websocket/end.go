package websocket

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"sluice/gateway"
	"sluice/message"
)

// cause says why a connection ends, to the gateway and to the agent.
type cause struct {
	reason gateway.Reason
	code   int // 0 where nothing can be said, or has been said already
	text   string
}

// draining is the cause of a connection that ends because the gateway does.
var draining = cause{gateway.Draining, websocket.CloseServiceRestart, "the gateway stops, connect again"}

// end is called when the gateway wants the connection to end.
func (s *stream) end(reason gateway.Reason) {
	c := cause{reason, websocket.ClosePolicyViolation, "not allowed"}
	switch reason {
	case gateway.Draining:
		c = draining
	case gateway.Replaced:
		c.text = "replaced by a newer connection"
	case gateway.Banned:
		c.text = "the agent or its token is no longer allowed"
	}
	s.stop(c)
}

// stop ends the connection; the first cause counts.
func (s *stream) stop(c cause) {
	s.once.Do(func() {
		s.cause = c
		close(s.quit)
		s.sock.stop()
	})
}

// explain makes a cause of an error in reading.
func (s *stream) explain(err error) cause {
	var (
		bad     malformed
		closed  *websocket.CloseError
		network net.Error
	)
	switch {
	case errors.As(err, &bad):
		return cause{gateway.Malformed, websocket.CloseProtocolError, message.Printable(err.Error(), 120)}
	case errors.Is(err, errPings):
		return cause{gateway.Malformed, websocket.ClosePolicyViolation, err.Error()}
	case errors.Is(err, websocket.ErrReadLimit), errors.Is(err, gateway.ErrTooLarge):
		return cause{gateway.TooLarge, websocket.CloseMessageTooBig, "message too large"}
	case errors.As(err, &network) && network.Timeout():
		if s.conn == nil {
			return cause{gateway.Timeout, websocket.ClosePolicyViolation, "login took too long"}
		}
		return cause{gateway.Timeout, websocket.CloseGoingAway, "nothing came for too long"}
	case errors.As(err, &closed):
		if closed.Code == websocket.CloseAbnormalClosure {
			return cause{reason: gateway.Lost}
		}
		return cause{reason: gateway.Closed} // gorilla has answered
	case network != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return cause{reason: gateway.Lost}
	}
	return cause{reason: gateway.Malformed} // gorilla has said what
}

// unwritten makes a cause of an error in writing.
func unwritten(err error) cause {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return cause{reason: gateway.Slow}
	}
	return cause{reason: gateway.Lost}
}

// finish says the last words and takes the connection off the gateway's list. A
// gateway that stops first waits for what it has taken, so that as little as can
// be is sent again.
func (s *stream) finish() {
	s.pinger.Stop()
	if s.cause.reason == gateway.Draining {
		late := make(chan struct{})
		t := time.AfterFunc(drainTime, func() { close(late) })
		s.await(late, func() bool { return s.durable.Load() == s.taken || s.failed.Load() })
		t.Stop()
	}
	s.write.Lock()
	s.sayAck()
	s.silent = true
	s.write.Unlock()
	s.say(s.cause)
	_ = s.ws.Close()
	s.conn.Close(s.cause.reason)
}

// say closes the websocket with a code and gives the agent a moment to read it:
// closing a socket that has unread bytes in it throws away what was written.
func (s *stream) say(c cause) {
	if c.code == 0 {
		return
	}
	err := s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(c.code, c.text), time.Now().Add(time.Second))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		return
	}
	_ = s.sock.CloseWrite()
	_ = s.sock.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, s.sock.Conn)
}
