package chaos

import (
	"strings"
	"testing"
	"time"

	"sluice/test/process"
)

// TestRebalance proves that normalizers that come and go under load lose, double
// and reorder nothing, and that of two in one slot one ends and says why.
func TestRebalance(t *testing.T) {
	const rate, each = 800, 3000 // frames a second; messages between changes
	random := chance(t)
	in := install(t, 1, 4, 0)
	ns := in.normalizers
	in.start(in.gateways[0], ns[0])
	f := newFleet(t, in, random)
	o := observe(t, in, f.ledger)
	load := f.send(rate, 0)
	o.recover()
	warm := time.Now()
	o.settle(each)

	steps := []struct {
		name   string
		change func()
	}{
		{"1 to 2", func() { in.start(ns[1]) }},
		{"2 to 3", func() { in.start(ns[2]) }},
		{"3 to 4", func() { in.start(ns[3]) }},
		{"4 to 2", func() { in.stop(ns[3], ns[1]) }},
		{"2 to 1", func() { in.stop(ns[0]) }},
		{"1 to 4, at once", func() { in.start(ns[0], ns[1], ns[3]) }},
		{"4 to 1, one killed", func() { ns[3].Kill(); in.stop(ns[0], ns[1]) }},
		{"the same slot twice", func() { in.twice(ns[2]) }},
	}
	begin := time.Now()
	for _, s := range steps {
		from := time.Now()
		s.change()
		every := o.recover()
		o.settle(each)
		t.Logf("%s: every agent's messages came again after %s, nothing new for %s at most", s.name, every.Round(time.Millisecond), o.gap(from, time.Now()).Round(time.Millisecond))
	}
	calm := time.Now()
	load.stop()
	f.close()
	in.normalizers = nil
	for _, n := range append(ns, in.second) {
		if n.Running() {
			in.normalizers = append(in.normalizers, n)
		}
	}
	in.finish()
	o.stop()
	o.report(warm, begin, calm)
	in.judgeAll(f.ledger)
}

// twice starts a second normalizer in the slot of one that runs, and checks that
// one of them ends and says why.
func (in *installation) twice(first *process.Process) {
	in.t.Helper()
	in.second = in.normalizer(2)
	in.second.Start()
	process.Wait(in.t, "one of two normalizers in one slot to end", func() bool { return !first.Running() || !in.second.Running() })
	ended, stays := first, in.second
	if ended.Running() {
		ended, stays = stays, ended
	}
	if code := ended.Exit(time.Second); code != 1 {
		in.t.Errorf("a normalizer whose slot is another's: exit code %d, want 1", code)
	}
	const want = "slot 2 is in use by another process"
	if log := ended.Log().String(); !strings.Contains(log, want) {
		in.t.Errorf("the log does not say %q; it ends: %s", want, ended.Log().Tail(500))
	}
	stays.AwaitReady()
}
