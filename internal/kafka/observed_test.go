package kafka_test

import (
	"context"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
)

// TestObservedClients proves that clients of one process share a registry, that
// those of one name are told apart, and that a closed one is gone.
func TestObservedClients(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := kafkatest.New(t, "load").Observed(registry, nil)
	open := func(name string) *kafka.Producer {
		t.Helper()
		p, err := c.NewProducer(kafka.ProducerOptions{Client: name}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Produce(t.Context(), &kafka.Record{Topic: message.Topic("load"), Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	produced := func() map[string]float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]float64{}
		for _, f := range families {
			if f.GetName() == "sluice_kafka_produce_records_total" {
				for _, m := range f.Metric {
					for _, l := range m.Label {
						if l.GetName() == "client" {
							by[l.GetValue()] += m.Counter.GetValue()
						}
					}
				}
			}
		}
		return by
	}
	first, second, nameless := open("gateway"), open("gateway"), open("")
	defer second.Close()
	defer nameless.Close()
	if got := produced(); len(got) != 2 || got["gateway"] != 1 || got["gateway-2"] != 1 {
		t.Errorf("got %v, want one record each of gateway and gateway-2", got)
	}
	first.Close()
	third := open("gateway")
	defer third.Close()
	if got := produced(); len(got) != 2 || got["gateway"] != 1 {
		t.Errorf("after another: got %v, want the name used again", got)
	}
}

// TestTracedHeaders proves that what a trace adds to a record stays out of records
// that share its headers, and that a record in no sampled trace carries none.
func TestTracedHeaders(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	tracing := kafka.NewTracing(provider)
	c := kafkatest.New(t).Observed(nil, tracing)
	p, err := c.NewProducer(kafka.ProducerOptions{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	// One array for all, with room behind what is used.
	shared := kafka.FrameHeaders(&message.Frame{Protocol: "rest"})
	if cap(shared) == len(shared) {
		t.Fatal("no room behind the headers: the test shows nothing")
	}
	shared[0].Value = []byte("a/1")
	unsampled := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
	contexts := []context.Context{
		in(provider, "x"), in(provider, "y"), nil, context.Background(),
		trace.ContextWithSpanContext(t.Context(), unsampled),
	}
	for _, ctx := range contexts {
		r := &kafka.Record{Topic: message.TopicIngest, Key: []byte("a"), Headers: shared, Context: ctx}
		if err := p.Produce(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	rs := kafkatest.Read(t, c, message.TopicIngest)
	var got []string
	for _, r := range rs {
		if span := tracing.Begin(r, "read"); span != nil {
			got = append(got, span.SpanContext().TraceID().String())
			span.End()
		} else if len(r.Headers) != len(shared) {
			t.Errorf("a record in no trace has the headers %v", r.Headers)
		}
	}
	var want []string
	for _, ctx := range contexts[:2] {
		want = append(want, trace.SpanContextFromContext(ctx).TraceID().String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("records are in the traces %v, want %v", got, want)
	}
	if n := len(recorder.Ended()); n != 4 {
		t.Errorf("%d spans, want one written and one read for each of 2 records", n)
	}

	marked := &kafka.Record{Headers: shared}
	tracing.Mark(contexts[0], marked)
	if len(marked.Headers) != len(shared)+1 || shared[:len(shared)+1][len(shared)].Key != "" {
		t.Errorf("marked %v, and in the shared array stands %v", marked.Headers, shared[:len(shared)+1])
	}
	var off *kafka.Tracing
	off.Mark(contexts[0], marked)
	if off.Begin(marked, "read") != nil || kafka.NewTracing(nil) != nil {
		t.Error("no tracing traces")
	}
}

func in(provider trace.TracerProvider, name string) context.Context {
	ctx, _ := provider.Tracer("test").Start(context.Background(), name)
	return ctx
}
