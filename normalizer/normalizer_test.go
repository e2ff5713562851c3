package normalizer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/internal/wire"
	"sluice/message"
	"sluice/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ingest(t testing.TB, c kafka.Config, fs []*message.Frame) {
	t.Helper()
	p, err := c.NewProducer(kafka.ProducerOptions{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	rs := make([]*kafka.Record, len(fs))
	for i, f := range fs {
		rs[i] = kafka.FrameRecord(f)
	}
	if err := p.Produce(t.Context(), rs...); err != nil {
		t.Fatal(err)
	}
}

// TestNormalize proves on the embedded broker that every ingest record has its
// outcome exactly once, in the order of its agent, over a change of normalizer
// in the middle.
func TestNormalize(t *testing.T) {
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	c := kafkatest.New(t, set.Names()...)
	const n = 3000
	fs := make([]*message.Frame, n)
	bad := 0
	for i := range fs {
		agent := fmt.Sprintf("a%d", i%5)
		pending := fmt.Sprint(i)
		if i%10 == 3 {
			pending, bad = `"many"`, bad+1
		}
		fs[i] = &message.Frame{
			ID: fmt.Sprintf("%s/s/%d", agent, i), Agent: agent, Protocol: "rest", ContentType: wire.TypeJSON, ReceivedAt: received,
			Value: fmt.Appendf(nil, `{"id":%q,"type":"ethereum_metrics","data":{"type":"pending","body":{"pending":%s}}}`, agent, pending),
		}
	}
	ingest(t, c, fs[:n/2])

	reg := prometheus.NewRegistry()
	start := func(slot string, reg *prometheus.Registry) (stop func()) {
		log := slog.New(slog.DiscardHandler)
		o := Options{Config: DefaultConfig(), Kafka: c, Types: set, Embedded: true, Log: log, Meters: reg}
		o.Config.Slot = slot
		o.Publish = func(ctx context.Context) (*schemas.Set, error) {
			return schemas.NewCatalog(c, nil, schemas.NewReader(set), log).Publish(ctx, set)
		}
		normalizer := New(o)
		if err := normalizer.Ready(t.Context()); err == nil {
			t.Error("ready before it began")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- normalizer.Run(ctx) }()
		return func() {
			if err := normalizer.Ready(t.Context()); err != nil {
				t.Errorf("not ready at the end: %v", err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	stop := start("1", reg)
	topics := []string{message.Topic("ethereum_metrics"), message.TopicDeadLetters}
	kafkatest.Wait(t, c, func(rs []*kafka.Record) bool { return len(rs) >= n/4 }, topics...)
	stop()
	ingest(t, c, fs[n/2:])
	other := prometheus.NewRegistry()
	stop = start("2", other)
	kafkatest.Wait(t, c, func(rs []*kafka.Record) bool { return len(rs) >= n }, topics...)
	stop()

	rs := kafkatest.Read(t, c, topics...)
	if len(rs) != n {
		t.Errorf("%d outcomes for %d frames", len(rs), n)
	}
	seen := map[string]bool{}
	last := map[string]message.Source{}
	letters := 0
	for _, r := range rs {
		var m message.Message
		kafka.Message(r, &m)
		if seen[m.ID] {
			t.Fatalf("%s has two outcomes", m.ID)
		}
		seen[m.ID] = true
		key := r.Topic + m.Agent
		if prev, ok := last[key]; ok && m.Src.Before(prev) {
			t.Fatalf("%s: %s after %s", key, m.Src, prev)
		}
		last[key] = m.Src
		if r.Topic == message.TopicDeadLetters {
			letters++
		}
	}
	if letters != bad {
		t.Errorf("%d dead letters, want %d", letters, bad)
	}
	counted := 0.0
	for _, r := range []*prometheus.Registry{reg, other} {
		counted += count(t, r)
	}
	if counted != n {
		t.Errorf("counters say %v outcomes, want %d", counted, n)
	}
}

func count(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if name := f.GetName(); name == "sluice_normalized_total" || name == "sluice_deadletters_total" {
			for _, m := range f.GetMetric() {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return total
}

func TestPublishFails(t *testing.T) {
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	n := New(Options{
		Config: DefaultConfig(), Types: set, Log: slog.New(slog.DiscardHandler), Meters: prometheus.NewRegistry(),
		Publish: func(context.Context) (*schemas.Set, error) { return nil, boom },
	})
	if err := n.Run(t.Context()); !errors.Is(err, boom) {
		t.Errorf("got %v, want %v: records must not be written before their schema", err, boom)
	}
}

// BenchmarkConversion measures one frame of 423 bytes, a block, from the ingest
// record to the typed one, without Kafka.
func BenchmarkConversion(b *testing.B) {
	c, out := newConversion(b)
	c.emit = func(*kafka.Record) {}
	_ = out
	value := `{"id":"a1","type":"ethereum_metrics","time":1795453669123,"data":{"type":"block","body":{"number":21000001,` +
		`"hash":"0x506d4c1b3c0a0c9e8f2a7d6b5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f","parentHash":"0x790a4c1b3c0a0c9e8f2a7d6b5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f",` +
		`"timestamp":1795453669,"miner":"0x7156526fbd7a3c72969b54f64e42c10fbb768c8a","gasUsed":14000000,"gasLimit":30000000,"difficulty":"0","transactions":[],"uncles":[]}}}`
	r := kafka.FrameRecord(frame(wire.TypeJSON, value))
	r.Headers[0].Value = []byte("a1/0b9c8d7e6f/1234")
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	var f message.Frame
	for b.Loop() {
		kafka.Frame(r, &f)
		f.ReceivedAt = time.UnixMilli(1795453669123)
		c.frame(&f)
	}
	if len(c.tally.letters) > 0 {
		b.Fatal(c.tally.letters)
	}
}
