package websocket_test

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/vmihailenco/msgpack/v5"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/gateway/websocket"
)

func TestFrames(t *testing.T) {
	g := start(t, nil)
	hello, err := msgpack.Marshal(map[string]any{"hello": map[string]any{"session": "s", "next": 7, "more": nil}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, token, protocol, hello string
		agent, contentType           string
	}{
		{"json", "token-a", "sluice.v1.json", ` {"x":1, "hello":{"session":"s","next":7,"more":[]}}`, "a", "application/json"},
		{"msgpack", "token-b", "sluice.v1.msgpack", string(hello), "b", "application/msgpack"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, g, tt.token, tt.protocol)
			c.send(tt.hello)
			m, _ := c.next()
			if m.Welcome == nil || m.Welcome.Agent != tt.agent || m.Welcome.Limits.Frame != 256<<10 || m.Welcome.Limits.Window != 1024 {
				t.Fatalf("got %+v, want a welcome with the default limits", m)
			}
			// Whatever is in a frame, and however it is sent.
			frames := []string{`{"id":"a"}`, "\xff\x00 not text", "", strings.Repeat("x", 5000), strings.Repeat("y", 100_000), "z"}
			before := time.Now().Add(-time.Second)
			for i, f := range frames {
				kind := gorilla.TextMessage
				if i%2 == 1 {
					kind = gorilla.BinaryMessage
				}
				if err := c.WriteMessage(kind, []byte(f)); err != nil {
					t.Fatal(err)
				}
			}
			c.acks(7 + 5)
			i := 0
			for _, f := range g.Producer.Frames("websocket") {
				if f.Agent != tt.agent {
					continue
				}
				if string(f.Value) != frames[i] || f.Value == nil {
					t.Errorf("frame %d: got %.20q of %d bytes, want %.20q of %d", i, f.Value, len(f.Value), frames[i], len(frames[i]))
				}
				if want := fmt.Sprintf("%s/s/%d", tt.agent, 7+i); f.ID != want {
					t.Errorf("got ID %s, want %s", f.ID, want)
				}
				if f.ContentType != tt.contentType || f.Connection == "" || f.ReceivedAt.Before(before) {
					t.Errorf("got frame %+v", f)
				}
				i++
			}
			if i != len(frames) {
				t.Errorf("got %d frames, want %d", i, len(frames))
			}
		})
	}
}

func TestAckOnlyWhatKafkaHas(t *testing.T) {
	g := start(t, nil)
	g.Producer.Hold()
	c := open(t, g, "token-a", "s", 1)
	for range 5 {
		c.send("x")
	}
	gatewaytest.Wait(t, "all to be taken", func() bool { return g.Producer.Pending() == 5 })
	g.Producer.Allow(2)
	c.acks(2)
	g.Producer.Release()
	c.acks(5)
}

func TestFailedFrameEndsAcks(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.Producer.Hold()
	c := open(t, g, "token-a", "s", 1)
	for range 5 {
		c.send("x")
	}
	gatewaytest.Wait(t, "all to be taken", func() bool { return g.Producer.Pending() == 5 })
	g.Producer.Allow(2)
	c.acks(2)
	g.Producer.Fail(errors.New("broker said no"))
	g.Producer.Allow(1)
	gatewaytest.Wait(t, "the third to fail", func() bool { return g.Producer.Pending() == 2 })
	g.Producer.Fail(nil) // those behind it are stored, and must not be acknowledged
	g.Producer.Release()
	c.wantClose(gorilla.CloseInternalServerErr, 2)
	wantGone(t, g, gateway.NotStored)
	if got := g.Metric(t, "sluice_ingest_produce_errors_total"); got != 1 {
		t.Errorf("got %v errors counted, want 1", got)
	}
}

func TestBusyPausesAndResumesInOrder(t *testing.T) {
	const budget, size, count = 64 << 10, 5000, 60
	g := start(t, func(cfg *gateway.Config, _ *websocket.Settings) { cfg.Ingest.InFlight = budget })
	g.Producer.Hold()
	clients := []*client{open(t, g, "token-a", "s", 1), open(t, g, "token-b", "s", 1)}
	frame := strings.Repeat("x", size)
	sent := make(chan error, len(clients))
	for _, c := range clients {
		go func() {
			var err error
			for range count {
				err = errors.Join(err, c.WriteMessage(gorilla.TextMessage, []byte(frame)))
			}
			sent <- err
		}()
	}
	gatewaytest.Wait(t, "the budget to be used up", func() bool { return g.Producer.Pending() >= budget/(size+512)-1 })
	if _, resp, err := tryDial(g, "token-a", "sluice.v1.json"); err == nil || resp == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("new connection while the budget is used up: got %v, %v, want 503 with Retry-After", resp, err)
	}
	g.Producer.Release()
	for _, c := range clients {
		c.acks(count)
	}
	for range clients {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	if got := g.Producer.MostBytes(); got > budget {
		t.Errorf("got %d bytes in flight, want at most the budget of %d", got, budget)
	}
	next := map[string]int{}
	for _, f := range g.Producer.Frames("websocket") {
		next[f.Agent]++
		if want := fmt.Sprintf("%s/s/%d", f.Agent, next[f.Agent]); f.ID != want {
			t.Fatalf("got %s, want %s", f.ID, want)
		}
	}
	if next["a"] != count || next["b"] != count {
		t.Errorf("got %v frames, want %d each", next, count)
	}
	gatewaytest.Wait(t, "the budget to be free", func() bool { return g.Metric(t, "sluice_ingest_inflight_bytes") == 0 })
}

