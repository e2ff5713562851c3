package chaos

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
	"sluice/sinks"
	"sluice/test/chaos/judge"
	"sluice/test/process"
)

// observer sees outcomes as any live read_committed reader does, and what the
// sink's group commits of them: from when a frame was sent, how long until its
// messages could be read, and until they were surely in the table.
type observer struct {
	t      *testing.T
	in     *installation
	ledger *judge.Ledger
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu       sync.Mutex
	seen     map[string]bool // IDs
	readable []judge.Wait
	written  []judge.Wait
	arrivals []time.Time          // of batches with something new
	reached  map[string]time.Time // by agent, when the newest that was seen was sent
	behind   map[place][]arrival
}

type place struct {
	topic     string
	partition int32
}

// arrival is a message that the sink has not committed yet.
type arrival struct {
	offset int64
	sent   time.Time
}

// observe begins at once, and ends with the test.
func observe(t *testing.T, in *installation, l *judge.Ledger) *observer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o := &observer{t: t, in: in, ledger: l, cancel: cancel, seen: map[string]bool{}, reached: map[string]time.Time{}, behind: map[place][]arrival{}}
	r, err := in.kafka.Range(ctx, time.Time{}, quiet, append(topics(), message.TopicDeadLetters)...)
	if err != nil {
		t.Fatal(err)
	}
	o.all.Go(func() {
		err := in.kafka.Follow(ctx, kafka.FollowOptions{Range: r, Max: 5000}, quiet, func(_ context.Context, rs []*kafka.Record) error {
			o.take(rs)
			return nil
		})
		if err != nil {
			t.Errorf("observer: %v", err)
		}
	})
	if in.table != nil {
		o.all.Go(func() { o.watch(ctx) })
	}
	t.Cleanup(o.stop)
	return o
}

func (o *observer) stop() {
	o.cancel()
	o.all.Wait()
}

func (o *observer) take(rs []*kafka.Record) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	news := false
	var m message.Message
	for _, r := range rs {
		kafka.Message(r, &m)
		frame, _, _ := strings.Cut(m.ID, "#")
		sent, ok := o.ledger.SentAt(frame)
		if !ok {
			continue // the gateway's own, or one for the judge
		}
		if r.Topic != message.TopicDeadLetters {
			at := place{r.Topic, r.Partition}
			o.behind[at] = append(o.behind[at], arrival{r.Offset, sent})
		}
		if o.seen[m.ID] {
			continue
		}
		o.seen[m.ID] = true
		news = true
		if m.Agent = string(r.Key); sent.After(o.reached[m.Agent]) {
			o.reached[m.Agent] = sent
		}
		o.readable = append(o.readable, judge.Wait{Sent: sent, For: now.Sub(sent)})
	}
	if news {
		o.arrivals = append(o.arrivals, now)
	}
}

// watch follows what the sink commits.
func (o *observer) watch(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		at, err := o.in.kafka.Committed(ctx, sinks.Group(sinkName), quiet)
		if err != nil {
			continue // Kafka may be down, which is part of the test
		}
		now := time.Now()
		o.mu.Lock()
		for p, waiting := range o.behind {
			i := 0
			for ; i < len(waiting) && waiting[i].offset < at[p.topic][p.partition]; i++ {
				o.written = append(o.written, judge.Wait{Sent: waiting[i].sent, For: now.Sub(waiting[i].sent)})
			}
			o.behind[p] = waiting[i:]
		}
		o.mu.Unlock()
	}
}

// count returns how many different messages and dead letters were seen.
func (o *observer) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.seen)
}

// settle waits until so many messages more were seen.
func (o *observer) settle(more int) {
	o.t.Helper()
	want := o.count() + more
	process.Wait(o.t, "messages to come", func() bool { return o.count() >= want })
}

// recover waits until of each agent something was seen that it sent from now on,
// and returns how long that took.
func (o *observer) recover() time.Duration {
	o.t.Helper()
	now := time.Now()
	process.Wait(o.t, "every agent's messages to come", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		for i := range agents {
			if !o.reached[agentName(i)].After(now) {
				return false
			}
		}
		return true
	})
	return time.Since(now)
}

// gap returns the longest time between two times in which nothing new came.
func (o *observer) gap(from, to time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	longest, last := time.Duration(0), from
	for _, at := range o.arrivals {
		if at.Before(from) {
			continue
		}
		if at.After(to) {
			break
		}
		longest, last = max(longest, at.Sub(last)), at
	}
	return max(longest, to.Sub(last))
}

// report says how long things took in peace, from when all was warm, and then
// while there were faults, and fails the test if the worst of it was beyond what anyone could
// call alive.
func (o *observer) report(warm, faults, calm time.Time) {
	o.t.Helper()
	const alive = time.Minute
	o.mu.Lock()
	defer o.mu.Unlock()
	say := func(what string, ws []judge.Wait) {
		o.t.Helper()
		if len(ws) == 0 {
			return
		}
		// What was sent just before the first fault may have met it on its way.
		before := judge.Summarize(judge.Between(ws, warm, faults.Add(-2*time.Second)))
		during := judge.Summarize(judge.Between(ws, faults, calm))
		o.t.Logf("%s: in peace %s", what, before)
		o.t.Logf("%s: with faults %s", what, during)
		o.t.Logf("%s: worst added latency %s, of what was sent at %s", what, (during.Worst - before.Median).Round(time.Millisecond), during.At.Format("15:04:05.000"))
		if during.Worst > alive {
			o.t.Errorf("%s took %s at worst, want less than %s", what, during.Worst, alive)
		}
	}
	say("sent to acknowledged", o.ledger.Waits())
	say("sent to readable by type", o.readable)
	say("sent to committed by the sink", o.written)
}
