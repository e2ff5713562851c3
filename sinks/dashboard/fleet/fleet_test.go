package fleet

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"sluice/message"
)

// t0 is the gateway's clock when the tests begin.
var t0 = time.UnixMilli(1_764_000_000_000)

// at returns t0 and s seconds.
func at(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }

type body = map[string]any

// feed makes messages with rising places in ingest.
type feed struct{ offset int64 }

func (f *feed) msg(agent, kind string, s float64, b body) message.Message {
	f.offset++
	typ := map[string]string{
		"information": "ethereum_metrics", "block": "ethereum_metrics", "pending": "ethereum_metrics", "statistics": "ethereum_metrics",
		"cpu": "system_metrics", "memory": "system_metrics", "disk": "system_metrics", "load": "system_metrics", "machine": "system_metrics",
		"latency": "networking_metrics", "connected": "networking_metrics", "alive": "networking_metrics",
		"disconnected": "networking_metrics", "refused": "networking_metrics",
	}[kind]
	if kind == "machine" {
		kind = "statistics"
	}
	return message.Message{
		ID: fmt.Sprintf("%s/s/%d#0", agent, f.offset), Agent: agent, Node: agent, Type: typ, Kind: kind,
		ReceivedAt: at(s), Src: message.Source{Offset: f.offset}, Body: b,
	}
}

// on returns m as said of a chain.
func on(m message.Message, network, genesis string) message.Message {
	m.Network, m.Genesis = network, genesis
	return m
}

// view applies the messages and returns the view at s.
func view(s float64, list ...message.Message) View {
	f := New()
	for i := range list {
		f.Apply(&list[i])
	}
	return f.View(at(s))
}

func block(n int64) body {
	return body{"number": n, "hash": fmt.Sprintf("0x%x", n), "historic": nil}
}
func link(id string) body { return body{"connection": id, "protocol": "websocket"} }
func unlink(id, why string) body {
	return body{"connection": id, "protocol": "websocket", "reason": why}
}

func TestState(t *testing.T) {
	var f feed
	tests := []struct {
		name   string
		list   []message.Message
		at     float64
		want   State
		reason string
	}{
		{name: "rest reports", list: []message.Message{f.msg("a", "load", 0, nil)}, at: 59, want: OK},
		{name: "rest quiet for a minute", list: []message.Message{f.msg("a", "load", 0, nil)}, at: 60, want: Stale},
		{name: "rest quiet for nearly ten minutes", list: []message.Message{f.msg("a", "load", 0, nil)}, at: 599, want: Stale},
		{name: "rest quiet for ten minutes", list: []message.Message{f.msg("a", "load", 0, nil)}, at: 600, want: Offline},
		{name: "connected just now", list: []message.Message{f.msg("a", "connected", 0, link("1"))}, at: 1, want: OK},
		{name: "connected and silent", list: []message.Message{f.msg("a", "connected", 0, link("1")), f.msg("a", "alive", 60, link("1"))}, at: 61, want: Stale},
		{name: "alive but quiet", list: []message.Message{f.msg("a", "load", 0, nil), f.msg("a", "alive", 55, link("1"))}, at: 70, want: Stale},
		{name: "disconnected", list: []message.Message{f.msg("a", "connected", 0, link("1")), f.msg("a", "load", 1, nil), f.msg("a", "disconnected", 2, unlink("1", "closed"))}, at: 3, want: Offline, reason: "closed"},
		{name: "one of two disconnected", list: []message.Message{f.msg("a", "connected", 0, link("1")), f.msg("a", "connected", 1, link("2")), f.msg("a", "load", 1, nil), f.msg("a", "disconnected", 2, unlink("1", "closed"))}, at: 3, want: OK},
		{name: "alive after its end", list: []message.Message{f.msg("a", "load", 1, nil), f.msg("a", "disconnected", 2, unlink("1", "closed")), f.msg("a", "alive", 1, link("1"))}, at: 3, want: Offline, reason: "closed"},
		{name: "draining", list: []message.Message{f.msg("a", "load", 1, nil), f.msg("a", "disconnected", 2, unlink("1", "draining"))}, at: 31, want: OK},
		{name: "drained and not back", list: []message.Message{f.msg("a", "load", 1, nil), f.msg("a", "disconnected", 2, unlink("1", "draining"))}, at: 32, want: Offline, reason: "draining"},
		{name: "two alives missed", list: []message.Message{f.msg("a", "load", 15, nil), f.msg("a", "alive", 0, link("1"))}, at: 59, want: OK},
		{name: "three alives missed", list: []message.Message{f.msg("a", "load", 15, nil), f.msg("a", "alive", 0, link("1"))}, at: 60, want: Offline},
		{name: "goes on by rest", list: []message.Message{f.msg("a", "disconnected", 0, unlink("1", "closed")), f.msg("a", "load", 300, nil)}, at: 301, want: OK},
		{name: "syncing", list: []message.Message{f.msg("a", "statistics", 0, body{"peers": int64(3), "syncing": true})}, at: 1, want: Lagging},
		{name: "syncing but gone", list: []message.Message{f.msg("a", "statistics", 0, body{"syncing": true}), f.msg("a", "disconnected", 1, unlink("1", "closed"))}, at: 2, want: Offline, reason: "closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := view(tt.at, tt.list...)
			if len(v.Rows) != 1 {
				t.Fatalf("rows: got %d, want 1: %+v", len(v.Rows), v.Rows)
			}
			if r := v.Rows[0]; r.State != tt.want || r.Reason != tt.reason {
				t.Errorf("state: got %s %q, want %s %q", r.State, r.Reason, tt.want, tt.reason)
			}
			want := Count{}
			want.add(tt.want)
			if v.Count != want {
				t.Errorf("count: got %+v, want %+v", v.Count, want)
			}
		})
	}
}

