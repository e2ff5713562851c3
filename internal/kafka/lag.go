package kafka

import (
	"sync"
	"time"
)

// Lag knows how far a reader is behind. The zero value is ready; a nil Lag
// takes everything and knows nothing. It is safe for concurrent use.
type Lag struct {
	mu    sync.Mutex
	parts map[topicPartition]*partitionLag
}

type topicPartition struct {
	topic     string
	partition int32
}

type partitionLag struct {
	next   int64     // the first offset not handled
	end    int64     // the last stable offset seen
	oldest time.Time // the timestamp of the last record handled, or of the first polled
}

// PartitionLag is the lag of one partition.
type PartitionLag struct {
	Topic     string
	Partition int32
	// Offsets counts what is left below the last stable offset, transaction
	// markers included.
	Offsets int64
	// Since is the timestamp of the last record handled, or of the first polled
	// before any was, while Offsets is not zero: everything left is at least as
	// recent. It is zero where nothing is left.
	Since time.Time
}

// Age returns how old the last record handled is, while something is left; 0 when
// nothing is.
func (p PartitionLag) Age(now time.Time) time.Duration {
	if p.Since.IsZero() {
		return 0
	}
	return max(now.Sub(p.Since), 0)
}

func (l *Lag) part(topic string, partition int32) *partitionLag {
	if l.parts == nil {
		l.parts = make(map[topicPartition]*partitionLag)
	}
	k := topicPartition{topic, partition}
	p := l.parts[k]
	if p == nil {
		p = &partitionLag{next: -1}
		l.parts[k] = p
	}
	return p
}

func (l *Lag) stable(topic string, partition int32, end int64) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.part(topic, partition)
	p.end = max(p.end, end)
}

// begin notes where reading of a partition starts, unless that is known: what is
// polled and never handled is lag too.
func (l *Lag) begin(r *Record) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.part(r.Topic, r.Partition); p.next < 0 {
		p.next, p.oldest = r.Offset, r.Timestamp
	}
}

// advance notes that everything before at was handled, and that rs, of each
// partition at least the last one, were among it.
func (l *Lag) advance(at Offsets, rs []*Record) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic, ps := range at {
		for p, next := range ps {
			l.part(topic, p).next = next
		}
	}
	for _, r := range rs {
		if p := l.parts[topicPartition{r.Topic, r.Partition}]; p != nil {
			p.oldest = r.Timestamp
		}
	}
}

// forget drops partitions that are read by another member.
func (l *Lag) forget(parts map[string][]int32) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic, ps := range parts {
		for _, p := range ps {
			delete(l.parts, topicPartition{topic, p})
		}
	}
}

// Partitions returns the lag of every partition that was read from.
func (l *Lag) Partitions() []PartitionLag {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]PartitionLag, 0, len(l.parts))
	for k, p := range l.parts {
		lag := PartitionLag{Topic: k.topic, Partition: k.partition}
		if p.next >= 0 && p.end > p.next {
			lag.Offsets, lag.Since = p.end-p.next, p.oldest
		}
		all = append(all, lag)
	}
	return all
}
