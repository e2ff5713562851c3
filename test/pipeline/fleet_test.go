package pipeline

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/agent"
	"sluice/config"
)

// reporter is an agent with a ledger: what it sent, and what the gateway
// acknowledged or refused of it.
type reporter struct {
	t      *testing.T
	client *agent.Client
	name   string

	mu      sync.Mutex
	sent    uint64
	acked   uint64
	refused map[uint64]int
}

// newReporter returns an agent that reports to addr. Run it.
func newReporter(t *testing.T, addr, name, token string, tune func(*agent.Config), random io.Reader) *reporter {
	t.Helper()
	r := &reporter{t: t, name: name, refused: map[uint64]int{}}
	c := agent.DefaultConfig()
	c.URL, c.Name, c.Token = "ws://"+addr, name, config.Secret(token)
	c.Linger = time.Minute
	if tune != nil {
		tune(&c)
	}
	client, err := agent.New(c, agent.Options{
		Logger: quiet,
		Rand:   random,
		OnAck: func(seq uint64) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if seq < r.acked {
				t.Errorf("%s: acknowledged %d after %d", name, seq, r.acked)
			}
			r.acked = seq
		},
		OnRefused: func(f agent.Refused) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.refused[f.Seq]++
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.client = client
	return r
}

// send reports one load with a number of its own.
func (r *reporter) send(ctx context.Context) error {
	r.mu.Lock()
	r.sent++
	n := r.sent
	r.mu.Unlock()
	err := r.client.Send(ctx, agent.Message{Type: "system_metrics", Kind: "load", Body: map[string]any{"load1": float64(n), "load5": 1.5, "load15": 0.5}})
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sent--
	}
	return err
}

// sendSteadily sends a thousand loads a second until stop is called, which waits
// for the last.
func (r *reporter) sendSteadily() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil && r.send(ctx) == nil {
			<-tick.C
		}
	})
	return func() {
		cancel()
		load.Wait()
	}
}

// ledger returns the IDs of the messages that were sent, and of those that must
// be there.
func (r *reporter) ledger() (sent, acked []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for seq := uint64(1); seq <= r.sent; seq++ {
		id := fmt.Sprintf("%s/%s/%d#0", r.name, r.client.Session(), seq)
		sent = append(sent, id)
		if seq <= r.acked && r.refused[seq] == 0 {
			acked = append(acked, id)
		}
	}
	return sent, acked
}

func (r *reporter) ackedSeq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

// fleet runs reporters until it is closed.
type fleet struct {
	reporters []*reporter
	cancel    context.CancelFunc
	running   errgroup.Group
}

func runFleet(t *testing.T, reporters ...*reporter) *fleet {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fleet{reporters: reporters, cancel: cancel}
	for _, r := range reporters {
		f.running.Go(func() error { return r.client.Run(ctx) })
	}
	t.Cleanup(cancel)
	return f
}

// close flushes what is unacknowledged and ends the agents.
func (f *fleet) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, r := range f.reporters {
		if err := r.client.Flush(ctx); err != nil {
			t.Errorf("%s: flush: %v", r.name, err)
		}
	}
	f.cancel()
	if err := f.running.Wait(); err != nil {
		t.Errorf("agents: %v", err)
	}
}
