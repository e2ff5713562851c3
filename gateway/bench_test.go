package gateway_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/internal/kafka"
)

// instant is a Kafka that has every record at once.
type instant struct{}

func (instant) TryProduce(r *kafka.Record, promise func(*kafka.Record, error)) { promise(r, nil) }

// BenchmarkIngest takes frames of a connection: without traces, which is to cost
// nothing, with traces of which none is sampled, and with all of them.
func BenchmarkIngest(b *testing.B) {
	provider := func(s sdk.Sampler) trace.Tracer {
		p := sdk.NewTracerProvider(sdk.WithSampler(s), sdk.WithBatcher(tracetest.NewNoopExporter()))
		b.Cleanup(func() { _ = p.Shutdown(context.Background()) })
		return p.Tracer("test")
	}
	for _, mode := range []struct {
		name   string
		tracer trace.Tracer
	}{
		{"no traces", nil},
		{"none sampled", provider(sdk.ParentBased(sdk.TraceIDRatioBased(0)))},
		{"all sampled", provider(sdk.AlwaysSample())},
	} {
		b.Run(mode.name, func(b *testing.B) {
			ingest := ingesting(b, mode.tracer)
			b.ReportAllocs()
			for b.Loop() {
				ingest()
			}
		})
	}
}

// TestIngestWithoutTraces proves that a frame costs no allocation of its own where
// traces are not asked for.
func TestIngestWithoutTraces(t *testing.T) {
	if n := testing.AllocsPerRun(10_000, ingesting(t, nil)); n > 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
}

// ingesting returns what ingests one frame of a connection.
func ingesting(t testing.TB, tracer trace.Tracer) func() {
	t.Helper()
	g, err := gateway.New(gateway.DefaultConfig(), gateway.Deps{
		Producer: instant{}, Agents: &gatewaytest.Directory{}, Log: slog.New(slog.DiscardHandler), Clock: time.Now,
		Rand: zeros{}, Registerer: prometheus.NewRegistry(), Tracer: tracer,
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Connect(gateway.Opening{Agent: "a", Protocol: "websocket", Done: func(error) {}, End: func(gateway.Reason) {}})
	if err != nil {
		t.Fatal(err)
	}
	value, now, seq := make([]byte, 400), time.Now(), uint64(0)
	return func() {
		if err := c.Ingest(seq, value, now); err != nil {
			t.Fatal(err)
		}
		seq++
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