func TestLagging(t *testing.T) {
	var f feed
	on1 := func(agent string, n int64, genesis string) message.Message {
		return on(f.msg(agent, "block", 0, block(n)), "1", genesis)
	}
	tests := []struct {
		name   string
		list   []message.Message
		want   map[string]State
		behind map[string]Number
	}{
		{
			name: "three behind is near", list: []message.Message{on1("a", 100, "0xd4"), on1("b", 97, "0xd4"), on1("c", 96, "0xd4")},
			want: map[string]State{"a": OK, "b": OK, "c": Lagging}, behind: map[string]Number{"a": {0, true}, "b": {3, true}, "c": {4, true}},
		},
		{
			name: "two chains of one number", list: []message.Message{on1("a", 1000, "0xd4"), on1("b", 5, "0xee")},
			want: map[string]State{"a": OK, "b": OK}, behind: map[string]Number{"a": {0, true}, "b": {0, true}},
		},
		{
			name: "genesis unknown joins the only chain", list: []message.Message{on1("a", 1000, "0xd4"), on1("b", 5, "")},
			want: map[string]State{"a": OK, "b": Lagging}, behind: map[string]Number{"a": {0, true}, "b": {995, true}},
		},
		{
			name: "genesis unknown among several stays alone", list: []message.Message{on1("a", 1000, "0xd4"), on1("b", 900, "0xee"), on1("c", 5, "")},
			want: map[string]State{"a": OK, "b": OK, "c": OK}, behind: map[string]Number{"a": {0, true}, "b": {0, true}, "c": {0, true}},
		},
		{
			name: "network unknown is compared with none", list: []message.Message{on1("a", 1000, "0xd4"), f.msg("b", "block", 0, block(5))},
			want: map[string]State{"a": OK, "b": OK}, behind: map[string]Number{"a": {0, true}, "b": {}},
		},
		{
			name: "network of information", list: []message.Message{on1("a", 1000, ""), f.msg("b", "block", 0, block(5)), f.msg("b", "information", 0, body{"net": "1"})},
			want: map[string]State{"a": OK, "b": Lagging}, behind: map[string]Number{"a": {0, true}, "b": {995, true}},
		},
		{
			name: "who is gone is not the best", list: []message.Message{on1("a", 1000, ""), f.msg("a", "disconnected", 1, unlink("1", "closed")), on1("b", 5, "")},
			want: map[string]State{"a": Offline, "b": OK}, behind: map[string]Number{"a": {}, "b": {0, true}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, behind := map[string]State{}, map[string]Number{}
			for _, r := range view(2, tt.list...).Rows {
				got[r.Node], behind[r.Node] = r.State, r.Behind
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("states: got %v, want %v", got, tt.want)
			}
			if !reflect.DeepEqual(behind, tt.behind) {
				t.Errorf("behind: got %v, want %v", behind, tt.behind)
			}
		})
	}
}

