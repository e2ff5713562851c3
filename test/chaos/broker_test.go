package chaos

import (
	"testing"
	"time"

	"sluice/test/process"
)

// TestBrokerRestart proves that when Kafka is killed under load and started
// again nothing that was acknowledged is lost, and that every process goes on
// without anyone's help. The second time the gateways are killed while Kafka is
// away: what they had taken by then and not acknowledged is for agents to repeat.
func TestBrokerRestart(t *testing.T) {
	random := chance(t)
	in := install(t, 2, 2, 2)
	in.start(in.all()...)
	f := newFleet(t, in, random)
	o := observe(t, in, f.ledger)
	load := f.send(400, 0)
	o.recover()
	warm := time.Now()
	o.settle(2000)

	begin := time.Now()
	for round := range 2 {
		in.broker.Kill()
		time.Sleep(time.Second + time.Duration(random.Int64N(int64(2*time.Second))))
		if round == 1 {
			for _, g := range in.gateways {
				g.Kill()
				g.Start()
			}
		}
		from := time.Now()
		in.broker.Start()
		up := time.Now()
		_, acked := f.ledger.Counts()
		process.Wait(t, "an acknowledgement", func() bool { _, n := f.ledger.Counts(); return n > acked })
		first := time.Since(up)
		every := o.recover()
		t.Logf("Kafka killed, back after %s; the first acknowledgement %s later, every agent's messages another %s later",
			up.Sub(from).Round(time.Millisecond), first.Round(time.Millisecond), every.Round(time.Millisecond))
	}
	calm := time.Now()
	load.stop()
	f.close()
	for _, p := range in.all() {
		p.AwaitReady()
	}
	in.finish()
	o.stop()
	o.report(warm, begin, calm)
	in.judgeAll(f.ledger)
}
