package main

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/wire"
)

// warm is how long a load goes on before what it costs is measured, and no longer
// than that is.
const warm = time.Second

// gateway measures the gateway under floods and under single frames.
func (b *bench) gateway(ctx context.Context) error {
	var shapes []shape
	for _, n := range b.o.conns {
		shapes = append(shapes, b.o.flood(n))
	}
	shapes = append(shapes, b.o.paced())
	for run := range b.o.runs {
		for _, load := range shapes {
			b.say("gateway, run %d: %s", run+1, load)
			if err := b.with(ctx, func(s *stack) error { return b.gatewayRun(ctx, s, load) }); err != nil {
				return fmt.Errorf("gateway, %s: %w", load, err)
			}
		}
	}
	return nil
}

func (b *bench) gatewayRun(ctx context.Context, s *stack, load shape) error {
	const name = "gateway"
	t := s.task
	t.Load, t.Format = load, wire.JSON
	var cost [3]sample
	for i, part := range []string{"gateway", "read", "produce"} {
		m, err := b.steady(ctx, s, t, part)
		if err != nil {
			return err
		}
		cost[i] = m.part
		if i == 0 {
			defer func() {
				b.table.add(name, "  load generator", load.String(), m.generator)
				if m.broker.cpu > 0 {
					b.table.add(name, "  broker", load.String(), m.broker)
				}
			}()
		}
	}
	cost[0].bare = cost[0].cpu / (cost[1].cpu + cost[2].cpu)
	for i, part := range []string{"gateway", "bare read", "bare produce"} {
		b.table.add(name, part, load.String(), cost[i])
	}
	return nil
}

// costs is what one measurement found.
type costs struct{ part, generator, broker sample }

// steady measures a part under a load that goes on. What was produced counts as
// done when the brokers have it, what only was read when it was read.
func (b *bench) steady(ctx context.Context, s *stack, t task, name string) (m costs, err error) {
	measured := time.Duration(b.o.seconds * float64(time.Second))
	var g group
	defer g.stop(&err)
	part, err := g.start(ctx, name, t)
	if err != nil {
		return m, err
	}
	counter := part
	var generator *child
	if name != "produce" {
		t.Addr = part.addr
		if generator, err = g.start(ctx, "load", t); err != nil {
			return m, err
		}
		if _, err = generator.begin(); err != nil {
			return m, err
		}
	} else if _, err = part.begin(); err != nil {
		return m, err
	}
	if name == "gateway" {
		counter = generator
	}
	if err := pause(ctx, min(warm, measured)); err != nil {
		return m, err
	}
	if name == "gateway" { // only a profile begins
		if _, err = part.begin(); err != nil {
			return m, err
		}
	}
	all := []*child{counter, part, generator, s.broker}
	before, err := reports(all)
	if err != nil {
		return m, err
	}
	began := time.Now()
	if err := pause(ctx, measured); err != nil {
		return m, err
	}
	after, err := reports(all)
	if err != nil {
		return m, err
	}
	took := time.Since(began).Seconds()
	frames := float64(after[0].Frames - before[0].Frames)
	if frames == 0 {
		return m, fmt.Errorf("%s: nothing was done within %s", name, measured)
	}
	m.part = cost(before[1], after[1], frames)
	m.part.rate = frames / took
	m.part.acks = float64(after[0].Acks-before[0].Acks) / frames
	m.generator = cost(before[2], after[2], frames)
	m.broker = cost(before[3], after[3], frames)
	return m, nil
}
