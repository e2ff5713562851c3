package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
	"sluice/message"
	"sluice/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSink is a sink of functions; nil ones succeed.
type fakeSink struct {
	open, close func(context.Context) error
	write       func(context.Context, []message.Message) error
}

func (s *fakeSink) Open(ctx context.Context) error {
	if s.open == nil {
		return nil
	}
	return s.open(ctx)
}

func (s *fakeSink) Write(ctx context.Context, b []message.Message) error {
	if s.write == nil {
		return nil
	}
	return s.write(ctx, b)
}

func (s *fakeSink) Close(ctx context.Context) error {
	if s.close == nil {
		return nil
	}
	return s.close(ctx)
}

func (s *fakeSink) plugin(traits Traits) Plugin {
	return Define(func() struct{} { return struct{}{} }, func(struct{}, Env) (Sink, Traits, error) {
		return s, traits, nil
	})
}

// fakeSchemas reads values that say themselves how they are read: "bad" is a
// fault, "new" is unknown until Refresh was called known times.
type fakeSchemas struct {
	refresh   func() error
	refreshed int
	known     int
}

func (s *fakeSchemas) Read(value []byte, m *message.Message, bodies bool) error {
	switch string(value) {
	case "bad":
		m.ID = "garbage"
		return &message.Fault{Code: message.CodeUnreadable, Field: "body", Reason: "bytes follow it"}
	case "new":
		if s.refreshed < s.known {
			return fmt.Errorf("read: %w", &schemas.UnknownSchemaError{Fingerprint: 7})
		}
	}
	m.Kind, m.Avro = "block", value
	return nil
}

func (s *fakeSchemas) Refresh(context.Context) error {
	s.refreshed++
	if s.refresh != nil {
		return s.refresh()
	}
	return nil
}

// fakeDead keeps dead letters, or fails.
type fakeDead struct {
	produce func([]*kafka.Record) error
	got     []message.DeadLetter
}

func (d *fakeDead) Produce(_ context.Context, rs ...*kafka.Record) error {
	if d.produce != nil {
		if err := d.produce(rs); err != nil {
			return err
		}
	}
	for _, r := range rs {
		d.got = append(d.got, kafka.DeadLetter(r))
	}
	return nil
}

// lines is a log that can be counted.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// rig is a runner with fakes around it.
type rig struct {
	*Runner
	sink    *fakeSink
	schemas *fakeSchemas
	dead    *fakeDead
	log     *lines
	reg     *prometheus.Registry
}

func newRig(t *testing.T, traits Traits, change ...func(*RunnerOptions)) *rig {
	t.Helper()
	g := &rig{sink: &fakeSink{}, schemas: &fakeSchemas{}, dead: &fakeDead{}, log: &lines{}, reg: prometheus.NewRegistry()}
	p := g.sink.plugin(traits)
	o := RunnerOptions{
		Name: "store", Plugin: p, Settings: p.Settings(), Types: []string{"system_metrics"},
		Schemas: g.schemas, DeadLetters: g.dead,
		Log:   slog.New(slog.NewTextHandler(g.log, nil)),
		Clock: time.Now, Meters: NewMeters(g.reg), Registerer: g.reg,
		Jitter: func() float64 { return 0 },
	}
	for _, f := range change {
		f(&o)
	}
	r, err := NewRunner(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Runner = r
	return g
}

// opened returns a rig whose sink is open.
func opened(t *testing.T, traits Traits) *rig {
	t.Helper()
	g := newRig(t, traits)
	if err := g.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

// records returns one record of a value each, as the normalizer writes them but
// for the value, with the IDs a/s/0#0, a/s/1#0, ….
func records(values ...string) []*kafka.Record {
	rs := make([]*kafka.Record, len(values))
	for i, v := range values {
		src := message.Source{Partition: 2, Offset: int64(100 + i)}
		rs[i] = &kafka.Record{
			Topic: message.Topic("system_metrics"), Partition: 1, Offset: int64(i),
			Key: []byte("a"), Value: []byte(v), Timestamp: time.UnixMilli(1_700_000_000_000),
			Headers: []kafka.Header{
				{Key: message.HeaderID, Value: []byte("a/s/" + strconv.Itoa(i) + "#0")},
				{Key: message.HeaderSrc, Value: []byte(src.String())},
				{Key: message.HeaderIndex, Value: []byte("0")},
				{Key: message.HeaderCount, Value: []byte("1")},
			},
		}
	}
	return rs
}

func values(n int) []string { return make([]string, n) }

// value returns the value of a metric, summed over the labels that are not
// given as name, value, name, value ….
func (g *rig) value(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			for i := 0; i < len(labels); i += 2 {
				if has[labels[i]] != labels[i+1] {
					continue metrics
				}
			}
			found = true
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if !found {
		return math.NaN()
	}
	return sum
}

var errDown = errors.New("connection refused")
