package main

import (
	"context"
	"fmt"

	"sluice/internal/wire"
)

// normalizer measures the normalizer on a backlog, in both encodings.
func (b *bench) normalizer(ctx context.Context) error {
	for run := range b.o.runs {
		for _, format := range []wire.Format{wire.JSON, wire.Msgpack} {
			b.say("normalizer, run %d: backlog of %d frames, %s", run+1, b.o.frames, format.ContentType())
			if err := b.with(ctx, func(s *stack) error { return b.normalizerRun(ctx, s, format, run) }); err != nil {
				return fmt.Errorf("normalizer, %s: %w", format.ContentType(), err)
			}
		}
	}
	return nil
}

func (b *bench) normalizerRun(ctx context.Context, s *stack, format wire.Format, run int) error {
	t := s.task
	t.Format = format
	parts := []string{"normalizer", "copy"}
	for _, part := range parts {
		if err := s.catchUp(ctx, part); err != nil {
			return err
		}
	}
	if err := feed(ctx, &t, b.o.frames, s.log); err != nil {
		return err
	}
	if run%2 == 1 { // neither is always the first to read
		parts[0], parts[1] = parts[1], parts[0]
	}
	found := map[string]costs{}
	for _, part := range parts {
		m, err := b.drain(ctx, s, t, part)
		if err != nil {
			return err
		}
		found[part] = m
	}
	load := fmt.Sprintf("backlog of %s %s frames, 1 %% bad", thousands(float64(b.o.frames)), format.ContentType())
	n, c := found["normalizer"], found["copy"]
	n.part.bare = n.part.cpu / c.part.cpu
	b.table.add("normalizer", "normalizer", load, n.part)
	b.table.add("normalizer", "bare copy", load, c.part)
	if n.broker.cpu > 0 {
		b.table.add("normalizer", "  broker", load, n.broker)
	}
	return nil
}

// drain measures a part that has a backlog before it. All that it uses counts,
// its start too; its rate is that from its first commit to its last.
func (b *bench) drain(ctx context.Context, s *stack, t task, name string) (m costs, err error) {
	var g group
	defer g.stop(&err)
	part, err := g.start(ctx, name, t)
	if err != nil {
		return m, err
	}
	all := []*child{part, s.broker}
	before, err := reports(all)
	if err != nil {
		return m, err
	}
	if _, err = part.begin(); err != nil {
		return m, err
	}
	first, last, err := part.until(ctx, func(r *report) bool { return r.Frames >= b.o.frames })
	if err != nil {
		return m, err
	}
	after, err := reports(all)
	if err != nil {
		return m, err
	}
	m.part = cost(before[0], last.report, float64(last.Frames))
	m.part.rate = float64(last.Frames-first.Frames) / last.at.Sub(first.at).Seconds()
	m.broker = cost(before[1], after[1], float64(last.Frames))
	return m, s.settle(ctx, part)
}
