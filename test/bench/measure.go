package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// bench runs cases and gathers what they cost.
type bench struct {
	o     options
	table table
	log   *slog.Logger
	out   io.Writer // progress
	load  []float64 // of the machine, before each run
	own   *stack    // where the brokers were named
}

// with calls f with a stack: one of its own, or the one there is.
func (b *bench) with(ctx context.Context, f func(*stack) error) (err error) {
	b.load = append(b.load, loadAverage())
	if b.own != nil {
		return f(b.own)
	}
	s, err := newStack(ctx, &b.o, b.log)
	if err != nil {
		return err
	}
	if len(s.task.Dir) == 0 {
		b.own = s
		return f(s)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return f(s)
}

func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.out, format+"\n", args...)
}

// reports asks parts; one that is nil has done nothing.
func reports(parts []*child) ([]report, error) {
	rs := make([]report, len(parts))
	for i, c := range parts {
		if c == nil {
			continue
		}
		var err error
		if rs[i], err = c.report(); err != nil {
			return nil, err
		}
	}
	return rs, nil
}

func cost(before, after report, frames float64) sample {
	return sample{cpu: (after.CPU - before.CPU) / frames * 1e6, peak: float64(after.Peak) / (1 << 20)}
}