func TestFields(t *testing.T) {
	var f feed
	v := view(10,
		on(f.msg("a", "block", 1, block(21)), "1", "0xd4"),
		on(f.msg("a", "block", 3, block(21)), "1", "0xd4"),
		on(f.msg("a", "block", 4, body{"number": int64(7), "hash": "0x7", "historic": true}), "1", "0xd4"),
		on(f.msg("a", "information", 1, body{"name": "my \x00node\u202e", "node": "Geth/v1.17.10-stable/linux-amd64/go1.26.8", "net": "1"}), "1", ""),
		on(f.msg("a", "statistics", 1, body{"peers": int64(0), "syncing": nil}), "1", ""),
		on(f.msg("a", "pending", 1, body{"pending": int64(12)}), "1", ""),
		f.msg("a", "machine", 1, body{"cpu_load": 99.0, "memory_usage": 1.96, "disk_usage": nil}),
		f.msg("a", "cpu", 2, body{"usage": 12.34, "cores": int32(4)}),
		f.msg("a", "disk", 2, body{"mount": "/", "usage": 40.0}),
		f.msg("a", "disk", 2, body{"mount": "/data", "usage": 91.25}),
		f.msg("a", "load", 2, body{"load1": 0.456}),
		f.msg("a", "latency", 5, body{"latency": 14.0}),
	)
	if len(v.Rows) != 1 || len(v.Chains) != 1 {
		t.Fatalf("got %d rows and %d chains, want 1 and 1: %+v", len(v.Rows), len(v.Chains), v)
	}
	want := Row{
		ID: v.Rows[0].ID, State: OK, Node: "a", Agent: "a", Name: "my ?node", Network: "1", Genesis: "0xd4", Chain: "1/0xd4",
		Client: "Geth/v1.17.10-stable/linux-amd64/go1.26.8", Block: Number{21, true}, Hash: "0x15", Behind: Number{0, true},
		Peers: Number{0, true}, Pending: Number{12, true}, CPU: Number{12.3, true}, Memory: Number{2, true}, Disk: Number{91.3, true},
		Load: Number{0.46, true}, Latency: Number{14, true}, Seen: at(5).UnixMilli(), blockAt: at(1).UnixMilli(),
	}
	if got := v.Rows[0]; got != want {
		t.Errorf("row:\n got %+v\nwant %+v", got, want)
	}
	wantChain := Chain{Key: "1/0xd4", Network: "1", Genesis: "0xd4", Label: "mainnet", Best: Number{21, true}, BestAt: at(1).UnixMilli(), Count: Count{OK: 1}}
	if got := v.Chains[0]; got != wantChain {
		t.Errorf("chain:\n got %+v\nwant %+v", got, wantChain)
	}
}

func TestHostileFields(t *testing.T) {
	var f feed
	v := view(1,
		f.msg("a", "block", 0, body{"number": int64(1) << 60, "hash": 5}),
		f.msg("a", "statistics", 0, body{"peers": int64(-1), "syncing": "yes"}),
		f.msg("a", "cpu", 0, body{"usage": 1e300}),
		f.msg("a", "memory", 0, nil),
		f.msg("a", "refused", 0, body{"reasons": []any{nil, 7, body{"reason": "", "count": int64(2)}}}),
	)
	want := Row{ID: v.Rows[0].ID, State: OK, Node: "a", Agent: "a", Seen: t0.UnixMilli(), blockAt: t0.UnixMilli()}
	if got := v.Rows[0]; got != want {
		t.Errorf("row:\n got %+v\nwant %+v", got, want)
	}
	if len(v.Refused) != 0 {
		t.Errorf("refused: got %v, want none", v.Refused)
	}
}

