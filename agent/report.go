package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// Collector takes samples of one thing.
type Collector interface {
	// Name is what logs call it.
	Name() string
	// Period is the time from one Collect to the next, more than 0.
	Period() time.Duration
	// Collect hands each message of one sample to emit, and returns what kept it
	// from making others. It is called right away and then once a period, never
	// twice at a time, and must return soon after ctx ends.
	Collect(ctx context.Context, emit func(Message)) error
}

// Report runs collectors until ctx ends, and sends what they collect through c:
// the messages of one Collect are one frame. A collector that fails is logged
// once, until it works again, and keeps no other from working.
//
// A sample that finds the buffer full is not taken, and counted in
// Client.Skipped: what is in the buffer is older and was promised before.
func Report(ctx context.Context, c *Client, collectors []Collector, logger *slog.Logger) error {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	var g errgroup.Group
	for _, collector := range collectors {
		r := &reporter{client: c, collector: collector, log: logger}
		g.Go(func() error { return r.run(ctx) })
	}
	return g.Wait()
}

// Skipped returns how many samples Report did not take because the buffer was
// full.
func (c *Client) Skipped() uint64 {
	c.buffer.mu.Lock()
	defer c.buffer.mu.Unlock()
	return c.buffer.counts.skipped
}

// reporter runs one collector.
type reporter struct {
	client    *Client
	collector Collector
	log       *slog.Logger
	failing   bool
	skipping  bool
}

func (r *reporter) run(ctx context.Context) error {
	if r.collector.Period() <= 0 {
		return fmt.Errorf("collector %s has no period", r.collector.Name())
	}
	tick := time.NewTicker(r.collector.Period())
	defer tick.Stop()
	for {
		if err := r.once(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// once takes one sample. It returns an error only when there is no use in
// another.
func (r *reporter) once(ctx context.Context) error {
	var sample []Message
	err := r.collector.Collect(ctx, func(m Message) { sample = append(sample, m) })
	if ctx.Err() != nil {
		return nil // what was collected meanwhile may be half a sample
	}
	sent := r.client.TrySend(sample...)
	var large *TooLarge
	if errors.As(sent, &large) && len(sample) > 1 {
		sent = nil
		for _, m := range sample {
			sent = errors.Join(sent, r.client.TrySend(m))
		}
	}
	switch {
	case errors.Is(sent, ErrClosed):
		if ctx.Err() != nil {
			return nil // the client was told to stop in the same moment
		}
		return fmt.Errorf("report %s: %w", r.collector.Name(), ErrClosed)
	case errors.Is(sent, ErrFull):
		r.skip()
	default:
		err = errors.Join(err, sent)
		r.skipping = r.skipping && sent != nil
	}
	if err != nil && !r.failing {
		r.log.Warn("collector does not work", "err", fmt.Errorf("%s: %w", r.collector.Name(), err))
	}
	if err == nil && r.failing {
		r.log.Info("collector works again", "path", r.collector.Name())
	}
	r.failing = err != nil
	return nil
}

// skip counts a sample not taken, and logs the first of a row.
func (r *reporter) skip() {
	b := r.client.buffer
	b.mu.Lock()
	b.counts.skipped++
	b.mu.Unlock()
	if !r.skipping {
		r.log.Warn("samples are skipped", "err", fmt.Errorf("%s: %w", r.collector.Name(), ErrFull))
	}
	r.skipping = true
}