func TestWindow(t *testing.T) {
	g := start(t, func(cfg *gateway.Config, _ *websocket.Settings) { cfg.Ingest.InFlight = 16 << 10 })
	g.Producer.Hold()
	c := dial(t, g, "token-a", "sluice.v1.json")
	c.send(`{"hello":{"session":"s","next":1}}`)
	m, _ := c.next()
	if m.Welcome == nil || m.Welcome.Limits.Window != 10 { // 16 KiB / (1 KiB + 512)
		t.Fatalf("got %+v, want a window of 10", m.Welcome)
	}
	for range 100 {
		c.send("0123456789")
	}
	gatewaytest.Wait(t, "the window to be full", func() bool { return g.Producer.Pending() == 10 })
	g.Producer.Allow(3)
	c.acks(3)
	gatewaytest.Wait(t, "the window to be full again", func() bool { return g.Producer.Pending() == 10 })
	g.Producer.Release()
	c.acks(100)
	if got := g.Producer.MostBytes(); got != 100 {
		t.Errorf("got %d bytes unacknowledged at once, want 100: ten frames", got)
	}
}

// A connection whose reading is paused is alive for as long as that takes.
func TestPausedConnectionLives(t *testing.T) {
	t.Parallel()
	g := start(t, func(cfg *gateway.Config, s *websocket.Settings) {
		cfg.Ingest.InFlight = 16 << 10
		s.Ping, s.Idle = 50*time.Millisecond, 500*time.Millisecond
	})
	c := open(t, g, "token-a", "s", 1)
	g.Producer.Hold()
	for range 11 { // one more than the window
		c.send("x")
	}
	gatewaytest.Wait(t, "the window to be full", func() bool { return g.Producer.Pending() == 10 })
	released := false
	answer := c.PingHandler()
	c.SetPingHandler(func(data string) error {
		if c.pings == 20 { // a second, twice the idle time
			released = true
			g.Producer.Release()
		}
		return answer(data)
	})
	c.acks(11)
	if !released {
		t.Error("acknowledged before the producer let go")
	}
}

func TestSilentConnectionEnds(t *testing.T) {
	t.Parallel()
	g := start(t, func(_ *gateway.Config, s *websocket.Settings) {
		s.Ping, s.Idle = 20*time.Millisecond, 100*time.Millisecond
	})
	c := open(t, g, "token-a", "s", 1)
	c.SetPingHandler(func(string) error { return nil })
	c.wantClose(gorilla.CloseGoingAway, 0)
	wantGone(t, g, gateway.Timeout)
}

func TestStalledKafka(t *testing.T) {
	t.Parallel()
	g := start(t, func(cfg *gateway.Config, _ *websocket.Settings) { cfg.Ingest.Stall = 300 * time.Millisecond })
	c := open(t, g, "token-a", "s", 1)
	g.Producer.Silence()
	c.send("first")
	gatewaytest.Wait(t, "the gateway to see that Kafka stalls", func() bool { return g.Ready(t.Context()) != nil })
	if _, resp, err := tryDial(g, "token-a", "sluice.v1.json"); err == nil || resp == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("new connection while Kafka stalls: got %v, %v, want 503 with Retry-After", resp, err)
	}
	for range 20 {
		c.send("later")
	}
	gatewaytest.Wait(t, "a frame to wait", func() bool { return g.Metric(t, "sluice_ingest_stalled") == 1 })
	if got := g.Producer.Pending(); got != 1 {
		t.Errorf("got %d frames taken while Kafka stalls, want the one from before", got)
	}
	g.Producer.Release()
	c.acks(21)
	gatewaytest.Wait(t, "the gateway to be ready", func() bool { return g.Ready(t.Context()) == nil })
	open(t, g, "token-b", "s", 1)
}

