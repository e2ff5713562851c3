package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"time"
)

// State is how a node is doing.
type State string

// The states. A node that is not offline is online.
const (
	// OK is a node that reports and whose head is near its network's best.
	OK State = "ok"
	// Lagging is a node that reports and is syncing or more than MaxBehind
	// blocks behind.
	Lagging State = "lagging"
	// Stale is a node that said nothing for StaleAfter.
	Stale State = "stale"
	// Offline is a node whose agent has no connection any more, or, where the
	// agent never has one, that said nothing for OfflineAfter.
	Offline State = "offline"
)

// The bounds of the states.
const (
	MaxBehind    = 3
	StaleAfter   = 60 * time.Second
	OfflineAfter = 10 * time.Minute
)

// Row is one node as it is shown. Times are in ms of the gateway's clock, 0
// where unknown.
type Row struct {
	// ID is made of agent, node and network, and is the same in every process.
	ID    string `json:"id"`
	State State  `json:"state"`
	// Since is when an offline node went, Reason why, where the gateway knew.
	Since  int64  `json:"since,omitempty"`
	Reason string `json:"reason,omitempty"`
	Node   string `json:"node"`
	Agent  string `json:"agent"`
	// Name is what the node's owner calls it.
	Name    string `json:"name,omitempty"`
	Network string `json:"network,omitempty"`
	Genesis string `json:"genesis,omitempty"`
	// Chain is the Key of the node's chain; empty where the network is unknown.
	Chain  string `json:"chain,omitempty"`
	Client string `json:"client,omitempty"`
	Block  Number `json:"block"`
	Hash   string `json:"hash,omitempty"`
	// Behind is how many blocks the best of the chain is ahead; unknown of a
	// node that is offline.
	Behind  Number `json:"behind"`
	Syncing bool   `json:"syncing"`
	Peers   Number `json:"peers"`
	Pending Number `json:"pending"`
	// CPU, Memory and Disk are percentages; Disk is of the fullest file system.
	CPU    Number `json:"cpu"`
	Memory Number `json:"memory"`
	Disk   Number `json:"disk"`
	// Load is of one minute. Latency is in ms.
	Load    Number `json:"load"`
	Latency Number `json:"latency"`
	Seen    int64  `json:"seen"`

	blockAt int64
}

// Chain is one chain and how its nodes do.
type Chain struct {
	// Key names the chain: the network, and the genesis where it is known.
	Key     string `json:"key"`
	Network string `json:"network"`
	Genesis string `json:"genesis,omitempty"`
	// Label is how people call it.
	Label string `json:"label"`
	// Best is the highest head of a node that is not offline, BestAt when it was
	// first received, in ms.
	Best   Number `json:"best"`
	BestAt int64  `json:"best_at"`
	Count  Count  `json:"count"`
}

// Count is nodes by state.
type Count struct {
	OK      int `json:"ok"`
	Lagging int `json:"lagging"`
	Stale   int `json:"stale"`
	Offline int `json:"offline"`
}

// Online returns the nodes that are not offline.
func (c Count) Online() int { return c.OK + c.Lagging + c.Stale }

// Total returns all nodes.
func (c Count) Total() int { return c.Online() + c.Offline }

func (c *Count) add(s State) {
	switch s {
	case OK:
		c.OK++
	case Lagging:
		c.Lagging++
	case Stale:
		c.Stale++
	case Offline:
		c.Offline++
	}
}

// View is the whole fleet at one time.
type View struct {
	Rows    []Row     // by node, agent and network
	Chains  []Chain   // the one with the most nodes first
	Count   Count     // of Rows
	Refused []Refusal // logins refused in the last hour
}

// View returns the fleet as it is at now. It shares nothing with f.
func (f *Fleet) View(now time.Time) View {
	ms := now.UnixMilli()
	members := f.sorted()
	for _, s := range f.agents {
		s.speaks = false
	}
	for _, m := range members {
		for _, n := range m.nets {
			m.sessions.speaks = m.sessions.speaks || !forgotten(n.seen, ms)
		}
	}
	v := View{Rows: make([]Row, 0, len(members)), Refused: f.refusals.counts(ms)}
	for _, m := range members {
		v.Rows = m.rows(v.Rows, ms)
	}
	v.Chains = chains(v.Rows)
	for i := range v.Rows {
		v.Count.add(v.Rows[i].State)
	}
	return v
}

// rows appends the rows of m at now: one for each network it named, with what it
// said without naming one; one without if it never named any.
func (m *member) rows(rows []Row, now int64) []Row {
	var blank *node
	named := false
	for _, n := range m.nets {
		switch {
		case forgotten(n.seen, now):
			continue
		case n.network == "":
			blank = n // the first, as they are sorted
			continue
		case blank != nil:
			both := *n
			both.merge(blank)
			n = &both
		}
		named = true
		rows = append(rows, m.row(n, now))
	}
	switch {
	case named:
	case blank != nil:
		rows = append(rows, m.row(blank, now))
	case m.agent == m.node && !m.sessions.speaks && !forgotten(m.sessions.last, now):
		rows = append(rows, m.silent(now))
	}
	return rows
}

