package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sluice/internal/kafka"
	"sluice/internal/wire"
	"sluice/message"
	"sluice/normalizer/decode"
	"sluice/schemas"
)

// TestMain lets the parts that a test starts be this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == partCommand {
		if err := command(os.Stdin, os.Stdout).Execute(); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestSenderIsUnderstood has gorilla read what a sender writes, and the sender
// what gorilla writes.
func TestSenderIsUnderstood(t *testing.T) {
	const burst = 5
	got := make(chan string, 1000)
	upgrader := websocket.Upgrader{Subprotocols: []string{"sluice.v1.json"}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = ws.Close() }()
		if want := "Bearer " + token(3); r.Header.Get("Authorization") != want {
			t.Errorf("got authorization %q, want %q", r.Header.Get("Authorization"), want)
		}
		say := func(kind int, text string) {
			if err := ws.WriteMessage(kind, []byte(text)); err != nil {
				t.Error(err)
			}
		}
		for n := 0; n <= burst; n++ {
			_, b, err := ws.ReadMessage()
			if err != nil {
				t.Error(err)
				return
			}
			got <- string(b)
			if n == 0 {
				// Long enough for a length of two bytes.
				say(websocket.TextMessage, `{"welcome":{"agent":"`+strings.Repeat("a", 128)+`","limits":{"frame":262144,"window":8}}}`)
			}
		}
		say(websocket.PingMessage, "")
		say(websocket.TextMessage, `{"ack":{"seq":5}}`)
	}))
	defer srv.Close()

	s, err := dial(t.Context(), &task{
		Addr: srv.Listener.Addr().String(), Format: wire.JSON, Load: shape{Conns: 1, Window: 32, Burst: burst},
	}, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.conn.Close() }()
	if err := s.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if s.window != 8 {
		t.Errorf("got a window of %d, want the gateway's 8", s.window)
	}
	if hello := <-got; !strings.Contains(hello, `"next":1`) {
		t.Errorf("got %q, want a hello", hello)
	}
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	if !s.full() {
		t.Errorf("5 of 8 are unanswered, and 5 more go into the window")
	}
	if seq, err := s.readAck(); err != nil || seq != burst {
		t.Errorf("got ack %d, %v, want %d", seq, err, burst)
	}
	m := newMix(3, wire.JSON)
	for n := range burst {
		// Frames differ in the time at which they were made only.
		if got, want := withoutTime(<-got), withoutTime(string(m.next())); got != want {
			t.Errorf("frame %d: got %q, want %q", n, got, want)
		}
	}
}

func withoutTime(s string) string {
	before, rest, _ := strings.Cut(s, `"time":`)
	_, after, _ := strings.Cut(rest, ",")
	before2, rest, _ := strings.Cut(before+after, `"timestamp":`)
	_, after, _ = strings.Cut(rest, ",")
	return before2 + after
}

func TestFramesLengths(t *testing.T) {
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		b := appendFrame(nil, bytes.Repeat([]byte{'x'}, size), 0xdeadbeef)
		head := 6
		switch {
		case size > 65535:
			head = 14
		case size > 125:
			head = 8
		}
		if got, want := len(b), head+size; got != want {
			t.Errorf("%d bytes: got a frame of %d, want %d", size, got, want)
		}
	}
}

