package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// FollowOptions say what Follow reads.
type FollowOptions struct {
	// Range is what stands there at the start; Config.Range returns one.
	Range Range
	// Bounded ends Follow when everything below Range.End was handled; if the
	// context ends before, its error is Follow's.
	Bounded bool
	// Ready, if not nil, is called once, when everything below Range.End was
	// handled; at once where that is nothing.
	Ready func()
	// Max is the most records given to handle at once, 0 for 500.
	Max int
	// Pulse, if not nil, is told of each answer of the brokers.
	Pulse *Pulse
	// Lag, if not nil, is told of the positions.
	Lag *Lag
	// Client names the client in metrics; empty for one that has none.
	Client string
}

// Follow reads records without a group, each partition in order, and gives them
// to handle, which is called from this goroutine only. It returns nil when an
// unbounded one's context or a bounded range ends, else the error of handle or
// of the client.
func (c Config) Follow(ctx context.Context, o FollowOptions, log *slog.Logger, handle func(context.Context, []*Record) error) error {
	if o.Max == 0 {
		o.Max = 500
	}
	left := newRemainder(o.Range)
	ready := func() {
		if o.Ready != nil {
			o.Ready()
			o.Ready = nil
		}
	}
	if left.none() {
		ready()
		if o.Bounded {
			return nil
		}
	}
	ended := func() error {
		if o.Bounded {
			return ctx.Err()
		}
		return nil
	}
	cl, err := c.client(log, append(c.reading(o.Range.Start), c.observers.hooks(o.Client, false), o.Pulse.hook())...)
	if err != nil {
		return err
	}
	defer cl.Close()

	for {
		fs := cl.PollRecords(ctx, o.Max)
		if ctx.Err() != nil || fs.IsClientClosed() {
			return ended()
		}
		if err := fetchError(fs); err != nil {
			return err
		}
		rs, at := split(fs, o.Lag)
		if o.Bounded {
			rs = left.within(rs)
		}
		if len(rs) > 0 {
			if err := handle(ctx, rs); err != nil {
				if ctx.Err() != nil {
					return ended()
				}
				return err
			}
		}
		o.Lag.advance(at, rs)
		if !left.none() && left.advance(at) {
			ready()
		}
		if o.Bounded && left.none() {
			return nil
		}
	}
}

func (c Config) reading(start Offsets) []kgo.Opt {
	from := make(map[string]map[int32]kgo.Offset, len(start))
	for topic, ps := range start {
		from[topic] = make(map[int32]kgo.Offset, len(ps))
		for p, o := range ps {
			from[topic][p] = kgo.NewOffset().At(o)
		}
	}
	return append(readCommitted(), kgo.ConsumePartitions(from))
}

// readCommitted is what every reader has. Control records are kept because a
// position that does not count them never reaches the end of a topic that is
// written in transactions.
func readCommitted() []kgo.Opt {
	return []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		// Retention may have removed what a position names: go on with the oldest.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(500_000_000),
	}
}

// split returns the records of a poll without the transaction markers, and the
// position behind each partition of it.
func split(fs kgo.Fetches, lag *Lag) ([]*Record, Offsets) {
	rs := make([]*Record, 0, fs.NumRecords())
	at := Offsets{}
	fs.EachPartition(func(p kgo.FetchTopicPartition) { rs = take(rs, p, lag, at) })
	return rs, at
}

// take appends to rs the records of one partition of a poll without the
// transaction markers, and notes the position behind it in at.
func take(rs []*Record, p kgo.FetchTopicPartition, lag *Lag, at Offsets) []*Record {
	if p.Partition < 0 {
		return rs // an error of the whole poll, which franz-go puts into one
	}
	if p.LastStableOffset >= 0 {
		lag.stable(p.Topic, p.Partition, p.LastStableOffset)
	}
	if n := len(p.Records); n > 0 {
		lag.begin(p.Records[0])
		at.set(p.Topic, p.Partition, p.Records[n-1].Offset+1)
	}
	for _, r := range p.Records {
		if !r.Attrs.IsControl() {
			rs = append(rs, r)
		}
	}
	return rs
}

// fetchError returns the first error of a poll that does not mend itself.
// franz-go retries the others by itself and reports some of them too.
func fetchError(fs kgo.Fetches) error {
	for _, e := range fs.Errors() {
		var lost *kgo.ErrDataLoss
		if !fenced(e.Err) && (errors.As(e.Err, &lost) || retriable(e.Err)) {
			continue
		}
		if e.Topic == "" {
			return fmt.Errorf("consume: %w", e.Err)
		}
		return fmt.Errorf("consume %s/%d: %w", e.Topic, e.Partition, e.Err)
	}
	return nil
}

// remainder is what is left of a range: by partition, the end of it.
type remainder struct{ ends Offsets }

func newRemainder(r Range) *remainder {
	left := &remainder{Offsets{}}
	for topic, ps := range r.End {
		for p, end := range ps {
			if start, ok := r.Start[topic][p]; ok && start < end {
				left.ends.set(topic, p, end)
			}
		}
	}
	return left
}

func (l *remainder) none() bool { return len(l.ends) == 0 }

// within keeps the records that lie in the range.
func (l *remainder) within(rs []*Record) []*Record {
	kept := rs[:0]
	for _, r := range rs {
		if end, ok := l.ends[r.Topic][r.Partition]; ok && r.Offset < end {
			kept = append(kept, r)
		}
	}
	return kept
}

// advance takes off what a poll has passed, and reports whether nothing is left.
func (l *remainder) advance(at Offsets) bool {
	for topic, ps := range at {
		for p, next := range ps {
			if end, ok := l.ends[topic][p]; ok && next >= end {
				delete(l.ends[topic], p)
			}
		}
		if len(l.ends[topic]) == 0 {
			delete(l.ends, topic)
		}
	}
	return l.none()
}
