package judge

import (
	"cmp"

	"sluice/message"
)

// Item is one row of a table that a sink keeps.
type Item struct {
	// Key is what the table keeps it under.
	Key string
	// Latest says that it is the newest of its node and kind, and not of the
	// history.
	Latest bool

	ID, Agent, Node string
	Src             message.Source
	Index           int
	Content         Content
	Event           int64
}

// Table judges a table that holds the messages among the outcomes, which are in
// the order in which a reader sees them: each ID once, saying what was sent, and
// of each node and kind the latest.
func Table(l *Ledger, outcomes []Outcome, items []Item) *Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := newVerdict()
	want := make(map[string]*Outcome, len(outcomes))
	newest := map[kind]*Outcome{}
	for i := range outcomes {
		o := &outcomes[i]
		if o.Code != "" {
			continue
		}
		want[o.ID] = o // last write wins
		k := kind{o.Agent, o.Node, o.Content.Type, o.Content.Kind}
		if old := newest[k]; old == nil || supersedes(o, old) {
			newest[k] = o
		}
	}
	v.acknowledged(l, want)
	seen := make(map[string]bool, len(want))
	latest := map[kind]bool{}
	for i := range items {
		it := &items[i]
		k := kind{it.Agent, it.Node, it.Content.Type, it.Content.Kind}
		o := want[it.ID]
		switch {
		case it.Latest && latest[k]:
			v.add(Doubled, "item %s: a second latest of %v", it.Key, k)
		case !it.Latest && seen[it.ID]:
			v.add(Doubled, "item %s: message %s stands twice", it.Key, it.ID)
		}
		if it.Latest {
			latest[k] = true
			o = newest[k]
		} else {
			seen[it.ID] = true
		}
		switch {
		case o == nil:
			v.add(Invented, "item %s: no message %s is in Kafka", it.Key, it.ID)
		case it.Latest && it.ID != o.ID:
			v.add(Changed, "item %s: the latest is %s, want %s", it.Key, it.ID, o.ID)
		case it.Content != o.Content || it.Agent != o.Agent || it.Node != o.Node || it.Event != o.Event || it.Index != o.Index || it.Src != o.Src:
			v.add(Changed, "item %s: is %+v, want %+v", it.Key, *it, *o)
		}
	}
	for id := range want {
		if !seen[id] {
			v.add(Lost, "message %s has no item", id)
		}
	}
	for k, o := range newest {
		if !latest[k] {
			v.add(Lost, "%v has no latest item, want %s", k, o.ID)
		}
	}
	return v
}

// kind is what a table keeps one latest item of.
type kind struct{ agent, node, dataType, kind string }

// acknowledged checks that the messages of acknowledged frames are among those
// that the table must hold.
func (v *Verdict) acknowledged(l *Ledger, want map[string]*Outcome) {
	for id, f := range l.frames {
		if f.acked.IsZero() {
			continue
		}
		for i, e := range f.Elements {
			if e.Code == "" && want[message.MessageID(id, i)] == nil {
				v.add(Lost, "index %d of frame %s was acknowledged and is no message", i, id)
			}
		}
	}
}

func supersedes(a, b *Outcome) bool {
	return cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.Src.Partition, b.Src.Partition),
		cmp.Compare(a.Src.Offset, b.Src.Offset), cmp.Compare(a.Index, b.Index)) >= 0
}