func TestOneNodeOfTwoAgents(t *testing.T) {
	var f feed
	a, b := f.msg("a", "block", 0, block(1)), f.msg("b", "block", 0, block(2))
	a.Node, b.Node = "n", "n"
	v := view(1, a, b)
	if len(v.Rows) != 2 || v.Rows[0].Block.Value != 1 || v.Rows[1].Block.Value != 2 {
		t.Errorf("got %+v, want two rows, with block 1 and block 2", v.Rows)
	}
}

func TestForgotten(t *testing.T) {
	var f feed
	day := Forget.Seconds()
	list := []message.Message{f.msg("a", "load", 0, nil), f.msg("b", "alive", 0, link("1")), f.msg("c", "load", 10, nil)}
	if got := view(day-1, list...).Count; got != (Count{Offline: 3}) {
		t.Errorf("before a day: got %+v, want 3 offline", got)
	}
	if got := view(day, list...).Count; got != (Count{Offline: 1}) {
		t.Errorf("after a day: got %+v, want 1 offline", got)
	}
}

func TestRefused(t *testing.T) {
	var f feed
	no := func(s float64, reason string, n int64) message.Message {
		return f.msg("gateway", "refused", s, body{"reasons": []any{body{"reason": reason, "count": n}}})
	}
	twice := no(1, "bad_token", 2)
	list := []message.Message{no(0, "bad_token", 5), twice, twice, no(2, "banned", 1), no(3, "bad_token", 1)}
	v := view(3600, list...)
	if want := []Refusal{{"bad_token", 3}, {"banned", 1}}; !reflect.DeepEqual(v.Refused, want) {
		t.Errorf("refused: got %v, want %v", v.Refused, want)
	}
	if len(v.Rows) != 0 {
		t.Errorf("rows: got %v, want none: nobody logged in", v.Rows)
	}
}

// TestAnyOrder holds that neither order nor repetition nor sweeping in between
// changes a view.
func TestAnyOrder(t *testing.T) {
	const end = 900
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		list := randomMessages(rnd, 120, end)
		want := view(end, list...)
		if len(want.Rows) < 3 || len(want.Chains) < 2 {
			t.Fatalf("seed %d: got %d rows and %d chains, the test proves nothing", seed, len(want.Rows), len(want.Chains))
		}
		for range 12 {
			f := New()
			again := append([]message.Message{}, list...)
			for range 40 {
				again = append(again, list[rnd.IntN(len(list))])
			}
			rnd.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
			for i := range again {
				f.Apply(&again[i])
				if rnd.IntN(30) == 0 {
					f.Sweep(at(end))
				}
			}
			if got := f.View(at(end)); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: a view depends on the order of messages:\n got %+v\nwant %+v", seed, got, want)
			}
		}
	}
}

