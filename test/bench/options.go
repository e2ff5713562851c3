package main

import (
	"errors"
	"fmt"
)

// options are what the flags say.
type options struct {
	runs    int
	seconds float64
	frames  int64
	conns   []int
	window  int
	burst   int
	pace    int
	brokers []string
	profile string
	dir     string
}

func (o *options) validate() error {
	var errs []error
	for name, v := range map[string]int{"runs": o.runs, "pace": o.pace} {
		if v < 1 {
			errs = append(errs, fmt.Errorf("--%s: %d is less than 1", name, v))
		}
	}
	if o.seconds <= 0 {
		errs = append(errs, fmt.Errorf("--seconds: %v is not more than 0", o.seconds))
	}
	if len(o.conns) == 0 {
		errs = append(errs, errors.New("--conns: want at least one number"))
	}
	for _, n := range o.conns {
		if n < 1 {
			errs = append(errs, fmt.Errorf("--conns: %d is less than 1", n))
		}
	}
	if o.frames < 1000 {
		errs = append(errs, fmt.Errorf("--frames: %d is less than 1000", o.frames))
	}
	if o.window < 0 || o.burst < 0 || o.window > 0 && o.burst > o.window {
		errs = append(errs, fmt.Errorf("--window %d and --burst %d: a burst must go into a window", o.window, o.burst))
	}
	return errors.Join(errs...)
}

// flood returns the shape of a load that never rests, with so many connections:
// few that send much, or many that send little.
func (o *options) flood(conns int) shape {
	s := shape{Conns: conns, Window: 256, Burst: 64}
	if conns > 250 {
		s.Window, s.Burst = 32, 8
	}
	if o.window > 0 {
		s.Window = o.window
		s.Burst = min(s.Burst, s.Window)
	}
	if o.burst > 0 {
		s.Burst = o.burst
		s.Window = max(s.Window, s.Burst)
	}
	return s
}

// paced returns the shape of a load in which each frame comes alone, with the
// most connections.
func (o *options) paced() shape {
	most := 0
	for _, n := range o.conns {
		most = max(most, n)
	}
	return shape{Conns: most, Window: 32, Burst: 1, Rate: o.pace}
}
