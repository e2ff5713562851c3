package chaos

import (
	"io"
	"net"
	"sync"
	"testing"

	"sluice/test/process"
)

// proxy is a load balancer: it gives each connection to the next gateway that is
// ready, and closes it where none is.
type proxy struct {
	ln net.Listener

	mu       sync.Mutex
	gateways []backend
	next     int
	open     map[net.Conn]struct{}
	closed   bool
}

type backend struct {
	addr    string
	process *process.Process
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, open: map[net.Conn]struct{}{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		p.closed = true
		for c := range p.open {
			_ = c.Close()
		}
		p.mu.Unlock()
		all.Wait()
	})
	return p
}

func (p *proxy) add(addr string, of *process.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gateways = append(p.gateways, backend{addr, of})
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

func (p *proxy) serve(in net.Conn) {
	defer p.hold(in)()
	out := p.dial()
	if out == nil {
		return
	}
	defer p.hold(out)()
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		// A side that has said all may still be told something.
		if c, ok := to.(*net.TCPConn); ok {
			_ = c.CloseWrite()
		}
	}
	both.Go(func() { pass(out, in) })
	both.Go(func() { pass(in, out); _ = in.Close() })
	both.Wait()
}

// dial connects to the next gateway that is ready.
func (p *proxy) dial() net.Conn {
	p.mu.Lock()
	p.next++
	var order []backend
	for i := range p.gateways {
		order = append(order, p.gateways[(p.next+i)%len(p.gateways)])
	}
	p.mu.Unlock()
	for _, g := range order {
		if !g.process.Ready() {
			continue
		}
		if c, err := net.Dial("tcp", g.addr); err == nil {
			return c
		}
	}
	return nil
}

// hold remembers a connection until the function it returns closes it.
func (p *proxy) hold(c net.Conn) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
	}
	p.open[c] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, c)
		_ = c.Close()
	}
}
