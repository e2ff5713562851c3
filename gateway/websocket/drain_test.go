package websocket_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/gateway/websocket"
)

// drained is what one agent saw of a gateway that stops.
type drained struct {
	acked uint64
	at    time.Duration // of the close
	err   error
}

// TestDrainSpreads stops a gateway with hundreds of connections, half of which
// send without a pause and half of which say nothing. Each is served until its
// turn, gets its acks, and then 1012; the ends are spread; what Kafka has is what
// was acknowledged, so that nothing comes twice. Nothing else is refused.
func TestDrainSpreads(t *testing.T) {
	const n = 300
	g := start(t, func(cfg *gateway.Config, _ *websocket.Settings) {
		cfg.Limits.PerIP, cfg.Limits.PerAgent = 0, n
	})
	for i := range n {
		g.Agents.Tokens[fmt.Sprint("token-", i)] = fmt.Sprint("agent-", i)
	}
	conns := make([]*client, n)
	for i := range conns {
		conns[i] = open(t, g, fmt.Sprint("token-", i), "s", 1)
	}
	results := make([]drained, n)
	var began time.Time
	var all sync.WaitGroup
	for i, c := range conns {
		end := make(chan struct{})
		all.Go(func() {
			defer close(end)
			results[i] = c.drain(func() time.Duration { return time.Since(began) })
		})
		if i%2 == 0 {
			all.Go(func() {
				for tick := time.NewTicker(10 * time.Millisecond); ; {
					if c.WriteMessage(gorilla.TextMessage, []byte("x")) != nil {
						return
					}
					select {
					case <-tick.C:
					case <-end:
						return
					}
				}
			})
		}
	}
	gatewaytest.Wait(t, "some frames of each", func() bool { return len(g.Producer.Frames("websocket")) > 5*n })
	began = time.Now()
	if err := g.Stop(t); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	all.Wait()

	stored := make(map[string]uint64)
	for _, f := range g.Producer.Frames("websocket") {
		stored[f.Agent]++
	}
	var first, last time.Duration = time.Hour, 0
	quarters := [4]int{}
	for i, r := range results {
		if !gorilla.IsCloseError(r.err, gorilla.CloseServiceRestart) {
			t.Errorf("connection %d: got %v, want close 1012", i, r.err)
		}
		if got := stored[fmt.Sprint("agent-", i)]; got != r.acked {
			t.Errorf("connection %d: got acks up to %d, and Kafka has %d", i, r.acked, got)
		}
		first, last = min(first, r.at), max(last, r.at)
	}
	for _, r := range results {
		quarters[min(int(4*(r.at-first)/max(last-first, 1)), 3)]++
	}
	t.Logf("%d connections ended within %s to %s, by quarters %v; stopped after %s", n, first, last, quarters, took)
	for q, got := range quarters {
		if got == 0 {
			t.Errorf("no connection ended in quarter %d of the time: got %v", q+1, quarters)
		}
	}
	if last-first < time.Second {
		t.Errorf("the ends came within %s, want them spread", last-first)
	}
	if all, ended := g.Metric(t, "sluice_agent_rejected_total"), g.Metric(t, "sluice_agent_rejected_total", "reason=ended_draining"); all != n || ended != n {
		t.Errorf("got %v refusals, of which %v are ends: want %d and as many", all, ended, n)
	}
}

// drain reads until the gateway closes.
func (c *client) drain(since func() time.Duration) (d drained) {
	_ = c.SetReadDeadline(time.Now().Add(gatewaytest.Patience))
	for {
		var m said
		if err := c.ReadJSON(&m); err != nil {
			d.err, d.at = err, since()
			if errors.As(err, new(*gorilla.CloseError)) {
				_ = c.Close()
			}
			return d
		}
		if m.Ack != nil {
			d.acked = m.Ack.Seq
		}
	}
}
