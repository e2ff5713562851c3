package sinks

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
)

// produce writes n messages of the frames a<agent>/s/<from>… to system_metrics,
// spread over the partitions by agent.
func produce(t *testing.T, c kafka.Config, from, n int, at time.Time) {
	t.Helper()
	p, err := c.NewProducer(kafka.ProducerOptions{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	rs := make([]*kafka.Record, n)
	for i := range rs {
		agent := "a" + strconv.Itoa(i%16)
		f := message.Frame{ID: agent + "/s/" + strconv.Itoa(from+i), Agent: agent, ReceivedAt: at, Src: message.Source{Offset: int64(from + i)}}
		rs[i] = kafkatest.Typed(t, "system_metrics", &f, []byte("v"))
	}
	if err := p.Produce(t.Context(), rs...); err != nil {
		t.Fatal(err)
	}
}

// store is a sink that keeps IDs and how often each came.
type store struct {
	mu   sync.Mutex
	seen map[string]int
	// fail says what is wrong with a batch; what it does not reject is kept.
	fail func(batch []message.Message) error
}

func (s *store) write(_ context.Context, batch []message.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.fail != nil {
		err = s.fail(batch)
	}
	out := map[int]bool{}
	if err != nil {
		rejected, ok := Rejections(err, len(batch))
		if !ok {
			return err
		}
		for _, r := range rejected {
			out[r.Index] = true
		}
	}
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	for i := range batch {
		if !out[i] {
			s.seen[batch[i].ID]++
		}
	}
	return err
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// start runs a rig against c until the test or the function it returns ends it.
func start(t *testing.T, c kafka.Config, traits Traits, s *store) (*rig, func()) {
	t.Helper()
	p, err := c.NewProducer(kafka.ProducerOptions{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	g := newRig(t, traits, func(o *RunnerOptions) { o.Kafka, o.DeadLetters = c, p })
	g.sink.write = s.write
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got %v from Run", err)
		}
		p.Close()
	})
	t.Cleanup(stop)
	return g, stop
}

func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestShared follows a sink through its life: what stands there, an idle time,
// rejections, a failure that outlasts the process, and the restart.
func TestShared(t *testing.T) {
	c := kafkatest.New(t, "system_metrics")
	now := time.Now().Truncate(time.Millisecond)
	produce(t, c, 0, 1000, now)
	s := &store{}
	s.fail = func(batch []message.Message) error {
		var errs []error
		for i := range batch {
			if batch[i].ID == "a0/s/0#0" || batch[i].ID == "a7/s/7#0" {
				errs = append(errs, &Rejected{Index: i, Code: message.CodeTooLarge, Reason: "over 400 KB"})
			}
		}
		return errors.Join(errs...)
	}
	g, stop := start(t, c, Traits{Batch: 64}, s)
	wait(t, "998 messages", func() bool { return s.count() == 998 })
	dead := kafkatest.Wait(t, c, func(rs []*kafka.Record) bool { return len(rs) == 2 }, message.TopicDeadLetters)
	for _, r := range dead {
		d := kafka.DeadLetter(r)
		if d.Stage != "sink.store" || d.Code != message.CodeTooLarge || (d.ID != "a0/s/0#0" && d.ID != "a7/s/7#0") ||
			string(d.Value) != "v" || !d.ReceivedAt.Equal(now) || d.Topic != "sluice.system_metrics" {
			t.Errorf("got dead letter %+v", d)
		}
	}
	wait(t, "readiness while idle", func() bool { return g.Ready(t.Context()) == nil })
	wait(t, "no lag", func() bool { return g.value(t, "sluice_sink_lag_records") == 0 })
	if got := g.value(t, "sluice_sink_lag_seconds", "sink", "store"); got != 0 {
		t.Errorf("got a lag of %v s, want 0", got)
	}

	// Nothing is committed for what fails.
	s.mu.Lock()
	s.fail = func([]message.Message) error { return errDown }
	s.mu.Unlock()
	produce(t, c, 1000, 100, now)
	wait(t, "the failure to show", func() bool { return errors.Is(g.Ready(t.Context()), errDown) })
	stop()
	if got := g.value(t, "sluice_sink_lag_records"); !math.IsNaN(got) {
		t.Errorf("got a lag of %v after the end, want none", got)
	}

	again := &store{}
	_, stop = start(t, c, Traits{Batch: 64}, again)
	wait(t, "the rest", func() bool { return again.count() >= 100 })
	stop()
	if got := again.count(); got != 100 {
		t.Errorf("got %d messages after the restart, want the 100 that were not committed", got)
	}
	for id, n := range again.seen {
		if n != 1 {
			t.Errorf("message %s came %d times", id, n)
		}
	}
}

// TestRebalance: members come and go while the sink is slow. Each message is
// written, and the context of a Write whose partition goes has ended.
func TestRebalance(t *testing.T) {
	c := kafkatest.New(t, "system_metrics")
	s := &store{}
	ended := 0
	// From the second hundred on, nothing is written until a context has ended: how
	// long a rebalance takes must not decide whether a Write is under way then.
	slow := func(ctx context.Context, b []message.Message) error {
		for done := false; !done; {
			select {
			case <-ctx.Done():
				s.mu.Lock()
				ended++
				s.mu.Unlock()
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
			early := s.count() <= 100
			s.mu.Lock()
			done = early || ended > 0
			s.mu.Unlock()
		}
		return s.write(ctx, b)
	}
	produce(t, c, 0, 3000, time.Now())
	member := func() func() {
		p, err := c.NewProducer(kafka.ProducerOptions{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		g := newRig(t, Traits{Batch: 50}, func(o *RunnerOptions) { o.Kafka, o.DeadLetters = c, p })
		g.sink.write = slow
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		wait(t, "a member to be ready", func() bool { return g.Ready(t.Context()) == nil })
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("got %v from Run", err)
			}
			p.Close()
		}
	}
	stopA := member()
	wait(t, "the first batches", func() bool { return s.count() > 100 })
	stopB := member()
	stopA()
	stopC := member()
	wait(t, "all messages", func() bool { return s.count() == 3000 })
	stopB()
	stopC()
	if ended == 0 {
		t.Error("no Write saw its context end")
	}
}

// TestFailingMemberLeaves: what one member cannot write another one does.
func TestFailingMemberLeaves(t *testing.T) {
	c := kafkatest.New(t, "system_metrics")
	produce(t, c, 0, 300, time.Now())
	bad := &store{fail: func([]message.Message) error { return errDown }}
	g, stop := start(t, c, Traits{}, bad)
	wait(t, "the failure", func() bool { return errors.Is(g.Ready(t.Context()), errDown) })
	good := &store{}
	_, _ = start(t, c, Traits{}, good)
	stop()
	wait(t, "the other member", func() bool { return good.count() == 300 })
}

// TestBroadcast: the window comes first, then readiness, then the history; two
// instances get everything each; what comes later comes to both.
func TestBroadcast(t *testing.T) {
	c := kafkatest.New(t, "system_metrics")
	now := time.Now()
	produce(t, c, 0, 160, now.Add(-100*time.Hour))    // older than the history
	produce(t, c, 1000, 1600, now.Add(-5*time.Hour))  // history
	produce(t, c, 5000, 320, now.Add(-5*time.Minute)) // window
	traits := Traits{Delivery: Broadcast, History: 24 * time.Hour, Window: 10 * time.Minute, Batch: 50}
	stores := []*store{{}, {}}
	var rigs []*rig
	for _, s := range stores {
		// The first 320 messages are those of the window.
		n := 0
		s.fail = func(batch []message.Message) error {
			for i := range batch {
				if n++; (n <= 320) != (batch[i].Src.Offset >= 5000) {
					t.Errorf("message %d is %s", n, batch[i].ID)
				}
			}
			return nil
		}
		g, _ := start(t, c, traits, s)
		rigs = append(rigs, g)
	}
	for i, s := range stores {
		wait(t, "the history", func() bool { return rigs[i].Caught() })
		if got := s.count(); got != 1920 {
			t.Errorf("got %d messages, want the 1920 of the history", got)
		}
		if err := rigs[i].Ready(t.Context()); err != nil {
			t.Errorf("got %v, want ready", err)
		}
		for id, n := range s.seen {
			if n != 1 {
				t.Errorf("message %s came %d times: the history does not end where the window begins", id, n)
			}
		}
	}
	for _, s := range stores {
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
	}
	produce(t, c, 9000, 10, now)
	for _, s := range stores {
		wait(t, "what comes later", func() bool { return s.count() == 1930 })
	}
}

// TestBroadcastOfNothing: a sink is ready although no message ever came.
func TestBroadcastOfNothing(t *testing.T) {
	c := kafkatest.New(t, "system_metrics")
	g, _ := start(t, c, Traits{Delivery: Broadcast, History: time.Hour, Window: time.Minute}, &store{})
	wait(t, "readiness", func() bool { return g.Ready(t.Context()) == nil && g.Caught() })
}
