package gateway

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
)

// listener counts connections, in all and by address, and keeps hold of those
// that http.Server forgets once they are hijacked.
//
// One that is over a limit is let in as far as its request, so that it can be
// answered with 503 and Retry-After; some way further up it is closed at once.
type listener struct {
	net.Listener
	total, perIP int

	mu   sync.Mutex
	open map[*socket]struct{}
	byIP map[netip.Prefix]int
}

// spare is how many connections beyond the limit are answered.
const spare = 64

func newListener(l net.Listener, total, perIP int) *listener {
	return &listener{
		Listener: l, total: total, perIP: perIP,
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
		s := &socket{Conn: c, l: l, ip: origin(c.RemoteAddr())}
		if l.add(s) {
			return s, nil
		}
		_ = c.Close()
	}
}

func (l *listener) add(s *socket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.total+spare {
		return false
	}
	if len(l.open) >= l.total {
		s.over = "connections"
	}
	if l.perIP > 0 && l.byIP[s.ip] >= l.perIP {
		if l.byIP[s.ip] >= l.perIP+spare {
			return false
		}
		s.over = "per_ip"
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
}

// Read ends the connection if it begins with a TLS hello: an answer in plain
// text would only puzzle who sent it.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 && !s.read {
		s.read = true
		const handshake = 0x16
		if p[0] == handshake {
			return 0, io.EOF
		}
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

// overLimit returns the limit that the connection of a request is over, or "".
func overLimit(ctx context.Context) string {
	if s, ok := ctx.Value(socketKey{}).(*socket); ok {
		return s.over
	}
	return ""
}
