package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
)

// listener counts connections, in all and by address, and keeps hold of those
// that http.Server forgets once they are hijacked.
//
// One that is over a limit is let in as far as its request, so that it can be
// answered with 503 and Retry-After; some way further up it is closed at once.
type listener struct {
	net.Listener
	total, perIP int
	refuse       func(reason string)

	mu   sync.Mutex
	open map[*socket]struct{}
	byIP map[netip.Prefix]int
}

// spare is how many connections beyond the limit are answered.
const spare = 64

func newListener(l net.Listener, total, perIP int, refuse func(string)) *listener {
	return &listener{
		Listener: l, total: total, perIP: perIP, refuse: refuse,
		open: make(map[*socket]struct{}), byIP: make(map[netip.Prefix]int),
	}
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		s := &socket{Conn: c, l: l, ip: origin(c.RemoteAddr()), idle: true}
		if l.add(s) {
			return s, nil
		}
		_ = c.Close()
	}
}

func (l *listener) add(s *socket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.total {
		s.over = "connections"
	}
	if l.perIP > 0 && l.byIP[s.ip] >= l.perIP {
		s.over = "per_ip"
	}
	if s.over != "" {
		l.refuse(s.over)
	}
	if len(l.open) >= l.total+spare || l.perIP > 0 && l.byIP[s.ip] >= l.perIP+spare {
		return false
	}
	l.open[s] = struct{}{}
	l.byIP[s.ip]++
	return true
}

func (l *listener) remove(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[s]; !ok {
		return
	}
	delete(l.open, s)
	if l.byIP[s.ip]--; l.byIP[s.ip] == 0 {
		delete(l.byIP, s.ip)
	}
}

// closeAll closes what is still open.
func (l *listener) closeAll() {
	l.mu.Lock()
	left := make([]*socket, 0, len(l.open))
	for s := range l.open {
		left = append(left, s)
	}
	l.mu.Unlock()
	for _, s := range left {
		_ = s.Close()
	}
}

// origin is what connections are counted by: an IPv4 address, or the /64 that
// one owner of IPv6 addresses has at least.
func origin(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}

// socket is a connection that the listener counts.
type socket struct {
	net.Conn
	l    *listener
	ip   netip.Prefix
	over string // the limit that it is over, or empty
	read bool   // something was read

	// Of the goroutine that serves the connection: no request is under way, or
	// one has begun that did not come to a handler yet, and one did before.
	idle, asking, asked bool
	// How the last read ended: too late, or with another error.
	late, broken atomic.Bool
}

// Read ends the connection if it begins with a TLS hello: an answer in plain
// text would only puzzle who sent it.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 && !s.read {
		s.read = true
		const handshake = 0x16
		if p[0] == handshake {
			s.l.refuse("tls")
			return 0, io.EOF
		}
	}
	if s.idle && n > 0 {
		s.idle, s.asking = false, true
	}
	if err != nil {
		late := errors.Is(err, os.ErrDeadlineExceeded)
		s.late.Store(late)
		s.broken.Store(!late)
	}
	return n, err
}

// CloseWrite ends what we send and lets the other side finish.
func (s *socket) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Close closes the connection and counts it no longer.
func (s *socket) Close() error {
	s.l.remove(s)
	return s.Conn.Close()
}

type socketKey struct{}

// withSocket is http.Server.ConnContext.
func withSocket(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, c)
}

// asked notes that a request has come to a handler, and returns the limit that
// its connection is over, or "".
func asked(ctx context.Context) string {
	if s, ok := ctx.Value(socketKey{}).(*socket); ok {
		s.idle, s.asking, s.asked = false, false, true
		return s.over
	}
	return ""
}

// track is http.Server.ConnState. What net/http refuses by itself no handler gets
// to see: a request that has begun, came to no handler, and whose connection we
// have closed.
func track(c net.Conn, state http.ConnState) {
	s, ok := c.(*socket)
	if !ok {
		return
	}
	switch state {
	case http.StateIdle:
		s.idle = true
		s.late.Store(false) // that was how net/http ends a read behind a request
	case http.StateClosed:
		switch {
		case s.over != "" || s.asked && !s.asking || s.broken.Load():
		case s.late.Load():
			s.l.refuse("slow_request")
		case s.asking:
			s.l.refuse("bad_request")
		}
	}
}
