package dashboard

import (
	"math"
	"time"

	"sluice/sinks/dashboard/fleet"
)

// rateSpan is over how many seconds the rate is taken. Two more are kept: the
// one that is not over, and one for messages still on their way.
const rateSpan = 10

// rate counts messages by the second in which the gateway received them, so that
// history read at the start does not look like traffic.
type rate struct {
	second [rateSpan + 2]int64 // which second each counts
	count  [rateSpan + 2]int64
	first  int64 // the first second counted in full, 0 before any message
}

// add counts one message received at the time at.
func (r *rate) add(at, now time.Time) {
	s := at.Unix()
	if r.first == 0 {
		r.first = now.Unix() + 1
	}
	if age := now.Unix() - s; age < 0 || age >= int64(len(r.second)) {
		return
	}
	i := int(s % int64(len(r.second)))
	if r.second[i] != s {
		r.second[i], r.count[i] = s, 0
	}
	r.count[i]++
}

// perSecond returns the messages a second, unknown in the first seconds.
func (r *rate) perSecond(now time.Time) fleet.Number {
	to := now.Unix() - 1
	from := max(to-rateSpan, r.first)
	if r.first == 0 || to-from < 2 {
		return fleet.Number{}
	}
	var n int64
	for i, s := range r.second {
		if s >= from && s < to {
			n += r.count[i]
		}
	}
	return fleet.Number{Value: math.Round(10*float64(n)/float64(to-from)) / 10, Known: true}
}
