package fleet

import (
	"time"

	"sluice/message"
)

// stamp is what orders two messages about the same thing.
type stamp struct {
	event int64 // ms
	src   message.Source
	index int32
}

// stampOf returns the stamp of m.
func stampOf(m *message.Message) stamp {
	return stamp{event: m.EventTime().UnixMilli(), src: m.Src, index: int32(m.Index)}
}

// supersedes asks message.Supersedes, so that the rule stands in one place.
func (s stamp) supersedes(old stamp) bool {
	a := message.Message{ReceivedAt: time.UnixMilli(s.event), Src: s.src, Index: int(s.index)}
	b := message.Message{ReceivedAt: time.UnixMilli(old.event), Src: old.src, Index: int(old.index)}
	return a.Supersedes(&b)
}

// fact is the latest of what was said about one thing.
type fact[T any] struct {
	known bool
	at    stamp
	value T
}

// put takes v if nothing later is known.
func (f *fact[T]) put(at stamp, v T) {
	if !f.known || at.supersedes(f.at) {
		*f = fact[T]{known: true, at: at, value: v}
	}
}

// merge takes o if it is later.
func (f *fact[T]) merge(o fact[T]) {
	if o.known {
		f.put(o.at, o.value)
	}
}
