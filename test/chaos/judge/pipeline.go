package judge

import (
	"cmp"
	"slices"

	"sluice/message"
)

// Ingested is one record of the ingest topic.
type Ingested struct {
	Src       message.Source
	ID, Agent string
	// Own says that the gateway made it: no agent's ledger has it.
	Own bool
	// Contents is what the bytes say, index by index, read without sluice.
	Contents []Content
}

// Outcome is one record of a typed topic or a dead letter of the normalizer.
type Outcome struct {
	Topic     string
	Partition int32
	Offset    int64

	ID, Agent, Node string
	Src             message.Source
	Index, Count    int
	// Code is that of a dead letter, empty for a message.
	Code    message.Code
	Content Content
	// Event is the event time of a message in milliseconds, which is that of its
	// reception where Content has none.
	Event int64
}

// Pipeline judges what stands in Kafka: all of ingest, and all outcomes in the
// order in which a read_committed reader sees them.
func Pipeline(l *Ledger, ingest []Ingested, outcomes []Outcome) *Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := newVerdict()
	taken := v.ingest(l, ingest)
	v.once(l, taken, outcomes)
	v.order(l, outcomes)
	return v
}

// ingest holds the records of ingest to the ledger, and returns them by place.
func (v *Verdict) ingest(l *Ledger, ingest []Ingested) map[message.Source]*Ingested {
	taken := make(map[message.Source]*Ingested, len(ingest))
	seen := make(map[string]bool, len(l.frames))
	for i := range ingest {
		r := &ingest[i]
		if taken[r.Src] != nil {
			v.add(Doubled, "the reader saw %s of ingest twice", r.Src)
		}
		taken[r.Src] = r
		seen[r.ID] = true
		f := l.frames[r.ID]
		switch {
		case r.Own:
		case f == nil:
			v.add(Invented, "ingest %s: nobody sent frame %s", r.Src, r.ID)
		case f.refused:
			v.add(Invented, "ingest %s: frame %s was refused", r.Src, r.ID)
		case r.Agent != f.Agent:
			v.add(Changed, "ingest %s: frame %s is %s's, was sent by %s", r.Src, r.ID, r.Agent, f.Agent)
		case !slices.EqualFunc(r.Contents, f.Elements, func(c Content, e Element) bool { return c == e.Content }):
			v.add(Changed, "ingest %s: frame %s says %v, sent was %v", r.Src, r.ID, r.Contents, f.Elements)
		}
	}
	for id, f := range l.frames {
		if !f.acked.IsZero() && !seen[id] {
			v.add(Lost, "frame %s was acknowledged and is not in ingest", id)
		}
	}
	return taken
}

// once checks that each ingest record has one outcome for each of its indexes,
// and the one that its frame must have.
func (v *Verdict) once(l *Ledger, taken map[message.Source]*Ingested, outcomes []Outcome) {
	type place struct {
		src   message.Source
		index int
	}
	have := make(map[place]bool, len(outcomes))
	counts := make(map[message.Source]int, len(taken))
	for i := range outcomes {
		o := &outcomes[i]
		at := place{o.Src, o.Index}
		if have[at] {
			v.add(Doubled, "%s/%d@%d: ingest %s index %d has an outcome already", o.Topic, o.Partition, o.Offset, o.Src, o.Index)
		}
		have[at] = true
		if n, ok := counts[o.Src]; ok && n != o.Count {
			v.add(Changed, "%s/%d@%d: ingest %s has %d outcomes, or %d", o.Topic, o.Partition, o.Offset, o.Src, o.Count, n)
		}
		counts[o.Src] = o.Count
		r := taken[o.Src]
		if r == nil {
			v.add(Invented, "%s/%d@%d: no ingest record stands at %s", o.Topic, o.Partition, o.Offset, o.Src)
			continue
		}
		v.fate(l.frames[r.ID], r, o)
	}
	for src, r := range taken {
		n, ok := counts[src]
		if !ok {
			v.add(Lost, "ingest %s: frame %s has no outcome", src, r.ID)
			continue
		}
		if f := l.frames[r.ID]; f != nil && n != len(f.Elements) {
			v.add(Changed, "ingest %s: frame %s has %d outcomes, sent were %d elements", src, r.ID, n, len(f.Elements))
		}
		for i := range n {
			if !have[place{src, i}] {
				v.add(Lost, "ingest %s: index %d of %d of frame %s has no outcome", src, i, n, r.ID)
			}
		}
	}
}