// row makes the row of n, all but what depends on other nodes.
func (m *member) row(n *node, now int64) Row {
	r := Row{
		ID:      n.id,
		Node:    m.shownNode,
		Agent:   m.shownAgent,
		Name:    n.info.value.name,
		Network: n.network,
		Genesis: n.genesis.value,
		Client:  n.info.value.client,
		Block:   n.head.value.number,
		Hash:    n.head.value.hash,
		Syncing: n.stats.value.syncing,
		Peers:   n.stats.value.peers,
		Pending: n.pending.value,
		CPU:     later(n.cpu, n.machine, func(m machine) Number { return m.cpu }),
		Memory:  later(n.memory, n.machine, func(m machine) Number { return m.memory }),
		Disk:    later(n.fullest(), n.machine, func(m machine) Number { return m.disk }),
		Load:    n.load.value,
		Latency: n.latency.value,
		Seen:    n.seen,
		blockAt: n.head.value.at,
	}
	if r.Block.Known && n.top.number == r.Block.Value {
		r.blockAt = n.top.at
	}
	if r.Network == "" {
		r.Network = n.info.value.network
	}
	setState(&r, m.sessions, now)
	return r
}

// silent makes the row of an agent that is, or was, connected and said nothing
// of any node.
func (m *member) silent(now int64) Row {
	s := m.sessions
	c := s.chain.value
	r := Row{
		ID: rowID(m.memberID, ""), Node: m.shownNode, Agent: m.shownAgent,
		Network: c.network, Genesis: c.genesis, Seen: s.last,
	}
	setState(&r, s, now)
	if r.State == OK && now-s.opened(now) >= StaleAfter.Milliseconds() {
		r.State = Stale
	}
	return r
}

// setState sets what follows from the times alone: Stale, Offline or, until the
// best of its chain is known, OK.
func setState(r *Row, s *sessions, now int64) {
	quiet := now - r.Seen
	// An agent without connections, or one that went on without them, is known
	// by what it sends. Frames taken before a gateway died are not that.
	connected := !forgotten(s.last, now) && r.Seen-s.last < aliveTimeout.Milliseconds()
	switch {
	case connected && !s.open(now):
		end := s.ended()
		r.State, r.Since, r.Reason = Offline, end.at, end.reason
	case !connected && quiet >= OfflineAfter.Milliseconds():
		r.State, r.Since = Offline, r.Seen
	case quiet >= StaleAfter.Milliseconds():
		r.State = Stale
	default:
		r.State = OK
	}
}

// chains finds the chains of the rows and their best blocks, and sets what of
// the rows depends on those.
func chains(rows []Row) []Chain {
	// A node that does not say where its chain begins is taken to be on the only
	// chain its network number has here; where there are several it is alone.
	genesis := make(map[string]string)
	const several = "\x00"
	for i := range rows {
		r := &rows[i]
		if r.Network == "" || r.Genesis == "" {
			continue
		}
		if g, ok := genesis[r.Network]; ok && g != r.Genesis {
			genesis[r.Network] = several
		} else {
			genesis[r.Network] = r.Genesis
		}
	}
	by := make(map[chainID]*Chain)
	ofRow := make([]*Chain, len(rows))
	for i := range rows {
		r := &rows[i]
		if r.Network == "" {
			continue
		}
		g := r.Genesis
		if g == "" && genesis[r.Network] != several {
			g = genesis[r.Network]
		}
		c := by[chainID{r.Network, g}]
		if c == nil {
			c = newChain(r.Network, g, genesis[r.Network] == several)
			by[chainID{r.Network, g}] = c
		}
		r.Chain, ofRow[i] = c.Key, c
		if r.State == Offline || !r.Block.Known {
			continue
		}
		switch {
		case !c.Best.Known || r.Block.Value > c.Best.Value:
			c.Best, c.BestAt = r.Block, r.blockAt
		case r.Block.Value == c.Best.Value:
			c.BestAt = min(c.BestAt, r.blockAt)
		}
	}
	for i := range rows {
		r := &rows[i]
		c := ofRow[i]
		if c != nil && c.Best.Known && r.Block.Known && r.State != Offline {
			r.Behind = Number{max(0, c.Best.Value-r.Block.Value), true}
		}
		if r.State == OK && (r.Syncing || r.Behind.Value > MaxBehind) {
			r.State = Lagging
		}
		if c != nil {
			c.Count.add(r.State)
		}
	}
	list := make([]Chain, 0, len(by))
	for _, c := range by {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Chain) int {
		return cmp.Or(cmp.Compare(b.Count.Total(), a.Count.Total()), cmp.Compare(a.Key, b.Key))
	})
	return list
}

// newChain returns a chain without nodes. The label tells it from another of the
// same network where there is one.
func newChain(network, genesis string, several bool) *Chain {
	c := &Chain{Key: network, Network: network, Genesis: genesis, Label: NetworkName(network)}
	if genesis != "" {
		c.Key += "/" + genesis
		if several {
			c.Label += " " + genesis[:min(len(genesis), 10)]
		}
	}
	return c
}

// rowID returns the ID of a row: 12 characters that fit a URL.
func rowID(id memberID, network string) string {
	sum := sha256.Sum256([]byte(id.agent + "\x00" + id.node + "\x00" + network))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
