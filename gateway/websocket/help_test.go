package websocket_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/goleak"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/gateway/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a gateway that serves the protocol.
func start(t testing.TB, tune func(cfg *gateway.Config, s *websocket.Settings)) *gatewaytest.Gateway {
	t.Helper()
	return gatewaytest.Start(t, map[string]gateway.Protocol{"websocket": websocket.Protocol()},
		func(cfg *gateway.Config, settings map[string]any) {
			if tune != nil {
				tune(cfg, settings["websocket"].(*websocket.Settings))
			}
		})
}

// said is any control message of the gateway.
type said struct {
	Welcome *struct {
		Agent  string
		Limits struct{ Frame, Window int64 }
	}
	Ack     *struct{ Seq uint64 }
	Refused *struct {
		Seq   uint64
		Code  string
		Limit int64
	}
}

type client struct {
	*gorilla.Conn
	t        testing.TB
	protocol string
	pings    int
	closed   *gorilla.CloseError
}

func tryDial(g *gatewaytest.Gateway, token, protocol string) (*gorilla.Conn, *http.Response, error) {
	d := gorilla.Dialer{HandshakeTimeout: gatewaytest.Patience}
	if protocol != "" {
		d.Subprotocols = []string{protocol}
	}
	h := http.Header{"Origin": {"http://localhost"}}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	return d.Dial("ws://"+g.Addr()+"/v1/stream", h)
}

// dial connects and says nothing.
func dial(t testing.TB, g *gatewaytest.Gateway, token, protocol string) *client {
	t.Helper()
	ws, resp, err := tryDial(g, token, protocol)
	if err != nil {
		t.Fatalf("dial: %v, %+v", err, resp)
	}
	c := &client{Conn: ws, t: t, protocol: protocol}
	t.Cleanup(func() { _ = ws.Close() })
	answer := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		c.pings++
		return answer(data)
	})
	return c
}

// open connects and says hello.
func open(t testing.TB, g *gatewaytest.Gateway, token, session string, next uint64) *client {
	t.Helper()
	c := dial(t, g, token, "sluice.v1.json")
	c.send(fmt.Sprintf(`{"hello":{"session":%q,"next":%d}}`, session, next))
	if m, ok := c.next(); !ok || m.Welcome == nil {
		t.Fatalf("got %+v, %v, want a welcome", m, c.closed)
	}
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.WriteMessage(gorilla.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// next returns what the gateway says next, and false when it closed instead.
func (c *client) next() (m said, ok bool) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(gatewaytest.Patience))
	kind, b, err := c.ReadMessage()
	if err != nil {
		closed, ok := err.(*gorilla.CloseError)
		if !ok {
			c.t.Fatalf("read: %v", err)
		}
		c.closed = closed
		return m, false
	}
	if c.protocol == "sluice.v1.msgpack" {
		var any map[string]any
		if err := msgpack.Unmarshal(b, &any); err != nil || kind != gorilla.BinaryMessage {
			c.t.Fatalf("got message of kind %d, %q: %v", kind, b, err)
		}
		b, _ = json.Marshal(any)
	} else if kind != gorilla.TextMessage {
		c.t.Fatalf("got message of kind %d, want text", kind)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Fatalf("gateway said %q: %v", b, err)
	}
	return m, true
}

// acks reads until everything up to seq is acknowledged. An ack beyond it is one
// for what the test did not let Kafka have.
func (c *client) acks(seq uint64) {
	c.t.Helper()
	var last uint64
	for {
		m, ok := c.next()
		if !ok || m.Ack == nil {
			c.t.Fatalf("got %+v, %v after ack %d, want ack %d", m, c.closed, last, seq)
		}
		if m.Ack.Seq <= last {
			c.t.Fatalf("got ack %d after ack %d", m.Ack.Seq, last)
		}
		if last = m.Ack.Seq; last > seq {
			c.t.Fatalf("got ack %d, of which %d frames are durable", last, seq)
		}
		if last == seq {
			return
		}
	}
}

// wantClose reads until the gateway closes, and wants this code and no ack
// beyond seq before it.
func (c *client) wantClose(code int, seq uint64) {
	c.t.Helper()
	for {
		m, ok := c.next()
		if !ok {
			break
		}
		if m.Ack != nil && m.Ack.Seq > seq {
			c.t.Fatalf("got ack %d, want none after %d", m.Ack.Seq, seq)
		}
	}
	if c.closed.Code != code {
		c.t.Fatalf("got close %v, want %d", c.closed, code)
	}
}

// ids returns the IDs of the frames stored.
func ids(g *gatewaytest.Gateway) []string {
	var list []string
	for _, f := range g.Producer.Frames("websocket") {
		list = append(list, f.ID)
	}
	return list
}

// wantGone waits until the gateway says that a connection ended for a reason.
func wantGone(t testing.TB, g *gatewaytest.Gateway, reason gateway.Reason) {
	t.Helper()
	gatewaytest.Wait(t, "disconnected "+string(reason), func() bool {
		for _, f := range g.Producer.Frames("gateway") {
			var e struct{ Event, Reason string }
			if json.Unmarshal(f.Value, &e) == nil && e.Event == "disconnected" && e.Reason == string(reason) {
				return true
			}
		}
		return false
	})
}
