package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/internal/wire"
)

// whole measures the way from agents to typed topics.
func (b *bench) whole(ctx context.Context) error {
	for run := range b.o.runs {
		for _, n := range b.o.conns {
			load := b.o.flood(n)
			b.say("end to end, run %d: %d frames, %s", run+1, b.o.frames, load)
			if err := b.with(ctx, func(s *stack) error { return b.wholeRun(ctx, s, load) }); err != nil {
				return fmt.Errorf("end to end, %s: %w", load, err)
			}
		}
	}
	return nil
}

func (b *bench) wholeRun(ctx context.Context, s *stack, load shape) error {
	t := s.task
	t.Load, t.Format = load, wire.JSON
	t.Frames = b.o.frames / int64(load.Burst) * int64(load.Burst)
	names := []string{"gateway", "normalizer", "load"}
	ours, err := b.through(ctx, s, t, names)
	if err != nil {
		return err
	}
	bare, err := b.through(ctx, s, t, []string{"produce", "copy"})
	if err != nil {
		return err
	}
	const name = "end to end"
	sum := func(ms []sample) sample { return sample{rate: ms[0].rate, cpu: ms[0].cpu + ms[1].cpu} }
	total, least := sum(ours), sum(bare)
	total.bare = total.cpu / least.cpu
	b.table.add(name, "gateway + normalizer", load.String(), total)
	for i, part := range []string{"  gateway", "  normalizer", "  load generator", "  broker"} {
		ours[i].rate = 0
		if ours[i].cpu > 0 {
			b.table.add(name, part, load.String(), ours[i])
		}
	}
	b.table.add(name, "bare produce + copy", load.String(), least)
	return nil
}

// starters are the frames that show that a session works.
const starters = 1000

// through sends frames until the last of them is committed on its typed topic.
// The second of the parts commits, the last sends. It returns what each part
// cost, and the broker.
func (b *bench) through(ctx context.Context, s *stack, t task, names []string) (found []sample, err error) {
	if err := s.catchUp(ctx, names[1]); err != nil {
		return nil, err
	}
	var (
		g     group
		parts []*child
	)
	defer g.stop(&err)
	for _, name := range names {
		c, err := g.start(ctx, name, t)
		if err != nil {
			return nil, err
		}
		if name == "gateway" {
			t.Addr = c.addr
		}
		parts = append(parts, c)
	}
	committer, sender := parts[1], parts[len(parts)-1]
	if names[0] == "produce" {
		sender = parts[0]
		if err := feed(ctx, &t, starters, s.log); err != nil {
			return nil, err
		}
	}
	if _, err = committer.begin(); err != nil {
		return nil, err
	}
	// It has its partitions when it has committed what the gateway said of its
	// connections, or what was fed in the place of that.
	_, ready, err := committer.until(ctx, func(r *report) bool {
		return r.Own > 0 || names[0] == "produce" && r.Frames >= starters
	})
	if err != nil {
		return nil, err
	}
	base := ready.Frames
	all := append(slices.Clip(parts), s.broker)
	before, err := reports(all)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if _, err := sender.begin(); err != nil {
		return nil, err
	}
	_, last, err := committer.until(ctx, func(r *report) bool { return r.Frames-base >= t.Frames })
	if err != nil {
		rs, _ := reports(all)
		return nil, fmt.Errorf("%w; all parts: %+v", err, rs)
	}
	after, err := reports(all)
	if err != nil {
		return nil, err
	}
	for i := range all {
		found = append(found, cost(before[i], after[i], float64(t.Frames)))
	}
	found[0].rate = float64(t.Frames) / last.at.Sub(began).Seconds()
	// What the gateway says at its end is read too, before the next begins.
	for _, c := range slices.Backward(g) {
		if c == committer {
			continue
		}
		if err := c.stop(); err != nil {
			return nil, err
		}
	}
	g = group{committer}
	return found, s.settle(ctx, committer)
}
