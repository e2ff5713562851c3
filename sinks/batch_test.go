package sinks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
)

func ids(batch []message.Message) []string {
	all := make([]string, len(batch))
	for i := range batch {
		all[i] = batch[i].ID
	}
	return all
}

// TestBackOff pins the waits between tries, and what is logged meanwhile.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := opened(t, Traits{})
		var at []time.Time
		g.sink.write = func(context.Context, []message.Message) error {
			if at = append(at, time.Now()); len(at) <= 14 {
				return errDown
			}
			return nil
		}
		go func() {
			time.Sleep(5 * time.Second)
			err := g.Ready(t.Context())
			if err == nil || !strings.Contains(err.Error(), "connection refused") || !errors.Is(err, errDown) {
				t.Errorf("got readiness %v while Write fails, want the sink's error", err)
			}
		}()
		if err := g.Feed(t.Context(), records(values(3)...)); err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for i := 1; i < len(at); i++ {
			got = append(got, at[i].Sub(at[i-1]))
		}
		ms := time.Millisecond
		want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms, 25600 * ms}
		for len(want) < len(got) {
			want = append(want, 30*time.Second)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got waits %v, want %v", got, want)
		}
		for line, want := range map[string]int{
			// Tries at 12.7, 25.5, 51.1, 81.1, 111.1, 141.1, 171.1 s fail, each
			// more than 10 s after the line before; so does no earlier one.
			"level=WARN msg=\"sink failing": 1, "level=WARN msg=\"sink still failing\"": 7,
			"level=INFO msg=\"sink recovered\"": 1, "level=": 9,
		} {
			if got := g.log.count(line); got != want {
				t.Errorf("log has %d lines with %q, want %d:\n%s", got, line, want, g.log)
			}
		}
		if got := g.value(t, "sluice_sink_errors_total", "sink", "store", "reason", "write"); got != 14 {
			t.Errorf("got %v errors counted, want 14", got)
		}
		if got := g.value(t, "sluice_sink_written_total"); got != 3 {
			t.Errorf("got %v messages counted, want 3", got)
		}
		if got := g.value(t, "sluice_sink_write_seconds"); got != 15 {
			t.Errorf("got %v calls counted, want 15", got)
		}
		if got := g.value(t, "sluice_end_to_end_seconds"); got != 3 {
			t.Errorf("got %v latencies, want 3", got)
		}
	})
}

func TestJitterTakesOffAtMostHalf(t *testing.T) {
	o := outage{log: newRig(t, Traits{}).Runner.log, clock: time.Now, jitter: func() float64 { return 0.999999 }}
	if got := o.note("write", errDown); got < 50*time.Millisecond || got > 51*time.Millisecond {
		t.Errorf("got a wait of %s, want about 50ms", got)
	}
}

func TestRejected(t *testing.T) {
	no := func(i int) error { return &Rejected{Index: i, Code: message.CodeTooLarge, Reason: "over 400 KB"} }
	tests := []struct {
		name string
		err  error
		dead []int
		// again says that the whole batch is to come again.
		again bool
	}{
		{"none", nil, nil, false},
		{"alone", no(1), []int{1}, false},
		{"wrapped", fmt.Errorf("put item: %w", no(2)), []int{2}, false},
		{"joined", errors.Join(no(3), no(0)), []int{0, 3}, false},
		{"nested", fmt.Errorf("a: %w", errors.Join(no(0), fmt.Errorf("b: %w", errors.Join(nil, no(2))))), []int{0, 2}, false},
		{"twice the same", errors.Join(no(1), no(1)), []int{1}, false},
		{"all", errors.Join(no(0), no(1), no(2), no(3)), []int{0, 1, 2, 3}, false},
		{"mixed", errors.Join(no(1), errDown), nil, true},
		{"mixed, deep", fmt.Errorf("a: %w", errors.Join(no(1), fmt.Errorf("b: %w", errors.Join(no(2), errDown)))), nil, true},
		{"two wrapped in one", fmt.Errorf("%w: %w", errDown, no(1)), nil, true},
		{"past the end", no(4), nil, true},
		{"negative", no(-1), nil, true},
		{"nil of the type", (*Rejected)(nil), nil, true},
		{"other", errDown, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := opened(t, Traits{})
				var tries [][]string
				g.sink.write = func(_ context.Context, b []message.Message) error {
					tries = append(tries, ids(b))
					// A sink may do with the slice what it likes.
					slices.Reverse(b)
					if len(tries) == 1 {
						return tt.err
					}
					return nil
				}
				in := records("0", "1", "2", "3")
				if err := g.Feed(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				all := []string{"a/s/0#0", "a/s/1#0", "a/s/2#0", "a/s/3#0"}
				want := [][]string{all}
				if tt.again {
					want = append(want, all)
				}
				if fmt.Sprint(tries) != fmt.Sprint(want) {
					t.Errorf("got batches %v, want %v", tries, want)
				}
				if len(g.dead.got) != len(tt.dead) {
					t.Fatalf("got %d dead letters, want %d", len(g.dead.got), len(tt.dead))
				}
				for i, index := range tt.dead {
					want := message.DeadLetter{
						Stage: "sink.store", ID: all[index], Agent: "a", Index: 0, Count: 1,
						Code: message.CodeTooLarge, Reason: "over 400 KB", Value: in[index].Value,
						Topic: "sluice.system_metrics", Partition: 1, Offset: int64(index),
						Src:        message.Source{Partition: 2, Offset: int64(100 + index)},
						ReceivedAt: in[index].Timestamp, Attempts: 1,
					}
					if got := g.dead.got[i]; fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("got dead letter\n%+v, want\n%+v", got, want)
					}
				}
				if got, want := g.value(t, "sluice_sink_written_total"), float64(4-len(tt.dead)); got != want {
					t.Errorf("got %v messages counted as written, want %v", got, want)
				}
				if len(tt.dead) > 0 {
					if got := g.value(t, "sluice_deadletters_total", "stage", "sink.store", "reason", "too_large"); got != float64(len(tt.dead)) {
						t.Errorf("got %v dead letters counted, want %d", got, len(tt.dead))
					}
				}
			})
		})
	}
}

