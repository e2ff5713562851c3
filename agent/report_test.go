package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/agent"
)

// fakeCollector is a Collector with a function in it.
type fakeCollector struct {
	name    string
	period  time.Duration
	collect func(ctx context.Context, emit func(agent.Message)) error
}

func (c fakeCollector) Name() string          { return c.name }
func (c fakeCollector) Period() time.Duration { return c.period }
func (c fakeCollector) Collect(ctx context.Context, emit func(agent.Message)) error {
	return c.collect(ctx, emit)
}

func sample(n int) agent.Message {
	return agent.Message{Type: "system_metrics", Kind: "load", Body: object{"n": n}}
}

// TestReport has one collector that fails for a while beside one that works.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(logs)
		c, _ := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1"}, agent.Options{})
		ctx, cancel := context.WithTimeout(context.Background(), 9500*time.Millisecond)
		defer cancel()
		n, good := 0, 0
		err := agent.Report(ctx, c, []agent.Collector{
			fakeCollector{"bad", time.Second, func(_ context.Context, emit func(agent.Message)) error {
				if n++; n > 3 && n < 8 {
					return errors.New("disk on fire")
				}
				return nil
			}},
			fakeCollector{"good", 2 * time.Second, func(_ context.Context, emit func(agent.Message)) error {
				good++
				emit(sample(1))
				emit(sample(2))
				return nil
			}},
		}, slog.New(slog.NewTextHandler(out, nil)))
		if err != nil {
			t.Errorf("Report: %v", err)
		}
		if n != 10 || good != 5 || c.Pending() != 5 {
			t.Errorf("collected %d and %d times and made %d frames, want 10, 5 and 5", n, good, c.Pending())
		}
		for _, line := range []string{"bad: disk on fire", "collector works again"} {
			if got := strings.Count(out.String(), line); got != 1 {
				t.Errorf("%q is in the log %d times:\n%s", line, got, out)
			}
		}
	})
}

// TestReportSkips fills the buffer: what is in it stays, and the samples that
// find no room are counted.
func TestReportSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(logs)
		registry := prometheus.NewRegistry()
		c, _ := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1", Buffer: 4}, agent.Options{Registerer: registry})
		ctx, cancel := context.WithTimeout(context.Background(), 9500*time.Millisecond)
		defer cancel()
		if err := agent.Report(ctx, c, []agent.Collector{
			fakeCollector{"load", time.Second, func(_ context.Context, emit func(agent.Message)) error {
				emit(sample(1))
				return nil
			}},
		}, slog.New(slog.NewTextHandler(out, nil))); err != nil {
			t.Errorf("Report: %v", err)
		}
		if c.Pending() != 4 || c.Skipped() != 6 {
			t.Errorf("%d pending and %d skipped, want 4 and 6", c.Pending(), c.Skipped())
		}
		if got := strings.Count(out.String(), "samples are skipped"); got != 1 {
			t.Errorf("told %d times:\n%s", got, out)
		}
		want := map[string]float64{"sluice_client_samples_skipped_total": 6, "sluice_client_pending_frames": 4, "sluice_client_frames_total": 4}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			m := f.GetMetric()[0]
			if v, ok := want[f.GetName()]; ok && m.GetCounter().GetValue()+m.GetGauge().GetValue() != v {
				t.Errorf("%s is %v, want %v", f.GetName(), m, v)
			}
			delete(want, f.GetName())
		}
		if len(want) > 0 {
			t.Errorf("no metrics %v", want)
		}
	})
}

// TestReportSplits sends one by one what is too large for one frame.
func TestReportSplits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newClientAsIs(t, agent.Config{URL: "ws://127.0.0.1:1"}, agent.Options{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := agent.Report(ctx, c, []agent.Collector{
			fakeCollector{"load", time.Minute, func(_ context.Context, emit func(agent.Message)) error {
				for range 3 {
					emit(agent.Message{Type: "system_metrics", Kind: "load", Body: object{"p": strings.Repeat("x", 100<<10)}})
				}
				return nil
			}},
		}, nil); err != nil {
			t.Errorf("Report: %v", err)
		}
		if c.Pending() != 3 {
			t.Errorf("%d frames, want 3", c.Pending())
		}
	})
}

// TestReportSystem reports this machine to a gateway, in both encodings.
func TestReportSystem(t *testing.T) {
	for _, encoding := range []string{agent.JSON, agent.Msgpack} {
		t.Run(encoding, func(t *testing.T) {
			var kinds [5]atomic.Bool
			names := []string{"cpu", "memory", "load", "network", "disk"}
			all := make(chan struct{})
			g := startGateway(t, func(c *fakeConn) {
				c.welcome("a1", 256<<10, 8)
				told := false
				_ = c.ackAll(func(_ uint64, b []byte) {
					var batch []envelope
					if c.decode(b, &batch) != nil {
						batch = []envelope{c.envelope(b)}
					}
					n := 0
					for i, name := range names {
						for _, e := range batch {
							if e.ID == "a1" && e.Type == "system_metrics" && e.Data.Type == name && e.Time > 0 && len(e.Data.Body) > 2 {
								kinds[i].Store(true)
							}
						}
						if kinds[i].Load() {
							n++
						}
					}
					if n == len(names) && !told {
						told = true
						close(all)
					}
				})
			})
			c, _ := newClient(t, agent.Config{URL: g.url, Encoding: encoding}, agent.Options{})
			stop := run(t, c)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- agent.Report(ctx, c, agent.System(agent.DefaultSystemConfig()), nil) }()
			select {
			case <-all:
			case <-time.After(patience):
				for i := range names {
					t.Errorf("%s came: %t", names[i], kinds[i].Load())
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Report: %v", err)
			}
			if err := stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}
