package chaos

import (
	"testing"
	"time"
)

// TestRollingRestart proves that each stage can be restarted, one process at a
// time, under load: every process ends with 0, no frame or request is turned
// away, agents do no more than connect again, and nothing is lost or doubled.
func TestRollingRestart(t *testing.T) {
	random := chance(t)
	in := install(t, 2, 2, 2)
	in.start(in.all()...)
	f := newFleet(t, in, random)
	o := observe(t, in, f.ledger)
	load := f.send(500, 0)
	o.recover()
	warm := time.Now()
	o.settle(2500)

	begin := time.Now()
	for _, p := range in.all() {
		from, before := time.Now(), f.connections.Load()
		in.stop(p)
		stopped := time.Since(from)
		in.start(p)
		o.settle(1500)
		t.Logf("%s: stopped in %s, nothing new for %s at most, %d agents connected again", p.Name(),
			stopped.Round(time.Millisecond), o.gap(from, time.Now()).Round(time.Millisecond), f.connections.Load()-before)
	}
	calm := time.Now()
	load.stop()
	f.close()
	if n := f.rejected.Load(); n > 0 {
		t.Errorf("%d logins or requests were turned away, want none", n)
	}
	in.finish()
	o.stop()
	o.report(warm, begin, calm)
	in.judgeAll(f.ledger)
}
