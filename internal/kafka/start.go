package kafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Start is where a consumer group begins in a topic for which it has committed
// nothing yet. The zero Start is the oldest record.
type Start struct {
	latest bool
	ago    time.Duration
}

// ParseStart reads "earliest", "latest" or a negative duration such as -24h,
// which is that long before now by the time of reception.
func ParseStart(s string) (Start, error) {
	switch s {
	case "", "earliest":
		return Start{}, nil
	case "latest":
		return Start{latest: true}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d >= 0 {
		return Start{}, errors.New("want earliest, latest or a time before now such as -24h")
	}
	return Start{ago: -d}, nil
}

// String returns what ParseStart reads.
func (s Start) String() string {
	switch {
	case s.latest:
		return "latest"
	case s.ago > 0:
		return fmt.Sprintf("-%s", s.ago)
	}
	return "earliest"
}

func (s Start) offset(now time.Time) kgo.Offset {
	switch {
	case s.latest:
		return kgo.NewOffset().AtEnd()
	case s.ago > 0:
		return kgo.NewOffset().AfterMilli(now.Add(-s.ago).UnixMilli())
	}
	return kgo.NewOffset().AtStart()
}