// TestRejectedCode: a code outside the closed list does not get into headers
// and labels.
func TestRejectedCode(t *testing.T) {
	for code, want := range map[message.Code]message.Code{
		message.CodeInvalid: message.CodeInvalid, "": message.CodeUnsupported, "my own": message.CodeUnsupported,
	} {
		if got := (&Rejected{Code: code}).code(); got != want {
			t.Errorf("code %q: got %q, want %q", code, got, want)
		}
	}
}

func TestUnreadableRecordIsDeadAndOthersGoOn(t *testing.T) {
	g := opened(t, Traits{})
	var got []string
	g.sink.write = func(_ context.Context, b []message.Message) error {
		got = ids(b)
		return &Rejected{Index: 1, Code: message.CodeInvalid, Reason: "no"}
	}
	if err := g.Feed(t.Context(), records("0", "bad", "2")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a/s/0#0", "a/s/2#0"}; !slices.Equal(got, want) {
		t.Errorf("sink got %v, want %v", got, want)
	}
	if len(g.dead.got) != 2 {
		t.Fatalf("got dead letters %+v, want 2", g.dead.got)
	}
	d := g.dead.got[0]
	if d.Code != message.CodeUnreadable || d.ID != "a/s/1#0" || d.Field != "body" || d.Offset != 1 || string(d.Value) != "bad" {
		t.Errorf("got dead letter %+v, want that of the record at offset 1", d)
	}
	// The place that a sink names is one in its batch, not in the poll.
	if d := g.dead.got[1]; d.ID != "a/s/2#0" {
		t.Errorf("got a dead letter for %s, want a/s/2#0", d.ID)
	}
}

func TestOnlyUnreadableRecordsAreNoBatch(t *testing.T) {
	g := opened(t, Traits{})
	g.sink.write = func(context.Context, []message.Message) error {
		t.Error("Write called without a message")
		return nil
	}
	if err := g.Feed(t.Context(), records("bad", "bad")); err != nil || len(g.dead.got) != 2 {
		t.Errorf("got %v and %d dead letters, want 2", err, len(g.dead.got))
	}
}

// TestDeadLettersAloneAreRetried: the sink is not written to again because Kafka
// does not take a dead letter, and the batch is not done before it does.
func TestDeadLettersAloneAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := opened(t, Traits{})
		writes, tries := 0, 0
		g.sink.write = func(context.Context, []message.Message) error {
			writes++
			return &Rejected{Index: 1, Code: message.CodeInvalid, Reason: "no"}
		}
		g.dead.produce = func([]*kafka.Record) error {
			if tries++; tries <= 20 {
				if got := g.value(t, "sluice_deadletters_total"); got > 0 {
					t.Errorf("%v dead letters counted before one is written", got)
				}
				return errDown
			}
			return nil
		}
		if err := g.Feed(t.Context(), records("0", "1")); err != nil {
			t.Fatal(err)
		}
		if writes != 1 || tries != 21 || len(g.dead.got) != 1 {
			t.Errorf("got %d writes, %d tries and %d dead letters, want 1, 21 and 1", writes, tries, len(g.dead.got))
		}
		if err := g.outage.state(); err != nil {
			t.Errorf("got %v after the recovery", err)
		}
	})
}

