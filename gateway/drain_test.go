package gateway

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/message"
)

// TestEndsAreSpread ends many connections: each once, the first at once, and as
// many in one part of the time as in another.
func TestEndsAreSpread(t *testing.T) {
	tests := []struct {
		n    int
		over time.Duration
	}{
		{0, 0},
		{1, 0},
		{11, 100 * time.Millisecond},
		{500, spreadTime},
		{10_000, spreadTime},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var frames []message.Frame
				now := time.Now()
				g := idle(t, stored(&frames), &now)
				g.rand = strings.NewReader(strings.Repeat("r", 8*tt.n))
				began := time.Now()
				var mu sync.Mutex
				var at []time.Duration
				for i := range tt.n {
					_, err := g.Connect(Opening{Agent: fmt.Sprint("a", i), Protocol: "websocket", End: func(r Reason) {
						mu.Lock()
						defer mu.Unlock()
						if r != Draining {
							t.Errorf("got %s, want draining", r)
						}
						at = append(at, time.Since(began))
					}})
					if err != nil {
						t.Fatal(err)
					}
				}
				g.endAll(t.Context())
				synctest.Wait()
				took := time.Since(began)
				if len(at) != tt.n || took > tt.over+endGap || took < tt.over {
					t.Fatalf("got %d ends in %s, want %d in %s", len(at), took, tt.n, tt.over)
				}
				if tt.n == 0 {
					return
				}
				var tenths [10]int
				for _, d := range at {
					tenths[min(int(10*d/max(tt.over, 1)), 9)]++
				}
				if at[0] != 0 {
					t.Errorf("the first ended after %s, want at once", at[0])
				}
				for i, n := range tenths {
					if mean := tt.n / 10; tt.over > 0 && (n < mean-mean/5-1 || n > mean+mean/5+2) {
						t.Errorf("%d of %d ended in the tenth part %d, want about %d", n, tt.n, i+1, mean)
					}
				}
			})
		})
	}
}

// TestLateEndsComeAtOnce: when the time is over, nobody waits for a turn.
func TestLateEndsComeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var frames []message.Frame
		now := time.Now()
		g := idle(t, stored(&frames), &now)
		for i := range 500 {
			if _, err := g.Connect(Opening{Agent: fmt.Sprint("a", i), End: func(Reason) {}}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		g.endAll(ctx)
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %s, want the second that there was", took)
		}
		for c := range g.conns {
			if c.ended != Draining {
				t.Fatalf("a connection was not ended: %q", c.ended)
			}
		}
	})
}

// TestEndsAreCounted: a connection that the gateway ended is counted once, by why;
// one that the agent ended is not.
func TestEndsAreCounted(t *testing.T) {
	for _, reason := range []Reason{Closed, Lost, Timeout, TooLarge, Malformed, Slow, NotStored, Replaced, Banned, Draining} {
		var frames []message.Frame
		now := time.Now()
		g := idle(t, stored(&frames), &now)
		c, err := g.Connect(Opening{Agent: "a"})
		if err != nil {
			t.Fatal(err)
		}
		c.Close(reason)
		c.Close(reason)
		counted := make(map[string]float64)
		registry := prometheus.NewRegistry()
		registry.MustRegister(g.metrics.rejected.vec)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range families[0].GetMetric() {
			if n := m.GetCounter().GetValue(); n > 0 {
				counted[m.GetLabel()[0].GetValue()] = n
			}
		}
		want := map[string]float64{"ended_" + string(reason): 1}
		if reason == Closed || reason == Lost {
			want = map[string]float64{}
		}
		if !maps.Equal(counted, want) {
			t.Errorf("%s: counted %v, want %v", reason, counted, want)
		}
	}
}
