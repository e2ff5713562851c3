package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// frame is any message of the server, as a browser reads it.
type frame struct {
	T       string
	V       int
	Epoch   string
	Seq     uint64
	Now     int64
	Part    int
	Last    bool
	Cols    []string
	Rows    [][]any
	Up      []map[string]any
	Add     [][]any
	Del     []int
	Count   *struct{ OK, Lagging, Stale, Offline int }
	Caught  bool
	Code    string
	RetryMs int
}

// watcher is a page without a browser: it keeps the state as a page does.
type watcher struct {
	t     *testing.T
	conn  *websocket.Conn
	cols  []string
	nodes map[int]map[string]any
	seq   uint64
	whole int // snapshots so far
	gaps  int
}

// origin returns the headers of a page of this very server.
func (b *bench) origin() http.Header { return http.Header{"Origin": {b.url("")}} }

// watch connects a page.
func (b *bench) watch() *watcher {
	b.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{subprotocol}, EnableCompression: true, HandshakeTimeout: patience}
	conn, _, err := d.Dial("ws"+strings.TrimPrefix(b.url("/api/v1/live"), "http"), b.origin())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	w := &watcher{t: b.t, conn: conn}
	if f := w.read(); f.T != "hello" || f.V != 1 || f.Epoch == "" || f.Now == 0 {
		b.t.Fatalf("first message: got %+v, want hello", f)
	}
	w.until("a snapshot", func() bool { return w.whole > 0 })
	return w
}

// read returns the next message.
func (w *watcher) read() frame {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	_, b, err := w.conn.ReadMessage()
	if err != nil {
		w.t.Fatalf("read: %v", err)
	}
	return decode[frame](w.t, string(b))
}

// step takes the next message into the state.
func (w *watcher) step() frame {
	w.t.Helper()
	f := w.read()
	node := func(row []any) {
		n := map[string]any{}
		for i, key := range w.cols {
			n[key] = row[i]
		}
		w.nodes[int(n["id"].(float64))] = n
	}
	switch f.T {
	case "snapshot":
		if f.Part == 0 {
			w.nodes, w.cols = map[int]map[string]any{}, f.Cols
		}
		for _, row := range f.Rows {
			node(row)
		}
		if f.Last {
			w.seq, w.whole = f.Seq, w.whole+1
		}
	case "delta":
		if f.Seq != w.seq+1 {
			w.gaps++
		}
		w.seq = f.Seq
		for _, up := range f.Up {
			maps.Copy(w.nodes[int(up["id"].(float64))], up)
		}
		for _, row := range f.Add {
			node(row)
		}
		for _, id := range f.Del {
			delete(w.nodes, id)
		}
	}
	return f
}

// until reads until ok is true.
func (w *watcher) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !ok(); w.step() {
		if time.Now().After(end) {
			w.t.Fatalf("waited %s for %s; state: %v", patience, what, w.nodes)
		}
	}
}

// block returns the block of a node, -1 where there is none.
func (w *watcher) block(name string) int {
	for _, n := range w.nodes {
		if v, ok := n["blk"].(float64); ok && n["node"] == name {
			return int(v)
		}
	}
	return -1
}

func TestLive(t *testing.T) {
	b := newBench(t, nil)
	b.write(b.block("a", 1))
	w := b.watch()
	if w.block("a") != 1 || len(w.nodes) != 1 {
		t.Fatalf("snapshot: got %v, want a at 1", w.nodes)
	}
	b.write(b.block("a", 2))
	w.until("block 2", func() bool { return w.block("a") == 2 })
	b.write(b.block("b", 7))
	w.until("a new node", func() bool { return w.block("b") == 7 })
	late := b.watch() // gets the same state though it comes late
	if !reflect.DeepEqual(late.nodes, w.nodes) {
		t.Errorf("a page that comes late: got %v, want %v", late.nodes, w.nodes)
	}
	if w.gaps != 0 || w.whole != 1 {
		t.Errorf("got %d gaps and %d snapshots, want 0 and 1", w.gaps, w.whole)
	}
}

func TestDeltaHoldsOnlyChanges(t *testing.T) {
	b := newBench(t, nil)
	b.write(b.block("a", 1), b.block("b", 1))
	w := b.watch()
	b.write(b.block("a", 2))
	for {
		f := w.step()
		if f.T != "delta" || len(f.Up) == 0 {
			continue
		}
		for key := range f.Up[0] {
			if key != "id" && key != "blk" && key != "hash" && key != "seen" {
				t.Errorf("the delta holds %s, which did not change", key)
			}
		}
		if len(f.Up) != 1 || f.Add != nil {
			t.Errorf("got %+v, want a alone", f)
		}
		return
	}
}

