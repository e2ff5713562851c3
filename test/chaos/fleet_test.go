package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/agent"
	"sluice/config"
	"sluice/test/chaos/judge"
)

// fleet is agents that report over websockets, half of them in each encoding;
// the first also posts.
type fleet struct {
	t      *testing.T
	in     *installation
	ledger *judge.Ledger
	agents []*reporter
	seed   uint64

	cancel  context.CancelFunc
	running errgroup.Group
	// connections counts how often an agent was welcomed, rejected how often one
	// was not let in, or a request was answered with anything but 200.
	connections, rejected atomic.Int64
}

// reporter is one agent.
type reporter struct {
	fleet  *fleet
	name   string
	token  string
	client *agent.Client
	random *rand.Rand
	seq    uint64 // of the stream; belongs to its sender
	posted uint64
	acked  uint64 // up to which frames of the stream are; belongs to OnAck
}

// newFleet makes agents and connects them.
func newFleet(t *testing.T, in *installation, random *rand.Rand) *fleet {
	t.Helper()
	f := &fleet{t: t, in: in, ledger: judge.NewLedger(), seed: random.Uint64()}
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	for i := range agents {
		r := &reporter{fleet: f, name: agentName(i), token: in.tokens[i], random: rand.New(rand.NewPCG(f.seed, uint64(i)))}
		r.connect([]string{agent.JSON, agent.Msgpack}[i%2])
		f.agents = append(f.agents, r)
		f.running.Go(func() error { return r.client.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		_ = f.running.Wait() // who asks for the error has asked before
	})
	return f
}

func (r *reporter) connect(encoding string) {
	f := r.fleet
	c := agent.DefaultConfig()
	c.URL, c.Name, c.Token, c.Encoding = "ws://"+f.in.proxy.addr(), r.name, config.Secret(r.token), encoding
	c.Linger = time.Second
	client, err := agent.New(c, agent.Options{
		OnAck: func(seq uint64) {
			now := time.Now()
			for r.acked < seq {
				r.acked++
				if !f.ledger.Acked(r.frameID(r.acked), now) {
					f.t.Errorf("%s: an acknowledgement of frame %d, which was not sent", r.name, r.acked)
				}
			}
		},
		OnRefused: func(x agent.Refused) {
			f.ledger.Refused(r.frameID(x.Seq))
			f.t.Errorf("%s: frame %d was refused: %s", r.name, x.Seq, x.Code)
		},
		OnState: func(s agent.State) {
			switch s.Status {
			case agent.Connected:
				f.connections.Add(1)
			case agent.Rejected:
				f.rejected.Add(1)
				f.t.Errorf("%s: not let in: %v", r.name, s.Err)
			}
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	r.client = client
}

func (r *reporter) frameID(seq uint64) string {
	return fmt.Sprintf("%s/%s/%d", r.name, r.client.Session(), seq)
}

// send sends the next frame of the stream.
func (r *reporter) send(ctx context.Context) error {
	r.seq++
	now := time.Now()
	fs := facts(r.random, r.seq, now)
	frame := &judge.Frame{ID: r.frameID(r.seq), Agent: r.name, Stream: r.name + "/" + r.client.Session(), Seq: r.seq, Sent: now}
	ms := make([]agent.Message, len(fs))
	for i := range fs {
		ms[i] = fs[i].Message
		frame.Elements = append(frame.Elements, fs[i].element())
	}
	r.fleet.ledger.Sending(frame)
	err := r.client.SendBatch(ctx, ms)
	if err != nil {
		r.fleet.ledger.Untaken(frame.ID)
		r.seq--
	}
	return err
}

// post sends a frame as a request, again and again until it is taken.
func (r *reporter) post() {
	ctx := r.fleet.t.Context()
	r.posted++
	now := time.Now()
	key := fmt.Sprintf("post-%d", r.posted)
	frame := &judge.Frame{ID: r.name + "/" + key, Agent: r.name, Stream: r.name + "/rest", Seq: r.posted, Sent: now}
	envelopes := []map[string]any{}
	for _, f := range facts(r.random, r.posted, now) {
		frame.Elements = append(frame.Elements, f.element())
		envelopes = append(envelopes, map[string]any{
			"id": r.name, "type": f.Type, "time": f.Time.UnixMilli(), "data": map[string]any{"type": f.Kind, "body": f.Body},
		})
	}
	body, err := json.Marshal(envelopes)
	if err != nil {
		r.fleet.t.Error(err)
		return
	}
	r.fleet.ledger.Sending(frame)
	for {
		status, answer, err := r.request(ctx, key, body)
		switch {
		case err == nil && status == http.StatusOK:
			r.fleet.ledger.Acked(frame.ID, time.Now())
			return
		case err == nil:
			r.fleet.rejected.Add(1)
			if status != http.StatusServiceUnavailable {
				r.fleet.t.Errorf("%s: a request was answered with %d %s", r.name, status, answer)
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

func (r *reporter) request(ctx context.Context, key string, body []byte) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.fleet.in.proxy.addr()+"/data", bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// load is frames being sent.
type load struct {
	cancel context.CancelFunc
	all    sync.WaitGroup
	begin  time.Time
}

// send sends frames at a steady rate a second, all agents together, until there
// were most, or until stop if that is 0. One in a hundred is a request, sent by
// the first agent beside its stream.
func (f *fleet) send(rate float64, most int) *load {
	ctx, cancel := context.WithCancel(f.t.Context())
	l := &load{cancel: cancel, begin: time.Now()}
	posts := most / 100
	l.all.Go(func() {
		pace(ctx, rate/100, posts, most > 0, func() bool { f.agents[0].post(); return true })
	})
	for i, r := range f.agents {
		n := (most - posts) / len(f.agents)
		if i < (most-posts)%len(f.agents) {
			n++
		}
		l.all.Go(func() {
			pace(ctx, rate*0.99/float64(len(f.agents)), n, most > 0, func() bool {
				err := r.send(ctx)
				if err != nil && !errors.Is(err, context.Canceled) {
					f.t.Errorf("%s: send: %v", r.name, err)
				}
				return err == nil
			})
		})
	}
	f.t.Cleanup(l.stop)
	return l
}

// pace calls do rate times a second, making up for calls that took long, until
// it was called n times, if bounded, or do says no, or the context ends.
func pace(ctx context.Context, rate float64, n int, bounded bool, do func() bool) {
	begin := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for done := 0; ; {
		due := int(time.Since(begin).Seconds() * rate)
		for ; done < due; done++ {
			if ctx.Err() != nil || bounded && done >= n || !do() {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stop ends the load.
func (l *load) stop() {
	l.cancel()
	l.all.Wait()
}

// wait waits until all is sent.
func (l *load) wait() { l.all.Wait() }

// close waits for what is unacknowledged and ends the agents.
func (f *fleet) close() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	for _, r := range f.agents {
		if err := r.client.Flush(ctx); err != nil {
			f.t.Errorf("%s: flush: %v", r.name, err)
		}
	}
	f.cancel()
	if err := f.running.Wait(); err != nil {
		f.t.Errorf("agents: %v", err)
	}
}