// randomMessages returns n messages received in the seconds before end.
func randomMessages(rnd *rand.Rand, n int, end float64) []message.Message {
	var f feed
	kinds := []string{"information", "block", "block", "pending", "statistics", "cpu", "memory", "disk", "load", "machine", "latency", "connected", "alive", "disconnected", "refused"}
	list := make([]message.Message, n)
	for i := range list {
		pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
		kind := kinds[rnd.IntN(len(kinds))]
		b := body{
			"number": int64(rnd.IntN(12)), "hash": pick("0x1", "0x2"), "historic": rnd.IntN(6) == 0, "name": pick("x", "y"), "node": pick("Geth/v1", "Besu/v2"),
			"net": pick("1", "5"), "pending": int64(rnd.IntN(9)), "peers": int64(rnd.IntN(9)), "syncing": rnd.IntN(4) == 0,
			"usage": float64(rnd.IntN(120)), "mount": pick("/", "/a", "/b"), "load1": rnd.Float64(), "latency": rnd.Float64(),
			"cpu_load": float64(rnd.IntN(120)), "connection": pick("1", "2", "3"), "reason": pick("closed", "draining"),
			"reasons": []any{body{"reason": pick("bad_token", "banned"), "count": int64(1 + rnd.IntN(3))}},
		}
		// Many at the same time, so that the place in ingest has to decide.
		m := f.msg(pick("a", "b", "c", "d"), kind, end-float64(rnd.IntN(9)*rnd.IntN(100)), b)
		m.Node = pick(m.Agent, m.Agent, "n")
		if !isSession(&m) && rnd.IntN(2) == 0 {
			m.ObservedAt = m.ReceivedAt.Add(-time.Duration(rnd.IntN(3)) * time.Second)
		}
		m.Src = message.Source{Partition: int32(rnd.IntN(3)), Offset: int64(rnd.IntN(1000))<<20 | f.offset}
		m.Index = rnd.IntN(3)
		list[i] = on(m, pick("", "1", "1337"), pick("", "0xd4", "0xee"))
	}
	return list
}

func TestEvict(t *testing.T) {
	var f feed
	fl := New()
	for i := range 10 {
		m := f.msg(fmt.Sprint("n", i), "load", float64(i), nil)
		fl.Apply(&m)
	}
	fl.evict(4)
	v := fl.View(at(10))
	if len(v.Rows) != 4 || v.Rows[0].Node != "n6" {
		t.Errorf("got %+v, want the 4 heard of last", v.Rows)
	}
}

func TestDisksAreBounded(t *testing.T) {
	var f feed
	var list []message.Message
	for i := range 2 * maxMounts {
		list = append(list, f.msg("a", "disk", float64(i)/10, body{"mount": fmt.Sprint("/", i), "usage": float64(100 - i/2)}))
	}
	want := view(20, list...)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if got := view(20, list...); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := want.Rows[0].Disk; got != (Number{float64(100 - maxMounts/2), true}) {
		t.Errorf("disk: got %v, want the fullest of the latest %d", got, maxMounts)
	}
}

func TestStampIsSupersedes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	list := randomMessages(rnd, 60, 100)
	for i := range list {
		for j := range list {
			a, b := &list[i], &list[j]
			if got, want := stampOf(a).supersedes(stampOf(b)), a.Supersedes(b); got != want {
				t.Fatalf("%+v over %+v: got %v, want %v", a, b, got, want)
			}
		}
	}
}

func TestShortClient(t *testing.T) {
	tests := []struct{ name, want string }{
		{"Geth/v1.17.10-stable/linux-amd64/go1.26.8", "Geth 1.17.10"},
		{"Geth/my name/v1.13.0-stable/linux", "Geth 1.13.0"},
		{"Nethermind/v1.25.4+20b10b35/linux-x64/dotnet8.0.1", "Nethermind 1.25.4"},
		{"OpenEthereum//v3.3.0-stable/x86_64", "OpenEthereum 3.3.0"},
		{"besu/v24.1.0/linux-x86_64", "besu 24.1.0"},
		{"", ""},
		{"/", ""},
		{"plain", "plain"},
		{"a/v", "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ShortClient(tt.name); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzText(f *testing.F) {
	f.Add("eu-west-1", 4)
	f.Add("\x00\u202e<img>\xff", 8)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 {
			return
		}
		if got := text(s, limit); len(got) > limit {
			t.Errorf("text(%q, %d): got %d bytes", s, limit, len(got))
		}
		ShortClient(s)
	})
}

func BenchmarkView(b *testing.B) {
	var f feed
	fl := New()
	for i := range 10_000 {
		name := fmt.Sprint("node-", i)
		for _, m := range []message.Message{
			on(f.msg(name, "block", 0, block(int64(i))), "1", "0xd4"),
			f.msg(name, "cpu", 0, body{"usage": 1.0}),
			f.msg(name, "alive", 0, link(name)),
		} {
			fl.Apply(&m)
		}
	}
	for b.Loop() {
		fl.View(at(1))
	}
}
