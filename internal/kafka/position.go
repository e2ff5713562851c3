package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Offsets is a position in topics: by topic and partition, the offset of the
// next record to read.
type Offsets map[string]map[int32]int64

func (o Offsets) set(topic string, partition int32, offset int64) {
	ps := o[topic]
	if ps == nil {
		ps = make(map[int32]int64)
		o[topic] = ps
	}
	ps[partition] = offset
}

// Range is what stands in topics: every record from Start up to, and without,
// End.
type Range struct{ Start, End Offsets }

// Range returns what a read_committed reader can read of the topics now: from
// the first record received at or after since, or from the very first for the
// zero time, to the last stable offset.
func (c Config) Range(ctx context.Context, since time.Time, log *slog.Logger, topics ...string) (Range, error) {
	cl, err := c.client(log)
	if err != nil {
		return Range{}, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)

	var start kadm.ListedOffsets
	if since.IsZero() {
		start, err = adm.ListStartOffsets(ctx, topics...)
	} else {
		start, err = adm.ListOffsetsAfterMilli(ctx, since.UnixMilli(), topics...)
	}
	if err == nil {
		err = start.Error()
	}
	if err != nil {
		return Range{}, fmt.Errorf("list start offsets: %w", err)
	}
	end, err := adm.ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = end.Error()
	}
	if err != nil {
		return Range{}, fmt.Errorf("list end offsets: %w", err)
	}
	r := Range{Start: Offsets{}, End: Offsets{}}
	start.Each(func(o kadm.ListedOffset) { r.Start.set(o.Topic, o.Partition, o.Offset) })
	end.Each(func(o kadm.ListedOffset) { r.End.set(o.Topic, o.Partition, o.Offset) })
	return r, nil
}

// Committed returns the offsets that a consumer group has committed.
func (c Config) Committed(ctx context.Context, group string, log *slog.Logger) (Offsets, error) {
	cl, err := c.client(log)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	fetched, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
	if err == nil {
		err = fetched.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	at := Offsets{}
	fetched.Each(func(o kadm.OffsetResponse) { at.set(o.Topic, o.Partition, o.At) })
	return at, nil
}