// fate holds one outcome to what was sent; f is nil for a frame of the gateway's
// own, and for one that nobody sent.
func (v *Verdict) fate(f *Frame, r *Ingested, o *Outcome) {
	if want := message.MessageID(r.ID, o.Index); o.ID != want || o.Agent != r.Agent {
		v.add(Changed, "%s/%d@%d: is %s of %s, want %s of %s", o.Topic, o.Partition, o.Offset, o.ID, o.Agent, want, r.Agent)
	}
	if f == nil {
		return
	}
	if o.Index < 0 || o.Index >= len(f.Elements) {
		v.add(Invented, "%s/%d@%d: frame %s has no index %d", o.Topic, o.Partition, o.Offset, f.ID, o.Index)
		return
	}
	e := f.Elements[o.Index]
	topic := message.TopicDeadLetters
	if e.Code == "" {
		topic = message.Topic(e.Type)
	}
	switch {
	case o.Code != e.Code || o.Topic != topic:
		v.add(Changed, "%s/%d@%d: index %d of frame %s is %q on this topic, want %q on %s", o.Topic, o.Partition, o.Offset, o.Index, f.ID, o.Code, e.Code, topic)
	case o.Content != e.Content:
		v.add(Changed, "%s/%d@%d: index %d of frame %s says %v, sent was %v", o.Topic, o.Partition, o.Offset, o.Index, f.ID, o.Content, e.Content)
	}
}

// order checks that on each topic the outcomes of an agent follow their places in
// ingest, and the frames of a stream the order in which they were sent. A frame
// that was sent again stands again, later; its first place counts.
func (v *Verdict) order(l *Ledger, outcomes []Outcome) {
	type row struct{ topic, of string }
	last := map[row]*Outcome{}
	next := map[row]uint64{}
	first := map[string]bool{}
	for i := range outcomes {
		o := &outcomes[i]
		agent := row{o.Topic, o.Agent}
		if p := last[agent]; p != nil {
			switch {
			case p.Partition != o.Partition || p.Src.Partition != o.Src.Partition:
				v.add(Disordered, "%s: agent %s stands on partitions %d and %d, from %d and %d of ingest", o.Topic, o.Agent, p.Partition, o.Partition, p.Src.Partition, o.Src.Partition)
			case cmp.Or(cmp.Compare(p.Src.Offset, o.Src.Offset), cmp.Compare(p.Index, o.Index)) >= 0:
				v.add(Disordered, "%s/%d@%d: ingest %s index %d of agent %s comes after %s index %d", o.Topic, o.Partition, o.Offset, o.Src, o.Index, o.Agent, p.Src, p.Index)
			}
		}
		last[agent] = o
		if first[o.ID] {
			continue
		}
		first[o.ID] = true
		f := l.frames[frameOf(o)]
		if f == nil {
			continue
		}
		stream := row{o.Topic, f.Stream}
		if f.Seq < next[stream] {
			v.add(Disordered, "%s/%d@%d: frame %s comes after number %d of %s", o.Topic, o.Partition, o.Offset, f.ID, next[stream], f.Stream)
		}
		next[stream] = f.Seq
	}
}

// frameOf returns the frame's ID that a message ID begins with.
func frameOf(o *Outcome) string {
	for i := len(o.ID) - 1; i >= 0; i-- {
		if o.ID[i] == '#' {
			return o.ID[:i]
		}
	}
	return o.ID
}
