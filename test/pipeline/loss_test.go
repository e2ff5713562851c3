package pipeline

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/agent"
	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
	"sluice/test/process"
)

// judge checks that every acknowledged frame has its message on the typed topic,
// that no message is there that was not sent, and that the archive holds each of
// them once. The installation must be running; it is stopped.
func judge(t *testing.T, u *up, reporters ...*reporter) {
	t.Helper()
	topic := message.Topic("system_metrics")
	sent, want := map[string]bool{}, map[string]bool{}
	for _, r := range reporters {
		all, acked := r.ledger()
		for _, id := range all {
			sent[id] = true
		}
		for _, id := range acked {
			want[id] = true
		}
	}
	seen := map[string]bool{}
	read := 0
	kafkatest.Wait(t, u.kafka(), func(rs []*kafka.Record) bool {
		for _, r := range rs[read:] {
			var m message.Message
			kafka.Message(r, &m)
			seen[m.ID] = true
		}
		read = len(rs)
		return containsAll(seen, want)
	}, topic)
	if !containsAll(sent, seen) {
		t.Errorf("the topic holds messages that were never sent: %d of %d sent", len(seen), len(sent))
	}
	if letters := kafkatest.Read(t, u.kafka(), message.TopicDeadLetters); len(letters) > 0 {
		t.Errorf("%d dead letters, want none: %s", len(letters), kafka.DeadLetter(letters[0]).Reason)
	}
	u.drained("archive", "system_metrics")
	u.stop()
	kept := u.archived("system_metrics")
	for id := range want {
		if kept[id] != 1 {
			t.Fatalf("the archive holds %s %d times, want once", id, kept[id])
		}
	}
	t.Logf("%d frames sent, %d acknowledged, %d IDs in %d records on the topic, each once in the archive", len(sent), len(want), len(seen), read)
}

func containsAll(have, want map[string]bool) bool {
	if len(have) < len(want) {
		return false
	}
	for id := range want {
		if !have[id] {
			return false
		}
	}
	return true
}

// TestKillUnderLoad proves that no acknowledged frame is lost when the whole
// process is killed under load, again and again.
func TestKillUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	u := newUp(t, "", "--agent=false")
	u.start()
	var reporters []*reporter
	for _, name := range []string{"n1", "n2", "n3", "n4"} {
		reporters = append(reporters, newReporter(t, u.gateway, name, u.addAgent(name), nil, crand.Reader))
	}
	f := runFleet(t, reporters...)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for _, r := range reporters {
		load.Go(func() {
			for ctx.Err() == nil && r.send(ctx) == nil {
			}
		})
	}
	total := func() (n uint64) {
		for _, r := range reporters {
			n += r.ackedSeq()
		}
		return n
	}
	for range 3 {
		before := total()
		some := 2000 + random.Uint64N(4000)
		process.Wait(t, "acknowledgements", func() bool { return total() > before+some })
		u.kill()
		u.start()
	}
	stop()
	load.Wait()
	f.close(t)
	judge(t, u, reporters...)
}

// TestLostAcks proves that an agent whose acknowledgements are lost, 100 times,
// leaves each message once in the archive although it sends frames again.
func TestLostAcks(t *testing.T) {
	u := newUp(t, "", "--agent=false")
	u.start()
	p := newProxy(t, u.gateway)
	r := newReporter(t, p.addr(), "n1", u.addAgent("n1"), nil, eager{})
	f := runFleet(t, r)
	stop := r.sendSteadily()
	process.Wait(t, "the first acknowledgement", func() bool { return r.ackedSeq() > 0 })
	const cuts = 100
	for range cuts {
		// The agent is connected and welcome: what it does not hear are acks.
		lost := p.lost.Load()
		p.deafen()
		process.Wait(t, "an acknowledgement to get lost", func() bool { return p.lost.Load() > lost })
		p.cut()
		mark := r.ackedSeq()
		process.Wait(t, "the agent to be back", func() bool { return r.ackedSeq() > mark })
	}
	stop()
	f.close(t)

	ingest := kafkatest.Read(t, u.kafka(), message.TopicIngest)
	frames, again := map[string]bool{}, 0
	for _, rec := range ingest {
		var fr message.Frame
		kafka.Frame(rec, &fr)
		if fr.Protocol != "websocket" {
			continue
		}
		if frames[fr.ID] {
			again++
		}
		frames[fr.ID] = true
	}
	if again < cuts/2 {
		t.Errorf("only %d frames came again in %d cuts: the test does not test what it says", again, cuts)
	}
	t.Logf("%d frames came again", again)
	judge(t, u, r)
}

// eager is chance without any: it makes an agent reconnect at once.
type eager struct{}

func (eager) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// proxy passes bytes on between agents and a gateway. Deafened, it keeps what
// the gateway answers.
type proxy struct {
	ln   net.Listener
	to   string
	deaf atomic.Bool
	lost atomic.Int64 // bytes that the gateway answered and no agent got

	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, to: to}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			all.Go(func() { p.pass(out, in, func() bool { return true }) })
			all.Go(func() { p.pass(in, out, func() bool { return !p.deaf.Load() }) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.cut()
		all.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

// pass copies from one side to the other until either ends, but for what is not
// to be heard.
func (p *proxy) pass(to, from net.Conn, heard func() bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		switch {
		case n > 0 && !heard():
			p.lost.Add(int64(n))
		case n > 0:
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) deafen() { p.deaf.Store(true) }

// cut breaks every connection and lets new ones be heard.
func (p *proxy) cut() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	p.deaf.Store(false)
}

// TestOversizedFrame proves that a frame too large for the gateway, in the middle
// of a full resend buffer, costs itself and nothing else.
func TestOversizedFrame(t *testing.T) {
	u := newUp(t, "", "--agent=false")
	u.start()
	token := u.addAgent("n1")
	u.kill()

	// The gateway is away while the buffer fills, and comes back with a lower
	// limit than the one the agent goes by.
	const n, large = 400, 200
	r := newReporter(t, u.gateway, "n1", token, func(c *agent.Config) { c.Buffer = n }, crand.Reader)
	f := runFleet(t, r)
	for i := 1; i <= n; i++ {
		if i != large {
			if err := r.send(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		r.sent++
		err := r.client.Send(t.Context(), agent.Message{Type: "system_metrics", Kind: "disk", Body: map[string]any{
			"mount": strings.Repeat("x", 100<<10), "total": 1, "used": 1, "free": 0, "usage": 100.0,
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	if err := r.send(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the buffer is full: got %v, want Send to wait", err)
	}
	cancel()
	u.args = append(u.args, "--config", smallFrames(t))
	u.start()
	process.Wait(t, "every frame to be decided", func() bool { return r.ackedSeq() == n })
	f.close(t)
	if len(r.refused) != 1 || r.refused[large] != 1 {
		t.Errorf("refused %v, want frame %d once", r.refused, large)
	}
	if _, acked := r.ledger(); len(acked) != n-1 {
		t.Errorf("%d frames taken, want %d", len(acked), n-1)
	}
	judge(t, u, r)
}