func TestFrameTooLarge(t *testing.T) {
	g := start(t, nil)
	g.Producer.Hold()
	c := open(t, g, "token-a", "s", 1)
	big := strings.Repeat("x", 256<<10+1)
	c.send("one")
	c.send(big)
	c.send(big[:256<<10]) // just fits
	c.send(big)
	for _, want := range []uint64{2, 4} {
		m, _ := c.next()
		if m.Refused == nil || m.Refused.Seq != want || m.Refused.Code != "too_large" || m.Refused.Limit != 256<<10 {
			t.Fatalf("got %+v, want frame %d refused", m, want)
		}
	}
	gatewaytest.Wait(t, "both to be taken", func() bool { return g.Producer.Pending() == 2 })
	g.Producer.Allow(1)
	c.acks(2) // 2 was refused, and 1 is durable
	g.Producer.Release()
	c.acks(4)
	c.send(big)
	if m, _ := c.next(); m.Refused == nil || m.Refused.Seq != 5 {
		t.Fatalf("got %+v, want frame 5 refused", m)
	}
	c.acks(5) // everything before it is durable already
	if got, want := ids(g), []string{"a/s/1", "a/s/3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got frames %v, want %v", got, want)
	}
}

// TestRefusedAmongDurable proves that acks pass a refused frame also when frames
// behind it became durable before anyone looked.
func TestRefusedAmongDurable(t *testing.T) {
	g := start(t, nil)
	c := open(t, g, "token-a", "s", 1)
	big := strings.Repeat("x", 256<<10+1)
	for round := range uint64(10) {
		g.Producer.Hold()
		c.send("one")
		c.send(big)
		c.send("three")
		c.send("four")
		if m, _ := c.next(); m.Refused == nil || m.Refused.Seq != 4*round+2 {
			t.Fatalf("got %+v, want frame %d refused", m, 4*round+2)
		}
		gatewaytest.Wait(t, "the others to be taken", func() bool { return g.Producer.Pending() == 3 })
		g.Producer.Release()
		for at := uint64(0); at < 4*round+4; {
			m, ok := c.next()
			if !ok || m.Ack == nil {
				t.Fatalf("got %+v, %v, want an ack", m, c.closed)
			}
			at = m.Ack.Seq
		}
	}
}

func TestRefusedFramesCountInTheWindow(t *testing.T) {
	g := start(t, func(cfg *gateway.Config, _ *websocket.Settings) {
		cfg.Ingest.InFlight, cfg.Limits.Frame = 16<<10, 1<<10
	})
	g.Producer.Hold()
	c := open(t, g, "token-a", "s", 1) // a window of 10
	big := strings.Repeat("x", 2<<10)
	c.send("one")
	for range 30 {
		c.send(big)
	}
	c.send("last")
	for i := range uint64(9) {
		if m, _ := c.next(); m.Refused == nil || m.Refused.Seq != i+2 {
			t.Fatalf("got %+v, want frame %d refused", m, i+2)
		}
	}
	g.Producer.Release()
	for last := uint64(0); last < 32; {
		m, ok := c.next()
		if !ok {
			t.Fatal(c.closed)
		}
		if m.Ack != nil {
			last = m.Ack.Seq
		} else if last < 10 && m.Refused.Seq > 11 { // the first, durable, makes room for one
			t.Fatalf("got frame %d refused before ack 10, want no frame read beyond the window", m.Refused.Seq)
		}
	}
}

// A frame that is refused takes no memory, however long it is.
func TestDiscardIsFlat(t *testing.T) {
	g := start(t, nil)
	c := open(t, g, "token-a", "s", 1)
	chunk := make([]byte, 64<<10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for seq := range uint64(4) {
		w, err := c.NextWriter(gorilla.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		for range 16 << 20 / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if m, _ := c.next(); m.Refused == nil || m.Refused.Seq != seq+1 {
			t.Fatalf("got %+v, want frame %d refused", m, seq+1)
		}
		c.acks(seq + 1)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("64 MiB in four frames allocated %d KiB, want less than 8 MiB", got>>10)
	}
}

func TestHugeDeclaredLength(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"2^62":            "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00mask",
		"2^63":            "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00mask",
		"16 MiB and more": "\x82\xff\x00\x00\x00\x00\x01\x00\x00\x01mask",
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, nil)
			c := open(t, g, "token-a", "s", 1)
			c.send("x")
			c.acks(1)
			if _, err := c.NetConn().Write([]byte(header)); err != nil {
				t.Fatal(err)
			}
			c.wantClose(gorilla.CloseMessageTooBig, 1)
			wantGone(t, g, gateway.TooLarge)
		})
	}
}

