package fleet

import (
	"cmp"
	"slices"
	"time"

	"sluice/message"
)

// refusedFor is how long a refused login is shown.
const refusedFor = time.Hour

// maxRefused is the most messages about refused logins that are kept, five
// gateways' worth of an hour.
const maxRefused = 5 * 3600

// Refusal counts the logins refused for one reason.
type Refusal struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// refusal is one message about refused logins.
type refusal struct {
	at      int64 // ms
	reasons []Refusal
}

// refused holds the messages about refused logins by their ID, so that one that
// comes twice counts once.
type refused map[string]refusal

func (r refused) apply(m *message.Message) {
	list, _ := m.Body["reasons"].([]any)
	one := refusal{at: m.ReceivedAt.UnixMilli()}
	for _, v := range list[:min(len(list), 16)] {
		b, _ := v.(map[string]any)
		n := count(b["count"])
		if reason := textOf(b["reason"], 64); reason != "" && n.Value >= 1 {
			one.reasons = append(one.reasons, Refusal{reason, int64(n.Value)})
		}
	}
	if len(r) < maxRefused && len(one.reasons) > 0 {
		r[m.ID] = one
	}
}

func (r refused) sweep(now int64) {
	for id, one := range r {
		if now-one.at >= refusedFor.Milliseconds() {
			delete(r, id)
		}
	}
}

// counts returns the logins refused in the hour before now, in ms, by reason:
// the most frequent first, and no more than 16 reasons.
func (r refused) counts(now int64) []Refusal {
	by := make(map[string]int64)
	for _, one := range r {
		if now-one.at < refusedFor.Milliseconds() {
			for _, c := range one.reasons {
				by[c.Reason] += c.Count
			}
		}
	}
	list := make([]Refusal, 0, len(by))
	for reason, n := range by {
		list = append(list, Refusal{reason, n})
	}
	slices.SortFunc(list, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return list[:min(len(list), 16)]
}
