package fleet

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"sluice/message"
)

// Forget is how long a node is kept after its last message.
const Forget = 24 * time.Hour

// maxNodes is the most nodes kept. An agent chooses the names of its nodes, so
// there has to be an end; those heard of longest ago go first.
const maxNodes = 50_000

// maxID is where the name of an agent or a node is cut, in bytes.
const maxID = 256

// Fleet is the state of all nodes. The zero value is not usable; New makes one.
type Fleet struct {
	members  map[memberID]*member
	agents   map[string]*sessions
	refusals refused
	// order is the members by name, unless unordered; then it is made again.
	order     []*member
	unordered bool
}

// memberID names a node. Two agents that speak of the same name mean two nodes:
// neither can overwrite what the other said.
type memberID struct{ agent, node string }

// member is all that is known of one node. An agent is one too, though nothing
// was said of it, for as long as it is the only one to show of that agent.
type member struct {
	memberID
	nets     []*node // by network, which is "" for a message that names none
	sessions *sessions
	// shownAgent and shownNode are what is shown of the names.
	shownAgent, shownNode string
}

// New returns an empty fleet.
func New() *Fleet {
	return &Fleet{members: make(map[memberID]*member), agents: make(map[string]*sessions), refusals: make(refused)}
}

// Apply takes one message. It keeps nothing of m.Body but texts and numbers.
func (f *Fleet) Apply(m *message.Message) {
	switch {
	case m.Type == "networking_metrics" && m.Kind == "refused":
		f.refusals.apply(m)
	case isSession(m):
		f.member(m.Agent, m.Agent).sessions.apply(m)
	default:
		f.member(m.Agent, m.Node).on(text(m.Network, maxNet)).apply(m)
	}
}

// member returns the member of that name, which it makes if need be.
func (f *Fleet) member(agent, name string) *member {
	id := memberID{clip(agent), clip(name)}
	if m := f.members[id]; m != nil {
		return m
	}
	s := f.agents[id.agent]
	if s == nil {
		s = &sessions{}
		f.agents[id.agent] = s
	}
	m := &member{memberID: id, sessions: s, shownAgent: text(id.agent, maxID), shownNode: text(id.node, maxID)}
	f.members[id] = m
	f.unordered = true
	return m
}

// on returns what is known of m on a network.
func (m *member) on(network string) *node {
	for _, n := range m.nets {
		if n.network == network {
			return n
		}
	}
	n := &node{network: network, id: rowID(m.memberID, network)}
	m.nets = append(m.nets, n)
	slices.SortFunc(m.nets, func(a, b *node) int { return cmp.Compare(a.network, b.network) })
	return n
}

// sorted returns the members by name, agent and what their names are cut from.
func (f *Fleet) sorted() []*member {
	if !f.unordered {
		return f.order
	}
	f.order = slices.SortedFunc(maps.Values(f.members), func(a, b *member) int {
		return cmp.Or(cmp.Compare(a.shownNode, b.shownNode), cmp.Compare(a.shownAgent, b.shownAgent),
			cmp.Compare(a.node, b.node), cmp.Compare(a.agent, b.agent))
	})
	f.unordered = false
	return f.order
}

// Sweep drops what no view at now or later shows. It is called now and then, to
// keep memory in bounds; views are the same without it.
func (f *Fleet) Sweep(now time.Time) {
	ms := now.UnixMilli()
	for id, m := range f.members {
		m.nets = slices.DeleteFunc(m.nets, func(n *node) bool { return forgotten(n.seen, ms) })
		if len(m.nets) == 0 && (id.agent != id.node || forgotten(m.sessions.last, ms)) {
			f.drop(id)
		}
	}
	f.evict(maxNodes)
	used := make(map[*sessions]bool, len(f.agents))
	for _, m := range f.members {
		used[m.sessions] = true
	}
	for agent, s := range f.agents {
		if s.sweep(ms); !used[s] {
			delete(f.agents, agent)
		}
	}
	f.refusals.sweep(ms)
}

// drop forgets a member.
func (f *Fleet) drop(id memberID) {
	delete(f.members, id)
	f.unordered = true
}

// evict drops the members heard of longest ago until no more than limit are
// left.
func (f *Fleet) evict(limit int) {
	if len(f.members) <= limit {
		return
	}
	byAge := slices.SortedFunc(maps.Values(f.members), func(a, b *member) int {
		return cmp.Or(cmp.Compare(a.seen(), b.seen()), cmp.Compare(a.agent, b.agent), cmp.Compare(a.node, b.node))
	})
	for _, m := range byAge[:len(byAge)-limit] {
		f.drop(m.memberID)
	}
}

// seen returns when anything was last said of m, in ms.
func (m *member) seen() int64 {
	var last int64
	if m.agent == m.node {
		last = m.sessions.last
	}
	for _, n := range m.nets {
		last = max(last, n.seen)
	}
	return last
}

// forgotten reports whether what was last heard of at seen is gone at now, both
// in ms.
func forgotten(seen, now int64) bool { return now-seen >= Forget.Milliseconds() }

func clip(s string) string { return s[:min(len(s), maxID)] }
