package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kotel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Tracing carries traces over Kafka: a record of a trace that is sampled has the
// header traceparent, as W3C defines it, and every other record has none. A nil
// Tracing does nothing and costs nothing. It is safe for concurrent use.
type Tracing struct {
	spans *kotel.Tracer
	form  propagation.TraceContext
}

// NewTracing returns a Tracing whose spans go to provider; nil for nil.
func NewTracing(provider trace.TracerProvider) *Tracing {
	if provider == nil {
		return nil
	}
	form := propagation.TraceContext{}
	return &Tracing{kotel.NewTracer(kotel.TracerProvider(provider), kotel.TracerPropagator(form)), form}
}

// Begin begins a span for what is done with a record that was read, as a child
// of the span that the record names, and puts it into Record.Context, which has no
// deadline and does not end. It returns nil for a record that names none.
func (t *Tracing) Begin(r *Record, name string, attrs ...attribute.KeyValue) trace.Span {
	if t == nil {
		return nil
	}
	ctx := t.form.Extract(context.Background(), kotel.NewRecordCarrier(r))
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return nil
	}
	r.Context = ctx
	ctx, span := t.spans.WithProcessSpan(r)
	r.Context = ctx
	span.SetName(name)
	span.SetAttributes(attrs...)
	return span
}

// Mark puts a record that is to be written into the trace of ctx, if that is
// sampled. Other records may share the headers that r has so far: they are not
// changed.
func (t *Tracing) Mark(ctx context.Context, r *Record) {
	if t != nil && trace.SpanContextFromContext(ctx).IsSampled() {
		r.Headers = slices.Clip(r.Headers)
		t.form.Inject(ctx, kotel.NewRecordCarrier(r))
	}
}

// produced makes a span of the way of a record to Kafka, and puts it into the
// record's headers, if Record.Context is in a trace that is sampled. Without the
// condition, every record would pay for the attributes of a span it does not have.
type produced struct{ spans *kotel.Tracer }

// OnProduceRecordBuffered implements kgo.HookProduceRecordBuffered.
func (p produced) OnProduceRecordBuffered(r *kgo.Record) {
	if trace.SpanContextFromContext(r.Context).IsSampled() {
		r.Headers = slices.Clip(r.Headers)
		p.spans.OnProduceRecordBuffered(r)
	}
}

// OnProduceRecordUnbuffered implements kgo.HookProduceRecordUnbuffered. It is
// called once for each call of OnProduceRecordBuffered.
func (p produced) OnProduceRecordUnbuffered(r *kgo.Record, err error) {
	if trace.SpanContextFromContext(r.Context).IsSampled() {
		p.spans.OnProduceRecordUnbuffered(r, err)
	}
}
