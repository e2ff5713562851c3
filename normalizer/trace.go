package normalizer

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"sluice/internal/kafka"
	"sluice/message"
)

// spans are those of the frames of one transaction: a span lasts until readers
// can see what came of its frame.
type spans struct {
	tracing *kafka.Tracing
	mu      sync.Mutex
	open    []trace.Span
}

// frame converts a frame. If its record is in a trace, what it becomes is too, as
// children of one span: a large frame is not to make a span for each message,
// and the time until Kafka has them is that of the transaction anyway.
func (s *spans) frame(c *conversion, r *kafka.Record, f *message.Frame) {
	span := s.tracing.Begin(r, "normalize")
	if span == nil {
		c.frame(f)
		return
	}
	messages, letters := 0, 0
	emit := c.emit
	c.emit = func(o *kafka.Record) {
		if o.Topic == message.TopicDeadLetters {
			letters++
			span.AddEvent("dead letter", trace.WithAttributes(attribute.String("sluice.code", codeOf(o))))
		} else {
			messages++
		}
		s.tracing.Mark(r.Context, o)
		emit(o)
	}
	c.frame(f)
	c.emit = emit
	span.SetAttributes(
		attribute.String("messaging.kafka.consumer.group", Group),
		attribute.String("sluice.agent", f.Agent),
		attribute.String("sluice.protocol", f.Protocol),
		attribute.String("sluice.id", f.ID),
		attribute.Int("sluice.messages", messages),
		attribute.Int("sluice.dead_letters", letters),
	)
	if letters > 0 {
		span.SetStatus(codes.Error, "dead letters")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, span)
}

func codeOf(letter *kafka.Record) string {
	for _, h := range letter.Headers {
		if h.Key == message.HeaderErrorCode {
			return string(h.Value)
		}
	}
	return ""
}

// ended ends the spans of a transaction.
func (s *spans) ended(t kafka.Transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.open {
		if t.Err != nil {
			span.RecordError(t.Err)
			span.SetStatus(codes.Error, outcomeOf(t))
		}
		span.End()
	}
	clear(s.open)
	s.open = s.open[:0]
}
