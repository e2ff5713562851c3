package sinks

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/kafka"
)

// broadcast feeds the sink from now − Window on, for ever, and, as soon as it
// was given what stood there at the start, from now − History up to there.
//
//	─────┬──────────────────────┬───────────────┬──────────► time of reception
//	     └─ history, bounded ──►└─ live: window, then what comes
//	               └────────── turn ───────────┘
//	                             │
//	                         Sink.Write
func (r *Runner) broadcast(ctx context.Context, lag *kafka.Lag) error {
	now := r.o.Clock()
	window := max(r.traits.Window, 0)
	live, err := r.rangeOf(ctx, now.Add(-window))
	if err != nil {
		return nil // the context has ended
	}
	behind, err := r.rangeOf(ctx, now.Add(-max(r.traits.History, window)))
	if err != nil {
		return nil
	}
	behind.End = live.Start

	g, ctx := errgroup.WithContext(ctx)
	ready := make(chan struct{})
	g.Go(func() error {
		return r.o.Kafka.Follow(ctx, kafka.FollowOptions{
			Range:  live,
			Max:    r.traits.Batch,
			Lag:    lag,
			Client: Stage(r.o.Name),
			Ready: func() {
				r.mu.Lock()
				r.reading = true
				r.mu.Unlock()
				r.log.Info("sink was given its window", "window", window)
				close(ready)
			},
		}, r.log, r.Feed)
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-ready:
		}
		err := r.o.Kafka.Follow(ctx, kafka.FollowOptions{Range: behind, Bounded: true, Max: r.traits.Batch}, r.log, r.Feed)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.caught = true
		r.mu.Unlock()
		r.log.Info("sink was given its history", "history", r.traits.History)
		return nil
	})
	return g.Wait()
}

// rangeOf returns what stands in the topics since a time. It tries until it
// succeeds; its error is that of the context.
func (r *Runner) rangeOf(ctx context.Context, since time.Time) (kafka.Range, error) {
	for {
		rng, err := r.o.Kafka.Range(ctx, since, r.log, r.topics...)
		switch {
		case err == nil:
			r.outage.over()
			return rng, nil
		case ctx.Err() != nil:
			return kafka.Range{}, ctx.Err()
		}
		r.meters.failed("kafka")
		if err := r.outage.failed(ctx, "find where to begin", err); err != nil {
			return kafka.Range{}, err
		}
	}
}
