package sinks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/telemetry"
	"sluice/message"
)

func TestOpenUnusable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Traits{})
		opens, closed := 0, 0
		g.sink.open = func(context.Context) error {
			if opens++; opens < 5 {
				if err := g.Ready(t.Context()); err == nil {
					t.Error("ready before Open returned")
				}
				return errDown
			}
			return fmt.Errorf("listen on 127.0.0.1:8080: %w", ErrUnusable)
		}
		g.sink.close = func(ctx context.Context) error { closed++; return ctx.Err() }
		err := g.Run(t.Context())
		if !errors.Is(err, ErrUnusable) || !strings.HasPrefix(err.Error(), "sink store: listen on") {
			t.Errorf("got %v, want one that names the sink and the cause", err)
		}
		if opens != 5 || closed != 1 {
			t.Errorf("got %d calls of Open and %d of Close, want 5 and 1", opens, closed)
		}
		if got := g.value(t, "sluice_sink_errors_total", "reason", "open"); got != 4 {
			t.Errorf("got %v errors counted, want 4", got)
		}
	})
}

// TestStopWhileOpening: ending is no error, and Close is called all the same,
// with a context that is alive.
func TestStopWhileOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Traits{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		g.sink.open = func(context.Context) error { panic("nil pointer") }
		closed := false
		g.sink.close = func(ctx context.Context) error { closed = true; return ctx.Err() }
		if err := g.Run(ctx); err != nil || !closed {
			t.Errorf("got %v, closed %t; want nil and closed", err, closed)
		}
		if err := g.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "nil pointer") {
			t.Errorf("got readiness %v, want the panic", err)
		}
	})
}

func TestReadyNamesAStuckCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := opened(t, Traits{})
		g.reading = true
		release := make(chan struct{})
		g.sink.write = func(context.Context, []message.Message) error { <-release; return nil }
		done := make(chan error)
		go func() { done <- g.Feed(t.Context(), records("0")) }()
		synctest.Wait()
		if err := g.Ready(t.Context()); err != nil {
			t.Errorf("got %v at the start of a call, want ready", err)
		}
		time.Sleep(stuck + time.Second)
		if err := g.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "26s") {
			t.Errorf("got %v, want one that says 26s", err)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := g.Ready(t.Context()); err != nil {
			t.Errorf("got %v after the call, want ready", err)
		}
	})
}

// TestReadyWithoutPartitions: a member that has nothing left to write is ready,
// whatever it failed to write before.
func TestReadyWithoutPartitions(t *testing.T) {
	g := opened(t, Traits{})
	if err := g.Ready(t.Context()); err == nil {
		t.Error("ready before it is a member")
	}
	g.joined(2)
	g.outage.note("write", errDown)
	g.joined(1)
	if err := g.Ready(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("got %v with a partition left, want the sink's error", err)
	}
	g.joined(0)
	if err := g.Ready(t.Context()); err != nil {
		t.Errorf("got %v without partitions, want ready", err)
	}
}

func TestSettingsRefused(t *testing.T) {
	p := Define(func() struct{} { return struct{}{} }, func(struct{}, Env) (Sink, Traits, error) {
		return nil, Traits{}, errors.New("dir: want a path")
	})
	o := RunnerOptions{Name: "store", Plugin: p, Settings: p.Settings(), Log: newRig(t, Traits{}).Runner.log, Meters: NewMeters(prometheus.NewRegistry())}
	if _, err := NewRunner(o); err == nil || err.Error() != "build sink store: dir: want a path" {
		t.Errorf("got %v", err)
	}
	o.Settings = 7
	if _, err := NewRunner(o); err == nil || !strings.Contains(err.Error(), "got int") {
		t.Errorf("got %v, want an error about the settings' type", err)
	}
}

// TestMetersTogether: two sinks of one plugin and another stage's dead letters
// share a registry.
func TestMetersTogether(t *testing.T) {
	reg := prometheus.NewRegistry()
	other := telemetry.DeadLetters(reg)
	other.WithLabelValues("normalizer", "time").Inc()

	meters := NewMeters(reg)
	p := Define(func() struct{} { return struct{}{} }, func(_ struct{}, env Env) (Sink, Traits, error) {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_own_total", Help: "Own."})
		return &fakeSink{}, Traits{}, env.Meters.Register(c)
	})
	for _, name := range []string{"a", "b"} {
		if _, err := NewRunner(RunnerOptions{Name: name, Plugin: p, Settings: p.Settings(),
			Log: newRig(t, Traits{}).Runner.log, Clock: time.Now, Meters: meters, Registerer: reg}); err != nil {
			t.Fatal(err)
		}
	}
	meters.runner("a").dead(message.CodeTime)
	g := &rig{reg: reg}
	if got := g.value(t, "sluice_deadletters_total"); got != 2 {
		t.Errorf("got %v dead letters, want those of both stages: 2", got)
	}
}
