package sinks

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"sluice/internal/kafka"
	"sluice/message"
)

// trace begins the last span of a message's trace, which lasts until the message
// is durable in the sink, failed tries included. It returns nil for a message in
// no trace. There is one span for each message and not one for the batch: it is
// the messages that are sampled, and few of a batch are.
func (r *Runner) trace(rec *kafka.Record, m *message.Message) trace.Span {
	span := r.o.Tracing.Begin(rec, "write "+r.o.Name)
	if span == nil {
		return nil
	}
	span.SetAttributes(
		attribute.String("sluice.sink", r.o.Name),
		attribute.String("sluice.type", m.Type),
		attribute.String("sluice.agent", m.Agent),
		attribute.String("sluice.id", m.ID),
	)
	if r.traits.Delivery == Shared {
		span.SetAttributes(attribute.String("messaging.kafka.consumer.group", Group(r.o.Name)))
	}
	return span
}

// failed notes a try that failed in the spans of a batch.
func (b *batch) failed(err error) {
	for _, span := range b.spans {
		if span != nil {
			span.RecordError(err)
		}
	}
}

// reject ends the span of a message that becomes a dead letter.
func reject(span trace.Span, code message.Code) {
	if span == nil {
		return
	}
	span.SetStatus(codes.Error, "dead letter")
	span.SetAttributes(attribute.String("sluice.code", string(code)))
	span.End()
}

// end ends the spans of a batch: its messages are durable, or come again.
func (b *batch) end(ctx context.Context) {
	for _, span := range b.spans {
		if span == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, "interrupted")
		}
		span.SetAttributes(attribute.Int("messaging.batch.message_count", len(b.messages)))
		span.End()
	}
	clear(b.spans)
	b.spans = b.spans[:0]
}