// A message that never ends is ended, whether it trickles or floods.
func TestEndlessMessage(t *testing.T) {
	t.Parallel()
	tune := func(cfg *gateway.Config, _ *websocket.Settings) { cfg.Limits.MessageTimeout = 200 * time.Millisecond }
	t.Run("half", func(t *testing.T) {
		g := start(t, tune)
		c := open(t, g, "token-a", "s", 1)
		if _, err := c.NetConn().Write([]byte("\x82\xfe\x01\x00mask and some of it")); err != nil {
			t.Fatal(err)
		}
		c.wantClose(gorilla.CloseGoingAway, 0)
		wantGone(t, g, gateway.Timeout)
	})
	t.Run("empty fragments", func(t *testing.T) {
		g := start(t, tune)
		c := open(t, g, "token-a", "s", 1)
		flood := []byte("\x02\x80mask" + strings.Repeat("\x00\x80mask", 1000))
		go func() {
			for {
				if _, err := c.NetConn().Write(flood); err != nil {
					return
				}
				flood = flood[len(flood)%6:]
				if flood[0] == 2 {
					flood = flood[6:]
				}
			}
		}()
		wantGone(t, g, gateway.Timeout)
	})
}

func TestPingFlood(t *testing.T) {
	g := start(t, nil)
	c := open(t, g, "token-a", "s", 1)
	for range 100 {
		if err := c.WriteControl(gorilla.PingMessage, nil, time.Now().Add(gatewaytest.Patience)); err != nil {
			break // closed already
		}
	}
	c.wantClose(gorilla.ClosePolicyViolation, 0)
}

func TestResendKeepsIDs(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	first := open(t, g, "token-a", "s", 1)
	first.send("one")
	first.send("two")
	first.acks(2)
	again := open(t, g, "token-a", "s", 2) // as if the ack of 2 had been lost
	first.wantClose(gorilla.ClosePolicyViolation, 2)
	wantGone(t, g, gateway.Replaced)
	again.send("two")
	again.send("three")
	again.acks(3)
	if got, want := ids(g), []string{"a/s/1", "a/s/2", "a/s/2", "a/s/3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got frames %v, want %v", got, want)
	}
}

func TestNewestConnectionsOfAnAgentWin(t *testing.T) {
	g := start(t, nil)
	first, second := open(t, g, "token-a", "s1", 1), open(t, g, "token-a", "s2", 1)
	other := open(t, g, "token-b", "s1", 1)
	third := open(t, g, "token-a", "s3", 1)
	first.wantClose(gorilla.ClosePolicyViolation, 0)
	for _, c := range []*client{second, third, other} {
		c.send("x")
		c.acks(1)
	}
}

func TestBanEndsConnections(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	c, other := open(t, g, "token-a", "s", 1), open(t, g, "token-b", "s", 1)
	g.Agents.Ban("a")
	c.wantClose(gorilla.ClosePolicyViolation, 0)
	wantGone(t, g, gateway.Banned)
	if _, resp, err := tryDial(g, "token-a", "sluice.v1.json"); err == nil || resp == nil || resp.StatusCode != 403 {
		t.Errorf("banned agent: got %v, %v, want 403", resp, err)
	}
	other.send("x")
	other.acks(1)
}

func TestGracefulStop(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.Producer.Hold()
	c := open(t, g, "token-a", "s", 1)
	for range 3 {
		c.send("x")
	}
	gatewaytest.Wait(t, "all to be taken", func() bool { return g.Producer.Pending() == 3 })
	idle := open(t, g, "token-b", "s", 1)
	pre := dial(t, g, "token-b", "sluice.v1.json") // has not said hello
	g.Cancel()
	idle.wantClose(gorilla.CloseServiceRestart, 0)
	g.Producer.Release()
	c.acks(3) // what was taken is still answered
	c.wantClose(gorilla.CloseServiceRestart, 3)
	if err := g.Stop(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	wantGone(t, g, gateway.Draining)
	_ = pre.SetReadDeadline(time.Now().Add(gatewaytest.Patience))
	if _, _, err := pre.ReadMessage(); err == nil {
		t.Error("a connection that had not logged in outlived the gateway")
	}
}

func TestStopWhileKafkaIsAway(t *testing.T) {
	t.Parallel()
	g := start(t, func(cfg *gateway.Config, _ *websocket.Settings) { cfg.Ingest.InFlight = 16 << 10 })
	g.Producer.Silence()
	c := open(t, g, "token-a", "s", 1)
	for range 20 {
		c.send("x")
	}
	gatewaytest.Wait(t, "the window to be full", func() bool { return g.Producer.Pending() == 10 })
	began := time.Now()
	g.Cancel()
	c.wantClose(gorilla.CloseServiceRestart, 0)
	if err := g.Stop(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s to stop, want less than 10s", took)
	}
}
