package chaos

import (
	"strings"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/test/process"
)

// TestReplayByResetOffsets proves that resetting the sink's offsets to the start
// with Kafka's own command, and running it again, leaves the table as it was, to
// the last attribute; and that it makes the same table again of nothing.
func TestReplayByResetOffsets(t *testing.T) {
	random := chance(t)
	in := install(t, 2, 2, 2)
	in.start(in.all()...)
	f := newFleet(t, in, random)
	load := f.send(1000, 15_000)
	// What is sent twice must end the same way in whatever order it was written.
	k := newKiller(random)
	k.anytime(in.all(), 2, 10*time.Second)
	k.wait()
	load.wait()
	f.close()
	for _, p := range in.all() {
		p.AwaitReady()
	}
	in.finish()
	in.judgeAll(f.ledger)
	want, n := in.table.hash(t)
	t.Logf("table: %d items, hash %s", n, want)

	for _, round := range []struct {
		name   string
		before func()
	}{
		{"over what stands", func() {}},
		{"into nothing", func() { in.table.empty(t) }},
	} {
		round.before()
		in.reset(sinks.Group(sinkName))
		begin := time.Now()
		in.start(in.sinks...)
		in.drain(sinks.Group(sinkName), topics()...)
		took := time.Since(begin)
		in.stop(in.sinks...)
		got, n := in.table.hash(t)
		t.Logf("replayed %s in %s: %d items, hash %s", round.name, took.Round(time.Millisecond), n, got)
		if got != want {
			t.Errorf("replayed %s: the table's hash is %s, want %s", round.name, got, want)
		}
	}
}

// reset sets a group's offsets to the start with kafka-consumer-groups.sh.
func (in *installation) reset(group string) {
	in.t.Helper()
	var log process.Log
	cmd := in.broker.Broker().Tool(in.t, "kafka-consumer-groups.sh", "--group", group, "--all-topics", "--reset-offsets", "--to-earliest", "--execute")
	cmd.Stderr = &log
	printed, err := cmd.Output()
	if err != nil {
		in.t.Fatalf("kafka-consumer-groups.sh: %v\n%s%s", err, printed, log.String())
	}
	out := string(printed)
	// The command ends with 0 whatever it did: it names each partition that it reset.
	for _, topic := range topics() {
		if !strings.Contains(out, topic) {
			in.t.Fatalf("offsets of %s in %s were not reset: %s", group, topic, out)
		}
	}
}
