package dashboard

import (
	"encoding/json"
	"fmt"
	"slices"

	"sluice/sinks/dashboard/fleet"
)

// subprotocol names version 1 of what is said on /api/v1/live: JSON in text
// messages, each an object whose t says what it is.
//
//	server: hello, snapshot in parts, then deltas; ping after 5 s of nothing,
//	        pong to ping, bye before it goes
//	client: resync for another snapshot, ping
//
// A delta holds what changed since seq-1, so a client that misses one asks for a
// resync; a snapshot with a later seq may come unasked. Both ignore messages and
// fields they do not know. Times are in ms of the server's clock.
const subprotocol = "sluice.live.v1"

// snapshotRows is the most rows in one part of a snapshot.
const snapshotRows = 2000

// hello is the first message. Numbers of nodes hold for one epoch.
type hello struct {
	T       string `json:"t"`
	Version int    `json:"v"`
	Epoch   string `json:"epoch"`
	Now     int64  `json:"now"`
	Hz      int    `json:"hz"`
}

// snapshot is one part of the whole state. The last part carries the summary.
type snapshot struct {
	T     string   `json:"t"`
	Epoch string   `json:"epoch"`
	Seq   uint64   `json:"seq"`
	Now   int64    `json:"now"`
	Part  int      `json:"part"`
	Last  bool     `json:"last"`
	Cols  []string `json:"cols"`
	Rows  [][]any  `json:"rows"`
	*summary
}

// delta is what changed: fields of nodes, nodes that are new, in the order of
// the snapshot's cols, and numbers of nodes that are gone.
type delta struct {
	T   string           `json:"t"`
	Seq uint64           `json:"seq"`
	Now int64            `json:"now"`
	Up  []map[string]any `json:"up,omitempty"`
	Add [][]any          `json:"add,omitempty"`
	Del []int            `json:"del,omitempty"`
	*summary
}

// short is a message without more to it: ping, pong and bye.
type short struct {
	T       string `json:"t"`
	Now     int64  `json:"now"`
	Code    string `json:"code,omitempty"`
	RetryMs int    `json:"retryMs,omitempty"`
}

// summary is what is not of one node.
type summary struct {
	Count   fleet.Count      `json:"count"`
	Tot     map[string]total `json:"tot"` // by the key of the chain
	Rate    fleet.Number     `json:"rate"`
	Refused []fleet.Refusal  `json:"refused"`
	Caught  bool             `json:"caught"`
}

// total is one chain.
type total struct {
	Order  int          `json:"order"` // from 0, the chain with the most nodes first
	Label  string       `json:"label"`
	Best   fleet.Number `json:"best"`
	BestAt int64        `json:"bestAt"`
}

// summarize returns the summary of p.
func summarize(p picture) *summary {
	s := &summary{Count: p.Count, Tot: make(map[string]total, len(p.Chains)), Rate: p.rate, Refused: p.Refused, Caught: p.caught}
	for i, c := range p.Chains {
		s.Tot[c.Key] = total{Order: i, Label: c.Label, Best: c.Best, BestAt: c.BestAt}
	}
	return s
}

// column is one field of a node as it is sent.
type column struct {
	key string
	of  func(*fleet.Row) any
}

// columns are the fields of a node, after its number. How far it is behind is
// left out: a browser computes it, or every new block would change every node.
var columns = []column{
	{"key", func(r *fleet.Row) any { return r.ID }},
	{"st", func(r *fleet.Row) any { return r.State }},
	{"node", func(r *fleet.Row) any { return r.Node }},
	{"sub", func(r *fleet.Row) any { return subtitle(r) }},
	{"chain", func(r *fleet.Row) any { return r.Chain }},
	{"net", func(r *fleet.Row) any { return fleet.NetworkName(r.Network) }},
	{"client", func(r *fleet.Row) any { return r.Client }},
	{"short", func(r *fleet.Row) any { return fleet.ShortClient(r.Client) }},
	{"blk", func(r *fleet.Row) any { return r.Block }},
	{"hash", func(r *fleet.Row) any { return r.Hash }},
	{"peers", func(r *fleet.Row) any { return r.Peers }},
	{"pend", func(r *fleet.Row) any { return r.Pending }},
	{"cpu", func(r *fleet.Row) any { return r.CPU }},
	{"mem", func(r *fleet.Row) any { return r.Memory }},
	{"disk", func(r *fleet.Row) any { return r.Disk }},
	{"seen", func(r *fleet.Row) any { return r.Seen }},
	{"why", func(r *fleet.Row) any { return because(r) }},
}

// columnKeys returns the cols of a snapshot.
func columnKeys() []string {
	keys := []string{"id"}
	for _, c := range columns {
		keys = append(keys, c.key)
	}
	return keys
}

// values returns the node called id, in the order of columnKeys.
func values(id int, r *fleet.Row) []any {
	list := make([]any, 0, len(columns)+1)
	list = append(list, id)
	for _, c := range columns {
		list = append(list, c.of(r))
	}
	return list
}

// changes returns the fields in which a node called id differs, nil for none.
func changes(id int, old, r *fleet.Row) map[string]any {
	if *old == *r {
		return nil
	}
	var up map[string]any
	for _, c := range columns {
		if v := c.of(r); v != c.of(old) {
			if up == nil {
				up = map[string]any{"id": id}
			}
			up[c.key] = v
		}
	}
	return up
}

// parts cuts rows into the parts of a snapshot, at least one.
func parts(epoch string, seq uint64, p picture, ids map[string]int) []snapshot {
	var list []snapshot
	cols := columnKeys()
	add := func(rows []fleet.Row) {
		s := snapshot{T: "snapshot", Epoch: epoch, Seq: seq, Now: p.now.UnixMilli(), Part: len(list), Cols: cols, Rows: make([][]any, len(rows))}
		for i := range rows {
			s.Rows[i] = values(ids[rows[i].ID], &rows[i])
		}
		list = append(list, s)
	}
	for rows := range slices.Chunk(p.Rows, snapshotRows) {
		add(rows)
	}
	if len(list) == 0 {
		add(nil)
	}
	last := &list[len(list)-1]
	last.Last, last.summary = true, summarize(p)
	return list
}

// request is a message of a client.
type request struct {
	T string `json:"t"`
}

// parseRequest reads a message of a client. Fields it does not know are ignored.
func parseRequest(b []byte) (request, error) {
	var r request
	if err := json.Unmarshal(b, &r); err != nil {
		return request{}, fmt.Errorf("read a message of a viewer: %w", err)
	}
	return r, nil
}
