package agent_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sluice/agent"
)

// TestRefusedCostsOnlyItself fills the buffer around a frame that a smaller
// limit makes too large, over connections that end without an ack.
func TestRefusedCostsOnlyItself(t *testing.T) {
	const n, large, limit = 50, 25, 1000
	var mu sync.Mutex
	places := map[string]uint64{}
	g := startGateway(t, func(c *fakeConn) {
		c.welcome("a1", limit, 200)
		for i := 0; ; i++ {
			if c.number < 3 && i == 40 {
				return
			}
			seq, b, err := c.read()
			if err != nil {
				return
			}
			if len(b) > limit {
				c.refuse(seq, limit)
				continue
			}
			mu.Lock()
			places[fmt.Sprint(c.envelope(b).Data.Body["index"])] = seq
			mu.Unlock()
			if c.number >= 3 {
				c.ack(seq)
			}
		}
	})
	var refused []agent.Refused
	c, _ := newClient(t, agent.Config{URL: g.url, Buffer: n}, agent.Options{
		OnRefused: func(r agent.Refused) { refused = append(refused, r) },
	})
	for i := 1; i <= n; i++ {
		body := object{"index": i}
		if i == large {
			body["padding"] = strings.Repeat("x", 2*limit)
		}
		if err := c.TrySend(agent.Message{Type: "system_metrics", Kind: "load", Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.TrySend(agent.Message{Type: "system_metrics", Kind: "load", Body: object{}}); !errors.Is(err, agent.ErrFull) {
		t.Fatalf("TrySend to a full buffer: %v", err)
	}
	stop := run(t, c)
	flush(t, c)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(refused) != 1 || refused[0].Seq != large {
		t.Errorf("refused %+v, want frame %d once", refused, large)
	}
	for i := 1; i <= n; i++ {
		if got := places[fmt.Sprint(i)]; i != large && got != uint64(i) {
			t.Errorf("message %d came as frame %d", i, got)
		}
	}
}

// TestRefusedLast settles a refused frame that no ack will ever follow.
func TestRefusedLast(t *testing.T) {
	g := startGateway(t, func(c *fakeConn) {
		c.welcome("a1", 100, 8)
		for {
			seq, _, err := c.read()
			if err != nil {
				return
			}
			c.refuse(seq, 100)
		}
	})
	c, _ := newClient(t, agent.Config{URL: g.url}, agent.Options{})
	for range 3 {
		if err := c.TrySend(agent.Message{Type: "system_metrics", Kind: "load", Body: object{"p": strings.Repeat("x", 100)}}); err != nil {
			t.Fatal(err)
		}
	}
	run(t, c)
	flush(t, c)
}

// countingConn counts the writes that reach the network.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestBurst sends what waits in the buffer in few writes.
func TestBurst(t *testing.T) {
	const n = 1000
	serve := func(c *fakeConn) {
		c.welcome("a1", 256<<10, 1024)
		for {
			seq, _, err := c.read()
			if err != nil {
				return
			}
			if seq == n {
				c.ack(seq)
			}
		}
	}
	check := func(t *testing.T, url string, trust *tls.Config, most int64) {
		var writes atomic.Int64
		c, _ := newClient(t, agent.Config{URL: url}, agent.Options{
			TLS: trust,
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return countingConn{conn, &writes}, err
			},
		})
		for range n {
			if err := c.TrySend(agent.Message{Type: "system_metrics", Kind: "load", Body: object{"load1": 0.5, "load5": 0.4, "load15": 0.3}}); err != nil {
				t.Fatal(err)
			}
		}
		run(t, c)
		flush(t, c)
		if got := writes.Load(); got > most {
			t.Errorf("%d frames took %d writes, want %d at most", n, got, most)
		} else {
			t.Logf("%d frames, %d writes, the handshake among them", n, got)
		}
	}
	t.Run("ws", func(t *testing.T) {
		check(t, startGateway(t, serve).url, nil, 12)
	})
	t.Run("wss", func(t *testing.T) {
		g, trust := startTLS(t, serve)
		check(t, g.url, trust, 24) // a record holds 16 KiB
	})
}

func TestSendWaitsForRoom(t *testing.T) {
	release := make(chan struct{})
	g := startGateway(t, func(c *fakeConn) {
		c.welcome("a1", 256<<10, 8)
		<-release
		c.ackAll(nil)
	})
	c, _ := newClient(t, agent.Config{URL: g.url, Buffer: 2}, agent.Options{})
	m := agent.Message{Type: "system_metrics", Kind: "load", Body: object{}}
	for range 2 {
		if err := c.Send(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Send(ended, m); !errors.Is(err, context.Canceled) {
		t.Errorf("Send with a context that ended: %v", err)
	}
	run(t, c)
	sent := make(chan error, 1)
	go func() { sent <- c.Send(context.Background(), m) }()
	select {
	case err := <-sent:
		t.Errorf("Send did not wait: %v", err)
	default:
	}
	close(release)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	flush(t, c)
	if got := c.Acked(); got != 3 {
		t.Errorf("Acked = %d, want 3", got)
	}
}

// TestStop ends a client with frames still to go: they go, and the gateway sees
// a close that says the agent is done.
func TestStop(t *testing.T) {
	ended := make(chan error, 1)
	var got atomic.Int64
	g := startGateway(t, func(c *fakeConn) {
		c.welcome("a1", 256<<10, 8)
		ended <- c.ackAll(func(uint64, []byte) { got.Add(1) })
	})
	c, _ := newClient(t, agent.Config{URL: g.url, Linger: patience}, agent.Options{})
	m := agent.Message{Type: "system_metrics", Kind: "load", Body: object{}}
	for range 100 {
		if err := c.TrySend(m); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-ended; !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("connection ended with %v, want close 1000", err)
	}
	if got.Load() != 100 || c.Pending() != 0 {
		t.Errorf("%d frames came and %d are pending, want 100 and 0", got.Load(), c.Pending())
	}
	for name, err := range map[string]error{
		"TrySend": c.TrySend(m), "Send": c.Send(context.Background(), m),
	} {
		if !errors.Is(err, agent.ErrClosed) {
			t.Errorf("%s after Run: %v, want ErrClosed", name, err)
		}
	}
	if err := c.Run(context.Background()); err == nil {
		t.Error("a client ran twice")
	}
}

// TestStopWhileGatewayReadsNothing ends a client whose write hangs.
func TestStopWhileGatewayReadsNothing(t *testing.T) {
	hold := make(chan struct{})
	welcomed := make(chan struct{})
	g := startGateway(t, func(c *fakeConn) {
		c.welcome("a1", 1<<20, 1024)
		close(welcomed)
		<-hold
	})
	defer close(hold)
	c, out := newClient(t, agent.Config{URL: g.url, Encoding: agent.JSON, BufferBytes: 64 << 20, Linger: time.Millisecond}, agent.Options{})
	m := agent.Message{Type: "system_metrics", Kind: "load", Body: object{"p": strings.Repeat("x", 200<<10)}}
	for range 200 {
		if err := c.TrySend(m); err != nil {
			t.Fatal(err)
		}
	}
	stop := run(t, c)
	<-welcomed
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if c.Pending() != 200 || !strings.Contains(out.String(), "200 frames are lost") {
		t.Errorf("%d pending, and the log says\n%s", c.Pending(), out)
	}
	if err := c.Flush(context.Background()); !errors.Is(err, agent.ErrClosed) {
		t.Errorf("Flush after Run: %v, want ErrClosed", err)
	}
}

// TestFalseAck shows that an ack of what was never sent loses nothing.
func TestFalseAck(t *testing.T) {
	g := startGateway(t, func(c *fakeConn) {
		c.welcome("a1", 256<<10, 1)
		if c.number == 0 {
			if _, _, err := c.read(); err != nil {
				t.Error(err)
			}
			c.ack(2)
			if _, _, err := c.read(); !websocket.IsCloseError(err, websocket.CloseProtocolError) {
				t.Errorf("connection ended with %v, want close 1002", err)
			}
			return
		}
		if c.nextSeq != 1 {
			t.Errorf("second connection begins at %d, want 1", c.nextSeq)
		}
		c.ackAll(nil)
	})
	c, _ := newClient(t, agent.Config{URL: g.url}, agent.Options{})
	for range 3 {
		if err := c.TrySend(agent.Message{Type: "system_metrics", Kind: "load", Body: object{}}); err != nil {
			t.Fatal(err)
		}
	}
	run(t, c)
	flush(t, c)
}

// TestPing answers the gateway's pings.
func TestPing(t *testing.T) {
	pong := make(chan string, 1)
	g := startGateway(t, func(c *fakeConn) {
		c.welcome("a1", 256<<10, 8)
		c.ws.SetPongHandler(func(s string) error { pong <- s; return nil })
		if err := c.ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)); err != nil {
			t.Error(err)
		}
		c.ackAll(nil)
	})
	c, _ := newClient(t, agent.Config{URL: g.url}, agent.Options{})
	run(t, c)
	select {
	case got := <-pong:
		if want := "are you there"; got != want {
			t.Errorf("pong %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Error("no pong")
	}
}