func TestResync(t *testing.T) {
	b := newBench(t, nil)
	b.write(b.block("a", 1))
	w := b.watch()
	for _, s := range []string{`{"t":"no such thing","x":[1]}`, `{"t":"resync","why":"gap"}`} {
		if err := w.conn.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	w.until("a second snapshot", func() bool { return w.whole == 2 })
	if w.block("a") != 1 {
		t.Errorf("got %v, want a at 1", w.nodes)
	}
	if err := w.conn.WriteMessage(websocket.TextMessage, []byte(`{"t":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	for f := w.step(); f.T != "pong"; f = w.step() {
	}
}

func TestBrokenRequest(t *testing.T) {
	b := newBench(t, nil)
	w := b.watch()
	if err := w.conn.WriteMessage(websocket.TextMessage, []byte("[")); err != nil {
		t.Fatal(err)
	}
	for {
		_ = w.conn.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := w.conn.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
				t.Errorf("got %v, want close 1003", err)
			}
			return
		}
	}
}

func TestSnapshotInParts(t *testing.T) {
	b := newBench(t, nil)
	const n = 2*snapshotRows + 1
	for i := range n {
		b.write(b.block(fmt.Sprintf("n%d", i), int64(i)))
	}
	w := b.watch()
	if len(w.nodes) != n {
		t.Errorf("got %d nodes, want %d", len(w.nodes), n)
	}
}

func TestBye(t *testing.T) {
	b := newBench(t, nil)
	w := b.watch()
	b.shut()
	for f := w.step(); ; f = w.step() {
		if f.T == "bye" {
			if f.Code != "restart" || f.RetryMs <= 0 {
				t.Errorf("got %+v, want a restart and when to retry", f)
			}
			break
		}
	}
	if _, _, err := w.conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("after bye: got %v, want close 1012", err)
	}
}

func TestWhoMayConnect(t *testing.T) {
	b := newBench(t, nil)
	host := b.Addr().String()
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		origin []string
		host   string
		status int
	}{
		{"own", []string{"http://" + host}, "", 101},
		{"own by name", []string{"http://localhost:" + port}, "localhost:" + port, 101},
		{"absent", nil, "", 403},
		{"twice", []string{"http://" + host, "http://" + host}, "", 403},
		{"null", []string{"null"}, "", 403},
		{"evil", []string{"http://evil.example"}, "", 403},
		{"name before", []string{"http://" + host + ".evil.example"}, "", 403},
		{"another port", []string{"http://127.0.0.1:1"}, "", 403},
		{"another name of this machine", []string{"http://localhost:" + port}, "", 403},
		{"another scheme", []string{"file://" + host}, "", 403},
		{"rebound", []string{"http://evil.example:" + port}, "evil.example:" + port, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.origin != nil {
				h["Origin"] = tt.origin
			}
			if tt.host != "" {
				h.Set("Host", tt.host)
			}
			d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: patience}
			conn, res, err := d.Dial("ws://"+host+"/api/v1/live", h)
			if err == nil {
				_ = conn.Close()
			}
			if res == nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status {
				t.Errorf("got %d, want %d", res.StatusCode, tt.status)
			}
		})
	}
	t.Run("another subprotocol", func(t *testing.T) {
		d := websocket.Dialer{Subprotocols: []string{"sluice.live.v9"}, HandshakeTimeout: patience}
		conn, _, err := d.Dial("ws://"+host+"/api/v1/live", b.origin())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseProtocolError) {
			t.Errorf("got %v, want close 1002", err)
		}
	})
}

func TestMaxViewers(t *testing.T) {
	b := newBench(t, func(s *Settings) { s.MaxViewers = 1 })
	w := b.watch()
	d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: patience}
	dial := func() (int, error) {
		conn, res, err := d.Dial("ws"+strings.TrimPrefix(b.url("/api/v1/live"), "http"), b.origin())
		if err == nil {
			_ = conn.Close()
		}
		if res == nil {
			return 0, err
		}
		return res.StatusCode, nil
	}
	if got, err := dial(); got != 503 {
		t.Errorf("second page: got %d, %v, want 503", got, err)
	}
	_ = w.conn.Close()
	await(t, "the place to be free", func() bool { got, _ := dial(); return got == 101 })
}

// TestSlowViewer holds that a page that falls behind gets the state and not what
// it missed. Time is the hub's own, so nothing has to be waited for.
func TestSlowViewer(t *testing.T) {
	b := newBench(t, nil)
	b.write(b.block("a", 1))
	slow, fast := &viewer{wake: make(chan struct{}, 1)}, &viewer{wake: make(chan struct{}, 1)}
	h := newHub(b.settings, func() picture { b.shown.now = time.Time{}; return b.picture() }, b.hub.meters)
	for _, v := range []*viewer{slow, fast} {
		if ok, err := h.join(v); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if list, _, err := h.take(v); len(list) != 1 || err != nil {
			t.Fatalf("first take: got %d messages, %v, want the snapshot", len(list), err)
		}
	}
	now := time.Now()
	for i := range 100 {
		b.write(b.block("a", int64(i+2)))
		if err := h.tick(now.Add(time.Duration(i) * 100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if list, _, err := h.take(fast); len(list) != 1 || err != nil {
			t.Fatalf("update %d: the fast page got %d messages, %v, want 1", i, len(list), err)
		}
		if len(slow.queue) > 21 {
			t.Fatalf("update %d: %d messages wait for the slow page, which is more than 2 s", i, len(slow.queue))
		}
	}
	if !slow.whole || slow.queue != nil {
		t.Fatalf("the slow page has %d messages waiting, want none and a snapshot due", len(slow.queue))
	}
	if list, _, err := h.take(slow); len(list) != 1 || len(h.whole) != 1 || list[0] != h.whole[0] || err != nil {
		t.Errorf("the slow page takes %d messages, %v, want the snapshot alone", len(list), err)
	}
}

// TestStuckViewer holds that a page that reads nothing is closed, and that the
// others do not notice it.
func TestStuckViewer(t *testing.T) {
	b := newBench(t, nil)
	b.hub.writeWait = 100 * time.Millisecond // nobody looks yet
	for i := range snapshotRows {
		b.write(b.block(fmt.Sprintf("%0100d", i), int64(i)))
	}
	d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: patience}
	stuck, _, err := d.Dial("ws"+strings.TrimPrefix(b.url("/api/v1/live"), "http"), b.origin())
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	w := b.watch()
	viewers := func() int {
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		return len(b.hub.viewers)
	}
	await(t, "both pages to be there", func() bool { return viewers() == 2 })
	await(t, "the stuck page to be closed", func() bool {
		_ = stuck.WriteMessage(websocket.TextMessage, []byte(`{"t":"resync"}`))
		return viewers() == 1
	})
	b.write(b.block("a", 7))
	w.until("the update", func() bool { return w.block("a") == 7 })
	if w.whole != 1 || w.gaps != 0 {
		t.Errorf("the other page got %d snapshots and %d gaps, want 1 and 0", w.whole, w.gaps)
	}
}

func TestPingWhenIdle(t *testing.T) {
	b := newBench(t, nil)
	b.write(b.block("a", 1))
	v := &viewer{wake: make(chan struct{}, 1)}
	p := b.picture()
	h := newHub(b.settings, func() picture { return p }, b.hub.meters)
	if ok, err := h.join(v); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, err := h.take(v); err != nil {
		t.Fatal(err)
	}
	now, seq := time.Now(), h.seq
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{idlePing - time.Second, 0}, {idlePing + time.Second, 1}, {idlePing + 2*time.Second, 0}, {2*idlePing + 2*time.Second, 1}} {
		if err := h.tick(now.Add(tt.after)); err != nil {
			t.Fatal(err)
		}
		if list, _, _ := h.take(v); len(list) != tt.want {
			t.Errorf("after %s: got %d messages, want %d", tt.after, len(list), tt.want)
		}
	}
	if h.seq != seq {
		t.Errorf("a ping took a seq: got %d, want %d", h.seq, seq)
	}
}

func TestForgottenNodeIsDeleted(t *testing.T) {
	b := newBench(t, nil)
	b.write(b.block("a", 1), b.block("b", 1))
	p := b.picture()
	h := newHub(b.settings, func() picture { return p }, b.hub.meters)
	if err := h.update(time.Now()); err != nil {
		t.Fatal(err)
	}
	p.Rows = p.Rows[1:]
	v := &viewer{wake: make(chan struct{}, 1)}
	h.viewers[v] = true
	if err := h.tick(time.Now()); err != nil {
		t.Fatal(err)
	}
	if len(h.ids) != 1 || len(v.queue) != 1 {
		t.Errorf("got %d numbers and %d messages, want 1 and 1", len(h.ids), len(v.queue))
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"t":"resync"}`))
	f.Add([]byte(`{"t":"ping","x":[{}]}`))
	f.Add([]byte("[\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := parseRequest(b)
		if err == nil && !json.Valid(b) {
			t.Errorf("took %q, which is no JSON", b)
		}
		if err != nil && errors.Unwrap(err) == nil {
			t.Errorf("%v does not wrap its cause", err)
		}
	})
}
