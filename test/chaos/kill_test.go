package chaos

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/test/process"
)

// killer kills processes at moments drawn before, and starts them again.
type killer struct {
	begin  time.Time
	random *rand.Rand
	all    sync.WaitGroup
	mu     sync.Mutex
	killed map[string]int
}

func newKiller(random *rand.Rand) *killer {
	return &killer{begin: time.Now(), random: random, killed: map[string]int{}}
}

// anytime kills each of the processes some times within a time, and starts it
// again after 0.1 to 1 s, ready or not.
func (k *killer) anytime(ps []*process.Process, times int, within time.Duration) {
	for _, p := range ps {
		moments := make([]time.Duration, times)
		for i := range moments {
			moments[i] = k.below(within)
		}
		slices.Sort(moments)
		k.at(p, moments)
	}
}

// apart kills each of the processes some times within a time, one kill in each
// part of it, in an order that is drawn, and none less than four fifths of a part
// after another.
func (k *killer) apart(ps []*process.Process, times int, within time.Duration) {
	moments := make([][]time.Duration, len(ps))
	part := within / time.Duration(times*len(ps))
	for i, turn := range k.random.Perm(times * len(ps)) {
		p := turn % len(ps)
		moments[p] = append(moments[p], time.Duration(i)*part+k.below(part/5))
	}
	for i, p := range ps {
		k.at(p, moments[i])
	}
}

// at kills a process at moments after the begin.
func (k *killer) at(p *process.Process, moments []time.Duration) {
	pauses := make([]time.Duration, len(moments))
	for i := range pauses {
		pauses[i] = 100*time.Millisecond + k.below(900*time.Millisecond)
	}
	k.all.Go(func() {
		for i, at := range moments {
			time.Sleep(time.Until(k.begin.Add(at)))
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

func (k *killer) below(d time.Duration) time.Duration {
	return time.Duration(k.random.Int64N(int64(d)))
}

func (k *killer) wait() { k.all.Wait() }

// TestKillEverything proves that whatever is killed whenever, each frame that was
// acknowledged is once where it belongs. Sinks are killed one by one at first: a
// member that dies while its group still waits for another adds the 6 s that it
// waits for itself. In the end everything is killed at once.
func TestKillEverything(t *testing.T) {
	const (
		frames = 100_000
		kills  = 10 // of each process, the last of all at once
		peace  = 15 * time.Second
		faults = 180 * time.Second
		after  = 20 * time.Second
	)
	random := chance(t)
	in := install(t, 2, 3, 2)
	in.start(in.all()...)
	f := newFleet(t, in, random)
	o := observe(t, in, f.ledger)

	load := f.send(frames/(peace+faults+after).Seconds(), frames)
	o.recover()
	warm := time.Now()
	time.Sleep(peace - time.Since(load.begin))
	begin := time.Now()
	k := newKiller(random)
	k.anytime(in.gateways, kills-1, faults)
	k.anytime(in.normalizers, kills-1, faults)
	k.apart(in.sinks, kills-1, faults)
	for _, p := range in.all() {
		k.at(p, []time.Duration{faults + 2*time.Second})
	}
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
	o.report(warm, begin, calm)
	outcomes := in.judgeAll(f.ledger)
	if sent, _ := f.ledger.Counts(); sent != frames {
		t.Errorf("%d frames were sent, want %d", sent, frames)
	}
	if len(outcomes) < frames {
		t.Errorf("%d outcomes of %d frames", len(outcomes), frames)
	}
}
