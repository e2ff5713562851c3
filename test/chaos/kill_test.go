package chaos

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/test/process"
)

// killer kills processes at random and starts them again.
type killer struct {
	all    sync.WaitGroup
	mu     sync.Mutex
	killed map[string]int
}

// kill kills each of the processes some times within a time, at moments drawn
// before, and starts it again after 0.1 to 1 s, ready or not.
func kill(ps []*process.Process, times int, within time.Duration, random *rand.Rand) *killer {
	k := &killer{killed: map[string]int{}}
	for _, p := range ps {
		moments := make([]time.Duration, times)
		for i := range moments {
			moments[i] = time.Duration(random.Int64N(int64(within)))
		}
		slices.Sort(moments)
		pauses := make([]time.Duration, times)
		for i := range pauses {
			pauses[i] = 100*time.Millisecond + time.Duration(random.Int64N(int64(900*time.Millisecond)))
		}
		begin := time.Now()
		k.all.Go(func() {
			for i, at := range moments {
				time.Sleep(time.Until(begin.Add(at)))
				if p.Kill() {
					k.mu.Lock()
					k.killed[p.Name()]++
					k.mu.Unlock()
				}
				time.Sleep(pauses[i])
				p.Start()
			}
		})
	}
	return k
}

func (k *killer) wait() { k.all.Wait() }

// TestKillEverything proves that whatever is killed whenever, each frame that was
// acknowledged is once where it belongs.
func TestKillEverything(t *testing.T) {
	const (
		frames = 20_000
		kills  = 3
		peace  = 10 * time.Second
		faults = 40 * time.Second
	)
	random := chance(t)
	in := install(t, 2, 3, 0)
	in.start(in.all()...)
	f := newFleet(t, in, random)
	o := observe(t, in, f.ledger)

	load := f.send(frames/(peace+faults).Seconds(), frames)
	time.Sleep(peace)
	begin := time.Now()
	k := kill(in.all(), kills, faults, random)
	k.wait()
	load.wait()
	calm := time.Now()
	f.close()
	for _, p := range in.all() {
		p.AwaitReady()
		if k.killed[p.Name()] != kills {
			t.Errorf("%s was killed %d times, want %d", p.Name(), k.killed[p.Name()], kills)
		}
	}
	t.Logf("%d kills in %s: %v; agents connected %d times", kills*len(in.all()), calm.Sub(begin).Round(time.Second), k.killed, f.connections.Load())
	in.finish()
	o.stop()
	o.report(begin, calm)
	outcomes := in.judgeAll(f.ledger)
	if sent, _ := f.ledger.Counts(); sent != frames {
		t.Errorf("%d frames were sent, want %d", sent, frames)
	}
	if len(outcomes) < frames {
		t.Errorf("%d outcomes of %d frames", len(outcomes), frames)
	}
}
