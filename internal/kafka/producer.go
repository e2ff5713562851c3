package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Record is franz-go's own: the hot paths build records in blocks, and a copy
// between two forms would cost as much as the rest of the path.
type Record = kgo.Record

// Header is one header of a Record.
type Header = kgo.RecordHeader

// ErrFull says that the producer holds as much as it may and did not take the
// record.
var ErrFull = kgo.ErrMaxBuffered

// The largest batch, and so record, in bytes that sluice sends or allows a
// topic to take. A dead letter is its frame and more headers.
const (
	MaxMessage    = 4 << 20
	MaxDeadLetter = 5 << 20
)

// Producer writes records with acks=all, idempotently.
type Producer struct{ cl *kgo.Client }

// ProducerOptions bound a Producer. The zero value has the defaults.
type ProducerOptions struct {
	// Linger is how long a batch waits for more; the zero value is 2 ms, a
	// negative one 0.
	Linger time.Duration
	// MaxRecords and MaxBytes are what may be buffered; 0 for 20,000 and 64 MiB.
	MaxRecords, MaxBytes int
	// Uncompressed turns compression off, whatever is configured.
	Uncompressed bool
	// Client names the client in metrics; empty for one that has none.
	Client string
}

// NewProducer returns a Producer. It connects with the first record.
func (c Config) NewProducer(o ProducerOptions, log *slog.Logger) (*Producer, error) {
	if o.Linger == 0 {
		o.Linger = 2 * time.Millisecond
	}
	if o.MaxRecords == 0 {
		o.MaxRecords = 20_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Uncompressed {
		c.Compression = "none"
	}
	cl, err := c.client(log,
		kgo.ProducerLinger(max(o.Linger, 0)),
		c.compressed(),
		kgo.ProducerBatchMaxBytesFn(maxBytes),
		kgo.MaxBufferedRecords(o.MaxRecords),
		kgo.MaxBufferedBytes(o.MaxBytes),
		// A topic that is not there yet, or not there for a moment, is waited for.
		kgo.UnknownTopicRetries(-1),
		c.observers.hooks(o.Client, true),
	)
	if err != nil {
		return nil, err
	}
	return &Producer{cl}, nil
}

// TryProduce offers a record and returns at once. The promise is called exactly
// once, never from inside TryProduce: with ErrFull if the record was not taken,
// with nil when every in-sync replica has it, or with the error after which its
// fate is unknown. Promises of one partition are called in order, and all of
// them from one goroutine: a promise must not block. Whoever must know at once
// whether a record was taken keeps count below MaxRecords and MaxBytes.
func (p *Producer) TryProduce(r *Record, promise func(*Record, error)) {
	p.cl.TryProduce(context.Background(), r, promise)
}

// Produce writes records and returns when every in-sync replica has all of them.
func (p *Producer) Produce(ctx context.Context, rs ...*Record) error {
	if err := p.cl.ProduceSync(ctx, rs...).FirstErr(); err != nil {
		return fmt.Errorf("produce to %s: %w", rs[0].Topic, err)
	}
	return nil
}

// Flush returns when no record is buffered, or with the context's error.
func (p *Producer) Flush(ctx context.Context) error {
	if err := p.cl.Flush(ctx); err != nil {
		return fmt.Errorf("flush kafka producer: %w", err)
	}
	return nil
}

// Close fails what is still buffered and lets the connections go.
func (p *Producer) Close() { p.cl.Close() }

// IsTerminal reports whether the same record would fail again for ever: it is
// larger than its topic takes.
func IsTerminal(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge)
}
