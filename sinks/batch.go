package sinks

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/trace"

	"sluice/internal/kafka"
	"sluice/message"
	"sluice/schemas"
)

// batch is what Feed works with; kept from call to call for its memory.
type batch struct {
	messages []message.Message
	records  []*kafka.Record // of messages, by index
	given    []message.Message
	dead     []*kafka.Record
	codes    []message.Code // of dead, by index
	spans    []trace.Span   // of messages, by index, nil for those in no trace; empty without tracing
}

// Feed gives records of the sink's topics to the sink, in batches of at most
// Traits.Batch, and returns nil when each is durable there or stands as a dead
// letter. It goes on trying until the context ends, whose error it then
// returns: that is the only one. Calls take turns, one batch each; they begin
// once the sink is open.
func (r *Runner) Feed(ctx context.Context, records []*kafka.Record) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.opened:
	}
	for len(records) > 0 {
		n := min(len(records), r.traits.Batch)
		if err := r.feed(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func (r *Runner) feed(ctx context.Context, records []*kafka.Record) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r.turn <- struct{}{}:
	}
	b := &r.batch
	defer func() {
		b.end(ctx)
		// Nothing of the batch is kept in memory for longer than the batch.
		clear(b.messages)
		clear(b.records)
		clear(b.given)
		clear(b.dead)
		<-r.turn
	}()
	b.messages, b.records = b.messages[:0], b.records[:0]
	b.dead, b.codes = b.dead[:0], b.codes[:0]
	if err := r.read(ctx, b, records); err != nil {
		return err
	}
	if len(b.messages) > 0 {
		if err := r.write(ctx, b); err != nil {
			return err
		}
	}
	if len(b.dead) > 0 {
		if err := r.bury(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// read fills b with the messages of the records, and with a dead letter for each
// that cannot be read.
func (r *Runner) read(ctx context.Context, b *batch, records []*kafka.Record) error {
	for _, rec := range records {
		var m message.Message
		err := r.readOne(ctx, rec, &m)
		var fault *message.Fault
		switch {
		case err == nil:
			b.messages = append(b.messages, m)
			if r.o.Tracing != nil {
				b.spans = append(b.spans, r.trace(rec, &m))
			}
			b.records = append(b.records, rec)
		case errors.As(err, &fault):
			// What was read of it before the fault is not to be relied on.
			m = message.Message{}
			kafka.Message(rec, &m)
			if r.o.Tracing != nil {
				reject(r.trace(rec, &m), message.CodeUnreadable)
			}
			r.drop(b, rec, &m, message.DeadLetter{Code: message.CodeUnreadable, Field: fault.Field, Reason: fault.Reason, Attempts: 1})
		default:
			return err
		}
	}
	return nil
}

// readOne reads one record. An unknown schema is looked for until it is found.
func (r *Runner) readOne(ctx context.Context, rec *kafka.Record, m *message.Message) error {
	for tried := false; ; tried = true {
		kafka.Message(rec, m)
		err := r.o.Schemas.Read(rec.Value, m, r.traits.Bodies)
		if !errors.Is(err, schemas.ErrUnknownSchema) {
			if err == nil || errors.As(err, new(*message.Fault)) {
				return err
			}
			return &message.Fault{Code: message.CodeUnreadable, Reason: err.Error()}
		}
		if tried {
			err = fmt.Errorf("read %s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
			r.meters.failed("schema")
			if err := r.outage.failed(ctx, "find schema", err); err != nil {
				return err
			}
		}
		for {
			err := r.o.Schemas.Refresh(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.meters.failed("schema")
			if err := r.outage.failed(ctx, "read schemas", err); err != nil {
				return err
			}
		}
	}
}

// write gives the messages of b to the sink until it took them, and puts those
// that it rejected among the dead letters.
func (r *Runner) write(ctx context.Context, b *batch) error {
	for attempt := 1; ; attempt++ {
		// The sink may do with the slice what it likes; what is given in the next
		// try is what was given in the first.
		b.given = append(b.given[:0], b.messages...)
		began := r.o.Clock()
		err := r.call("write", func() error { return r.sink.Write(ctx, b.given) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.meters.seconds.Observe(r.o.Clock().Sub(began).Seconds())
		rejected, ok := []*Rejected(nil), true
		if err != nil {
			rejected, ok = Rejections(err, len(b.messages))
		}
		if ok {
			r.outage.over()
			for _, j := range rejected {
				if b.spans != nil {
					reject(b.spans[j.Index], j.code())
				}
				r.drop(b, b.records[j.Index], &b.messages[j.Index],
					message.DeadLetter{Code: j.code(), Reason: j.Reason, Attempts: attempt})
			}
			r.written(b, rejected)
			return nil
		}
		reason := "write"
		if errors.As(err, new(*panicError)) {
			reason = "panic"
		}
		r.meters.failed(reason)
		b.failed(err)
		if err := r.outage.failed(ctx, "write", err); err != nil {
			return err
		}
	}
}

// written counts what is durable in the sink.
func (r *Runner) written(b *batch, rejected []*Rejected) {
	now := r.o.Clock()
	next := 0
	for i := range b.messages {
		if next < len(rejected) && rejected[next].Index == i {
			next++
			continue
		}
		r.meters.endToEnd.Observe(now.Sub(b.messages[i].ReceivedAt).Seconds())
	}
	r.meters.written.Add(float64(len(b.messages) - len(rejected)))
}

// drop adds to b the dead letter of a record, of which d says what is wrong.
func (r *Runner) drop(b *batch, rec *kafka.Record, m *message.Message, d message.DeadLetter) {
	d.Stage = Stage(r.o.Name)
	d.ID, d.Agent, d.Index, d.Count = m.ID, string(rec.Key), m.Index, m.Count
	d.Value = rec.Value
	d.Topic, d.Partition, d.Offset = rec.Topic, rec.Partition, rec.Offset
	d.Src, d.ReceivedAt = m.Src, rec.Timestamp
	d.Network, d.Genesis = m.Network, m.Genesis
	letter := kafka.DeadLetterRecord(&d)
	letter.Context = rec.Context // the trace, if there is one
	b.dead = append(b.dead, letter)
	b.codes = append(b.codes, d.Code)
}

// Stage returns the stage that dead letters of a sink name.
func Stage(sink string) string { return "sink." + sink }

// bury writes the dead letters of b until Kafka has them.
func (r *Runner) bury(ctx context.Context, b *batch) error {
	for {
		err := r.call("write dead letters", func() error { return r.o.DeadLetters.Produce(ctx, b.dead...) })
		switch {
		case err == nil:
			r.outage.over()
			for _, code := range b.codes {
				r.meters.dead(code)
			}
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		r.meters.failed("dead_letter")
		if err := r.outage.failed(ctx, fmt.Sprintf("write %d dead letters", len(b.dead)), err); err != nil {
			return err
		}
	}
}
