package pipeline

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/agent"
	"sluice/config"
	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/gateway/websocket"
)

// TestRollingGateways replaces gateways one after the other while agents send,
// some all the time and some next to nothing: the new one is there before the
// old one is told to stop. Every frame comes exactly once and in order, and an
// agent sees nothing of it but a new connection.
func TestRollingGateways(t *testing.T) {
	const agents, rolls = 20, 3
	var addr atomic.Pointer[string]
	start := func() *gatewaytest.Gateway {
		g := gatewaytest.Start(t, map[string]gateway.Protocol{"websocket": websocket.Protocol()}, nil)
		for i := range agents {
			g.Agents.Tokens[fmt.Sprint("token-", i)] = fmt.Sprint("agent-", i)
		}
		a := g.Addr()
		addr.Store(&a)
		return g
	}
	gateways := []*gatewaytest.Gateway{start()}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var senders, runs sync.WaitGroup
	clients := make([]*agent.Client, agents)
	sent := make([]uint64, agents)
	var trouble atomic.Int64 // states that are neither connected nor the way there
	rolling, rolled := context.WithCancel(t.Context())
	defer rolled()
	for i := range agents {
		c, err := agent.New(agent.Config{URL: "ws://gateways:1", Token: config.Secret(fmt.Sprint("token-", i))}, agent.Options{
			// What the name of the gateways resolves to.
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, *addr.Load())
			},
			OnState: func(s agent.State) {
				if s.Status == agent.Rejected || s.Status == agent.Waiting && s.Retry > time.Second {
					trouble.Add(1)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		clients[i] = c
		runs.Go(func() {
			if err := c.Run(ctx); err != nil {
				t.Errorf("agent %d: %v", i, err)
			}
		})
		pause := 2 * time.Millisecond
		if i%4 == 0 {
			pause = 700 * time.Millisecond
		}
		senders.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for {
				if err := c.Send(t.Context(), agent.Message{Type: "system_metrics", Kind: "load", Body: map[string]any{"load1": 1}}); err != nil {
					t.Errorf("agent %d: %v", i, err)
					return
				}
				sent[i]++
				select {
				case <-tick.C:
				case <-rolling.Done():
					return
				}
			}
		})
	}
	for range rolls {
		old := gateways[len(gateways)-1]
		gatewaytest.Wait(t, "all agents to be there", func() bool { return old.Metric(t, "sluice_agents_connected") == agents })
		before := len(old.Producer.Frames("websocket"))
		gatewaytest.Wait(t, "some frames", func() bool { return len(old.Producer.Frames("websocket")) > before+1000 })
		gateways = append(gateways, start())
		if err := old.Stop(t); err != nil {
			t.Fatal(err)
		}
	}
	rolled()
	senders.Wait()
	flushed, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, c := range clients {
		if err := c.Flush(flushed); err != nil {
			t.Fatalf("agent %d with %d frames pending: %v", i, c.Pending(), err)
		}
	}
	stop()
	runs.Wait()

	next := make(map[string]uint64)
	for _, g := range gateways {
		for _, f := range g.Producer.Frames("websocket") {
			var i int
			if _, err := fmt.Sscanf(f.Agent, "agent-%d", &i); err != nil {
				t.Fatal(err)
			}
			next[f.Agent]++
			if want := fmt.Sprintf("%s/%s/%d", f.Agent, clients[i].Session(), next[f.Agent]); f.ID != want {
				t.Fatalf("got frame %s, want %s: lost, twice or out of order", f.ID, want)
			}
		}
	}
	for i, want := range sent {
		if got := next[fmt.Sprint("agent-", i)]; got != want {
			t.Errorf("agent %d: Kafka has %d frames of %d", i, got, want)
		}
	}
	var rejected, ended float64
	for _, g := range gateways {
		rejected += g.Metric(t, "sluice_agent_rejected_total")
		ended += g.Metric(t, "sluice_agent_rejected_total", "reason=ended_draining")
	}
	if rejected != agents*rolls || ended != agents*rolls {
		t.Errorf("got %v refusals, of which %v are ends of connections: want %d and as many", rejected, ended, agents*rolls)
	}
	if n := trouble.Load(); n > 0 {
		t.Errorf("agents waited for more than a second, or were rejected, %d times", n)
	}
}
