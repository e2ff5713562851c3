package sinks

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"sluice/internal/kafka"
	"sluice/message"
)

// TestSpansOfMessages proves that each message of a sampled trace has one span,
// which tells of failed tries, of its dead letter and of an interruption, and that
// the dead letter stays in the trace.
func TestSpansOfMessages(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	tracing := kafka.NewTracing(provider)
	var letters []trace.TraceID
	g := newRig(t, Traits{}, func(o *RunnerOptions) { o.Tracing = tracing })
	g.dead.produce = func(rs []*kafka.Record) error {
		for _, r := range rs {
			letters = append(letters, trace.SpanContextFromContext(r.Context).TraceID())
		}
		return nil
	}
	if err := g.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, origin := provider.Tracer("test").Start(context.Background(), "normalize")
	// The second is in no trace, the third is rejected, the fourth is unreadable.
	traced := func() []*kafka.Record {
		rs := records("x", "x", "x", "bad")
		for _, i := range []int{0, 2, 3} {
			tracing.Mark(ctx, rs[i])
		}
		return rs
	}
	tries := 0
	g.sink.write = func(context.Context, []message.Message) error {
		if tries++; tries == 1 {
			return errDown
		}
		return &Rejected{Index: 2, Code: message.CodeUnsupported}
	}
	if err := g.Feed(t.Context(), traced()); err != nil {
		t.Fatal(err)
	}
	spans := recorder.Ended()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want 3: %v", len(spans), spans)
	}
	for _, s := range spans {
		want := struct {
			status codes.Code
			events int
		}{codes.Error, 1}
		switch id := of(s, "sluice.id"); id {
		case "a/s/0#0":
			want.status = codes.Unset
		case "a/s/3#0":
			want.events = 0 // it was never tried
		case "a/s/2#0":
		default:
			t.Errorf("span of %q", id)
		}
		if s.Name() != "write store" || s.Status().Code != want.status || len(s.Events()) != want.events || s.Parent().SpanID() != origin.SpanContext().SpanID() {
			t.Errorf("%s: %s, %v, %v, child of %v", of(s, "sluice.id"), s.Name(), s.Status(), s.Events(), s.Parent().SpanID())
		}
	}
	if len(letters) != 2 || letters[0] != origin.SpanContext().TraceID() || letters[1] != letters[0] {
		t.Errorf("dead letters are in the traces %v, want %v", letters, origin.SpanContext().TraceID())
	}

	ending, cancel := context.WithCancel(t.Context())
	g.sink.write = func(context.Context, []message.Message) error { cancel(); return nil }
	if err := g.Feed(ending, traced()[:1]); err == nil {
		t.Error("got nil from an interrupted batch")
	}
	if last := recorder.Ended(); len(last) != 4 || last[3].Status().Description != "interrupted" {
		t.Errorf("interrupted: got %v", last)
	}
}

func of(s sdk.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.AsString()
		}
	}
	return ""
}
