package gateway

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"sluice/internal/kafka"
)

// receiving is under what the context of a record holds the span of its frame:
// from reception until Kafka has it.
type receiving struct{}

// beginTrace begins the trace of a frame, which others follow it by, if it is sampled:
// that is decided here and for all stages. What an agent says of traces is not
// asked for.
func (g *Gateway) beginTrace(r *kafka.Record, protocol, connection string) {
	ctx, span := g.tracer.Start(context.Background(), "receive",
		trace.WithTimestamp(r.Timestamp), trace.WithSpanKind(trace.SpanKindServer))
	if !span.SpanContext().IsSampled() {
		return
	}
	span.SetAttributes(
		attribute.String("messaging.system", "kafka"),
		attribute.String("messaging.destination.name", r.Topic),
		attribute.Int("messaging.message.body.size", len(r.Value)),
		attribute.String("sluice.agent", string(r.Key)),
		attribute.String("sluice.protocol", protocol),
		attribute.String("sluice.connection", connection),
		attribute.String("sluice.id", string(r.Headers[0].Value)),
	)
	r.Context = context.WithValue(ctx, receiving{}, span)
}

// endTrace ends the span that beginTrace began, if it did.
func (g *Gateway) endTrace(r *kafka.Record, err error) {
	if r.Context == nil {
		return
	}
	span, ok := r.Context.Value(receiving{}).(trace.Span)
	if !ok {
		return
	}
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, produceReason(err))
	}
	span.End(trace.WithTimestamp(g.clock()))
}
