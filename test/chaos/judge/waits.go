package judge

import (
	"fmt"
	"slices"
	"time"
)

// Summary is how long things took.
type Summary struct {
	N                  int
	Median, P99, Worst time.Duration
}

// Summarize sums up waits.
func Summarize(ws []Wait) Summary {
	if len(ws) == 0 {
		return Summary{}
	}
	all := make([]time.Duration, len(ws))
	for i, w := range ws {
		all[i] = w.For
	}
	slices.Sort(all)
	return Summary{N: len(all), Median: all[len(all)/2], P99: all[len(all)*99/100], Worst: all[len(all)-1]}
}

// String returns the figures in milliseconds.
func (s Summary) String() string {
	return fmt.Sprintf("median %d ms, p99 %d ms, worst %d ms of %d", s.Median.Milliseconds(), s.P99.Milliseconds(), s.Worst.Milliseconds(), s.N)
}

// Between returns the waits of what was sent from one time up to another; a zero
// time is no bound.
func Between(ws []Wait, from, to time.Time) []Wait {
	var some []Wait
	for _, w := range ws {
		if !w.Sent.Before(from) && (to.IsZero() || w.Sent.Before(to)) {
			some = append(some, w)
		}
	}
	return some
}