// TestFramesAreGood says that the mix has the size of reference loads, and that
// the normalizer makes one message of each frame, but a dead letter of a bad one.
func TestFramesAreGood(t *testing.T) {
	types, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []wire.Format{wire.JSON, wire.Msgpack} {
		decoder := decode.Default(wire.DefaultLimits)["websocket"]
		convert := func(value []byte) error {
			items, err := decoder(&message.Frame{
				Agent: agentName(7), Protocol: "websocket", ContentType: format.ContentType(), Value: value,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(items) != 1 || items[0].Fault != nil || !items[0].HasTime {
				t.Fatalf("got %+v, want one item with a time", items)
			}
			it := items[0]
			_, unknown, err := types.Type(it.Type).Append(nil, &schemas.Head{ID: "x", Agent: agentName(7)}, it.Kind, it.Format, it.Body)
			if unknown > 0 {
				t.Errorf("%d fields of a %s are unknown", unknown, it.Kind)
			}
			return err
		}
		m := newMix(7, format)
		for range 9 {
			if err := convert(m.next()); err != nil {
				t.Errorf("%s: %v", format.ContentType(), err)
			}
		}
		if err := convert(m.bad()); err == nil {
			t.Errorf("%s: a bad frame converts", format.ContentType())
		}
	}
	if got := meanSize(wire.JSON); got < 400 || got > 450 {
		t.Errorf("got a mean frame of %d bytes, want about 423", got)
	}
}

func TestPeak(t *testing.T) {
	if got := peak(); got < 1<<20 || got > 1<<34 {
		t.Errorf("got %d bytes, want those of a Go program", got)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"none", nil, 0},
		{"one", []float64{4}, 4},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{8, 1, 2, 4}, 3},
	} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	var tab table
	tab.add("gateway", "gateway", "2 conns", sample{rate: 1234567, cpu: 3, peak: 99})
	tab.add("gateway", "bare read", "2 conns", sample{rate: 5, cpu: 1})
	tab.add("gateway", "gateway", "2 conns", sample{rate: 999, cpu: 2, peak: 101})
	tab.add("gateway", "gateway", "2 conns", sample{rate: 1000, cpu: 2.5, peak: 100})
	var b strings.Builder
	if err := tab.write(&b); err != nil {
		t.Fatal(err)
	}
	const want = `
| case    | load    | part      | frames/s               | CPU-s per million | peak MiB      | CPU × bare | acks/frame |
|---------|---------|-----------|------------------------|-------------------|---------------|------------|------------|
| gateway | 2 conns | gateway   | 1,000 (999..1,234,567) | 2.50 (2.00..3.00) | 100 (99..101) |            |            |
|         |         | bare read | 5                      | 1.00              |               |            |            |
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got%swant%s", got, want)
	}
}

func TestOptions(t *testing.T) {
	good := options{runs: 1, seconds: 1, frames: 1000, conns: []int{4}, pace: 100}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
	bad := options{frames: 1, conns: []int{0}, window: 4, burst: 8}
	err := bad.validate()
	for _, want := range []string{"--runs", "--seconds", "--pace", "--conns", "--frames", "--burst"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	if got, want := (&options{burst: 4}).flood(1000), (shape{Conns: 1000, Window: 32, Burst: 4}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestCases runs every case, small, in real processes: frames are counted, and
// none is lost on the way. It looks at no figure. The second case of a kind
// works on what the first left behind, as with brokers that were named.
func TestCases(t *testing.T) {
	// With the race detector each process would rest for a second at its end.
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	broker, err := kafka.StartBroker("127.0.0.1:0", "", log)
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	b := &bench{log: log, out: io.Discard, o: options{
		runs: 2, seconds: 0.2, frames: 2000, conns: []int{4}, pace: 500, brokers: []string{broker.Addr()},
	}}
	var out strings.Builder
	if err := measure(ctx, b, "all", &out); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, r := range b.table.rows {
		parts = append(parts, strings.TrimSpace(r.part))
		if len(r.samples) != 2 {
			t.Errorf("%s of %s, %s: got %d samples, want 2", r.part, r.name, r.shape, len(r.samples))
		}
	}
	want := "normalizer bare copy normalizer bare copy" +
		" gateway + normalizer gateway normalizer load generator bare produce + copy" +
		" gateway bare read bare produce load generator gateway bare read bare produce load generator"
	if got := strings.Join(parts, " "); got != want {
		t.Errorf("got parts %s\nwant %s\n%s", got, want, out.String())
	}
}
