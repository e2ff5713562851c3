package chaos

import (
	"syscall"
	"testing"
	"time"
)

// TestPausedNormalizer proves that a normalizer that was paused for longer than
// its group waits for it doubles nothing when it goes on, and does go on: its
// partitions are another's by then, and its transaction is void.
func TestPausedNormalizer(t *testing.T) {
	const pause = 20 * time.Second // the group waits for 6 s, the broker for 10 s and a check
	random := chance(t)
	in := install(t, 1, 2, 0)
	in.start(in.all()...)
	f := newFleet(t, in, random)
	o := observe(t, in, f.ledger)
	load := f.send(500, 0)
	o.recover()
	warm := time.Now()
	o.settle(2500)

	begin := time.Now()
	for _, n := range in.normalizers {
		from := time.Now()
		n.Signal(syscall.SIGSTOP)
		time.Sleep(pause)
		n.Signal(syscall.SIGCONT)
		every := o.recover()
		t.Logf("%s paused for %s: nothing new for %s at most, every agent's messages came again after %s", n.Name(), pause,
			o.gap(from, time.Now()).Round(time.Millisecond), every.Round(time.Millisecond))
		n.AwaitReady() // it begins anew, and does not end
		o.settle(1000)
	}
	calm := time.Now()
	load.stop()
	f.close()
	in.finish()
	o.stop()
	o.report(warm, begin, calm)
	in.judgeAll(f.ledger)
}