// TestContextEnds: what Write returns after a revoke is not looked at.
func TestContextEnds(t *testing.T) {
	rejected := &Rejected{Index: 0, Code: message.CodeInvalid, Reason: "no"}
	for name, result := range map[string]error{"nil": nil, "rejected": rejected, "error": errDown, "context's": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			g := opened(t, Traits{})
			ctx, cancel := context.WithCancel(t.Context())
			g.sink.write = func(context.Context, []message.Message) error {
				cancel()
				return result
			}
			if err := g.Feed(ctx, records("0")); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context canceled: nil would commit the batch", err)
			}
			if len(g.dead.got) > 0 {
				t.Errorf("got dead letters %+v", g.dead.got)
			}
			if got := g.value(t, "sluice_sink_written_total"); got != 0 {
				t.Errorf("got %v messages counted as written, want 0", got)
			}
			// The next owner of the turn is not held up.
			g.sink.write = nil
			if err := g.Feed(t.Context(), records("0")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestContextEndsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := opened(t, Traits{})
		g.sink.write = func(context.Context, []message.Message) error { return errDown }
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		if err := g.Feed(ctx, records("0")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if got := time.Since(began); got != time.Hour {
			t.Errorf("gave up after %s, want an hour", got)
		}
	})
}

// TestContextEndsBeforeDeadLetters: what is neither in the sink nor a dead letter
// is not done.
func TestContextEndsBeforeDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := opened(t, Traits{})
		g.dead.produce = func([]*kafka.Record) error { return errDown }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Feed(ctx, records("bad")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error: nil would commit the batch", err)
		}
	})
}

// TestPanic: a panic is an error like any other, with its stack in the log once.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := opened(t, Traits{})
		tries := 0
		g.sink.write = func(context.Context, []message.Message) error {
			if tries++; tries < 4 {
				panic("index out of range")
			}
			return nil
		}
		if err := g.Feed(t.Context(), records("0")); err != nil || tries != 4 {
			t.Fatalf("got %v after %d tries, want nil after 4", err, tries)
		}
		if got := g.value(t, "sluice_sink_errors_total", "reason", "panic"); got != 3 {
			t.Errorf("got %v panics counted, want 3", got)
		}
		if got := g.log.count("stack="); got != 1 {
			t.Errorf("got %d stacks in the log, want 1:\n%s", got, g.log)
		}
	})
}

// TestUnknownSchema: the schemas are read again until the schema is there; it
// is never a dead letter.
func TestUnknownSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := opened(t, Traits{})
		g.schemas.known = 29
		fails := 0
		g.schemas.refresh = func() error {
			if fails++; fails%3 == 0 {
				return errDown
			}
			return nil
		}
		var got []string
		g.sink.write = func(_ context.Context, b []message.Message) error { got = ids(b); return nil }
		if err := g.Feed(t.Context(), records("0", "new", "2")); err != nil {
			t.Fatal(err)
		}
		if len(got) != 3 || len(g.dead.got) != 0 {
			t.Errorf("sink got %v and dead letters %+v, want all three and none", got, g.dead.got)
		}
		if g.schemas.refreshed != 29 {
			t.Errorf("got %d reads of the schemas, want 29", g.schemas.refreshed)
		}
		if got := g.value(t, "sluice_sink_errors_total", "reason", "schema"); got == 0 {
			t.Error("no error counted")
		}
	})
}

// TestUnknownSchemaOnce: one look at the schemas topic is no outage.
func TestUnknownSchemaOnce(t *testing.T) {
	g := opened(t, Traits{})
	g.schemas.known = 1
	if err := g.Feed(t.Context(), records("new")); err != nil || g.log.String() != "" {
		t.Errorf("got %v and log %q, want nil and silence", err, g.log)
	}
}

// TestTurns: however many feed, Write is called by one at a time, with batches
// of at most Traits.Batch.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := opened(t, Traits{Batch: 10})
		running, total := 0, 0
		g.sink.write = func(_ context.Context, b []message.Message) error {
			if running++; running != 1 || len(b) > 10 {
				t.Errorf("%d calls at once, the last of %d messages; want 1 of at most 10", running, len(b))
			}
			time.Sleep(time.Second)
			running--
			total += len(b)
			return nil
		}
		done := make(chan error)
		for range 4 {
			go func() { done <- g.Feed(t.Context(), records(values(25)...)) }()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if total != 100 {
			t.Errorf("got %d messages, want 100", total)
		}
	})
}
