package judge

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Summary is how long things took.
type Summary struct {
	N                  int
	Median, P99, Worst time.Duration
	// At is when the one that took longest was sent.
	At time.Time
}

// Summarize sums up waits.
func Summarize(ws []Wait) Summary {
	if len(ws) == 0 {
		return Summary{}
	}
	all := slices.Clone(ws)
	slices.SortFunc(all, func(a, b Wait) int { return cmp.Compare(a.For, b.For) })
	last := all[len(all)-1]
	return Summary{N: len(all), Median: all[len(all)/2].For, P99: all[len(all)*99/100].For, Worst: last.For, At: last.Sent}
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
