package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// generator speaks the websocket protocol of agents at the least cost: what it
// sends was made ready before, masked and all, and it looks at nothing but acks.
type generator struct {
	load   shape
	agents []*sender
	limit  int64 // frames to send; 0 for no end

	offered atomic.Int64 // frames that a sender has taken to send
	acked   atomic.Int64
	acks    atomic.Int64

	closing atomic.Bool
	failed  chan error
	done    sync.WaitGroup
}

// load is the process that sends frames to a gateway. It is ready when all its
// connections are welcome, and begins when it is told.
func load(ctx context.Context, t *task, _ *slog.Logger) (*work, error) {
	g := &generator{load: t.Load, limit: t.Frames, failed: make(chan error, 1)}
	g.agents = make([]*sender, g.load.Conns)
	var eg errgroup.Group
	eg.SetLimit(32)
	for i := range g.agents {
		eg.Go(func() (err error) {
			g.agents[i], err = dial(ctx, t, i)
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		g.close()
		return nil, err
	}
	return &work{
		begin: g.begin, frames: g.acked.Load, acks: g.acks.Load, failed: g.failed,
		end: func() error { g.close(); g.done.Wait(); return nil },
	}, nil
}

func (g *generator) begin() {
	for _, s := range g.agents {
		if g.load.Rate > 0 {
			g.goes(func() error { return g.listen(s) })
		} else {
			g.goes(func() error { return g.flood(s) })
		}
	}
	if g.load.Rate > 0 {
		g.goes(g.pace)
	}
}

func (g *generator) goes(f func() error) {
	g.done.Go(func() {
		if err := f(); err != nil && !g.closing.Load() {
			select {
			case g.failed <- err:
			default:
			}
		}
	})
}

func (g *generator) close() {
	g.closing.Store(true)
	for _, s := range g.agents {
		if s != nil {
			_ = s.conn.Close()
		}
	}
}

// take reports whether a sender may send another burst.
func (g *generator) take() bool {
	n := int64(g.load.Burst)
	return g.limit == 0 || g.offered.Add(n) <= g.limit
}

// flood sends bursts as the window allows, and waits for acks when it does not.
func (g *generator) flood(s *sender) error {
	for g.take() {
		for s.full() {
			if err := g.ack(s); err != nil {
				return err
			}
		}
		if err := s.write(); err != nil {
			return err
		}
	}
	for s.window > 0 && s.acked.Load() < s.sent {
		if err := g.ack(s); err != nil {
			return err
		}
	}
	return nil
}

// listen reads acks.
func (g *generator) listen(s *sender) error {
	for {
		if err := g.ack(s); err != nil {
			return err
		}
	}
}

// ack reads one ack.
func (g *generator) ack(s *sender) error {
	seq, err := s.readAck()
	if err != nil {
		return err
	}
	g.acks.Add(1)
	g.acked.Add(int64(seq - s.acked.Load()))
	s.acked.Store(seq)
	return nil
}

// pace sends bursts at the rate, connection after connection. A connection whose
// window is full is passed over, so that the rate is kept as long as any has room.
func (g *generator) pace() error {
	start, sent, next := time.Now(), int64(0), 0
	for !g.closing.Load() {
		due := int64(time.Since(start).Seconds() * float64(g.load.Rate))
		for tried := 0; sent+int64(g.load.Burst) <= due && tried < len(g.agents); tried++ {
			s := g.agents[next%len(g.agents)]
			next++
			if s.full() {
				continue
			}
			if err := s.write(); err != nil {
				return err
			}
			sent += int64(g.load.Burst)
			tried = 0
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// sender is one connection of an agent.
type sender struct {
	conn   net.Conn
	in     *bufio.Reader
	burst  uint64 // frames in a write
	window uint64 // 0 where the other side sends no acks
	sent   uint64
	acked  atomic.Uint64 // written by the one that reads

	bursts [][]byte
	next   int
}

// ring is at least how many frames a connection sends before it repeats itself.
const ring = 96

// dial connects an agent, and returns when it is welcome.
func dial(ctx context.Context, t *task, agent int) (*sender, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect agent: %w", err)
	}
	s := &sender{conn: conn, in: bufio.NewReaderSize(conn, 512), burst: uint64(t.Load.Burst)}
	if err := s.login(t.Addr, agent); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("log in %s: %w", agentName(agent), err)
	}
	if s.window > 0 {
		s.window = min(s.window, uint64(t.Load.Window))
		if uint64(t.Load.Burst) > s.window {
			_ = conn.Close()
			return nil, fmt.Errorf("a burst of %d does not go into the window of %d that the gateway gives", t.Load.Burst, s.window)
		}
	}
	m, random := newMix(agent, t.Format), rand.New(rand.NewPCG(2, uint64(agent)))
	for len(s.bursts)*t.Load.Burst < ring {
		var b []byte
		for range t.Load.Burst {
			b = appendFrame(b, m.next(), random.Uint32())
		}
		s.bursts = append(s.bursts, b)
	}
	return s, nil
}

func (s *sender) login(addr string, agent int) error {
	_, err := fmt.Fprintf(s.conn, "GET /v1/stream HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"Sec-WebSocket-Protocol: sluice.v1.json\r\nAuthorization: Bearer %s\r\n\r\n", addr, token(agent))
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // of an upgrade it is empty
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	hello := appendFrame(nil, fmt.Appendf(nil, `{"hello":{"session":"bench-%d","next":1}}`, time.Now().UnixNano()), 0)
	if _, err := s.conn.Write(hello); err != nil {
		return err
	}
	welcome, err := s.message()
	if err != nil {
		return err
	}
	window, ok := number(welcome, `"window":`)
	if !ok {
		return fmt.Errorf("no welcome but %q", welcome)
	}
	s.window = window
	return nil
}

// full reports whether the next burst must wait for acks.
func (s *sender) full() bool {
	return s.window > 0 && s.sent+s.burst-s.acked.Load() > s.window
}

// write sends the next burst.
func (s *sender) write() error {
	b := s.bursts[s.next]
	s.next = (s.next + 1) % len(s.bursts)
	s.sent += s.burst
	_, err := s.conn.Write(b)
	return err
}

// readAck returns the number that the next ack says.
func (s *sender) readAck() (uint64, error) {
	for {
		b, err := s.message()
		if err != nil {
			return 0, err
		}
		if seq, ok := number(b, `{"ack":{"seq":`); ok {
			return seq, nil
		}
		if len(b) > 0 && b[0] == '{' {
			return 0, fmt.Errorf("the gateway says %q", b)
		}
	}
}

// message returns the next message. Those of a server are not masked; what is
// returned holds until the next call. Control frames come back as if they were
// messages: nothing of theirs looks like one.
func (s *sender) message() ([]byte, error) {
	head, err := s.in.Peek(2)
	if err != nil {
		return nil, err
	}
	skip, size := 2, int(head[1]&0x7f)
	if size == 126 {
		if head, err = s.in.Peek(4); err != nil {
			return nil, err
		}
		skip, size = 4, int(head[2])<<8|int(head[3])
	}
	op := head[0] & 0x0f
	b, err := s.in.Peek(skip + size)
	if err != nil {
		return nil, err
	}
	if op == 8 {
		return nil, fmt.Errorf("the gateway closes: %w: %q", io.EOF, b[skip:])
	}
	_, err = s.in.Discard(skip + size)
	return b[skip:], err
}

// number returns the number that follows key in b.
func number(b []byte, key string) (uint64, bool) {
	for i := 0; i+len(key) < len(b); i++ {
		if string(b[i:i+len(key)]) != key {
			continue
		}
		var n uint64
		for _, c := range b[i+len(key):] {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + uint64(c-'0')
		}
		return n, true
	}
	return 0, false
}

// appendFrame appends a text message of a client: final, masked with key.
func appendFrame(dst, payload []byte, key uint32) []byte {
	const final, text, masked = 0x80, 0x01, 0x80
	dst = append(dst, final|text)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, masked|byte(n))
	case n < 1<<16:
		dst = append(dst, masked|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, masked|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	mask := [4]byte{byte(key >> 24), byte(key >> 16), byte(key >> 8), byte(key)}
	dst = append(dst, mask[:]...)
	for i, c := range payload {
		dst = append(dst, c^mask[i&3])
	}
	return dst
}
