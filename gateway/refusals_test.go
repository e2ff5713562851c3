package gateway_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/gateway/rest"
	"sluice/gateway/websocket"
)

var update = flag.Bool("update", false, "write docs/refusals.md")

// whim is a protocol from outside, with a reason of its own.
func whim() gateway.Protocol {
	return gateway.Define([]string{"GET /whim"}, func() struct{} { return struct{}{} },
		func(_ struct{}, env gateway.Env) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				env.Reject("a whim")
				gateway.Unavailable(w, "whim", "not today")
			}), nil
		})
}

// visitor is somebody who wants something of a gateway.
type visitor struct {
	testing.TB
	*gatewaytest.Gateway
	open []io.Closer
}

// raw sends bytes over a connection of its own.
func (v *visitor) raw(text string) net.Conn {
	v.Helper()
	c, err := net.Dial("tcp", v.Addr())
	if err != nil {
		v.Fatal(err)
	}
	v.open = append(v.open, c)
	_ = c.SetDeadline(time.Now().Add(gatewaytest.Patience))
	if _, err := io.WriteString(c, text); err != nil {
		v.Fatal(err)
	}
	return c
}

// request sends a request and wants this status.
func (v *visitor) request(status int, method, path, body string, headers ...string) {
	v.Helper()
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", method, path, len(body))
	for _, h := range headers {
		text += h + "\r\n"
	}
	c := v.raw(text + "\r\n" + body)
	want := fmt.Sprintf("HTTP/1.1 %d ", status)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		v.Errorf("%s %s: got %q, %v, want %q", method, path, got, err, want)
	}
}

// post sends a body as agent a and wants this status.
func (v *visitor) post(status int, body string, headers ...string) {
	v.Helper()
	if len(headers) == 0 {
		headers = []string{"Content-Type: application/json"}
	}
	v.request(status, "POST", "/data", body, append(headers, "Authorization: Bearer token-a")...)
}

// again returns a connection that had its first request answered.
func (v *visitor) again() net.Conn {
	v.Helper()
	c := v.raw(fmt.Sprintf("POST /data HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(one), one))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		v.Fatalf("got %+v, %v, want 200", resp, err)
	}
	_ = resp.Body.Close()
	return c
}

// dial opens a websocket as agent a and says hello, unless it is "".
func (v *visitor) dial(token, hello string) *gorilla.Conn {
	v.Helper()
	d := gorilla.Dialer{HandshakeTimeout: gatewaytest.Patience, Subprotocols: []string{"sluice.v1.json"}}
	ws, _, err := d.Dial("ws://"+v.Addr()+"/v1/stream", http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		v.Fatal(err)
	}
	v.open = append(v.open, ws)
	_ = ws.SetReadDeadline(time.Now().Add(gatewaytest.Patience))
	if hello != "" {
		v.say(ws, hello)
	}
	return ws
}

const hello = `{"hello":{"session":"s","next":1}}`

// stream opens a websocket that was welcomed.
func (v *visitor) stream(token string) *gorilla.Conn {
	v.Helper()
	ws := v.dial(token, hello)
	if _, b, err := ws.ReadMessage(); err != nil || !bytes.Contains(b, []byte("welcome")) {
		v.Fatalf("got %q, %v, want a welcome", b, err)
	}
	return ws
}

func (v *visitor) say(ws *gorilla.Conn, text string) {
	v.Helper()
	if err := ws.WriteMessage(gorilla.TextMessage, []byte(text)); err != nil {
		v.Fatal(err)
	}
}

// ends reads until the gateway ends a websocket, and wants this code.
func (v *visitor) ends(ws *gorilla.Conn, code int) {
	v.Helper()
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			if !gorilla.IsCloseError(err, code) {
				v.Errorf("got %v, want close %d", err, code)
			}
			_ = ws.Close()
			return
		}
	}
}

// counts returns the reasons that were counted.
func (v *visitor) counts() map[string]float64 {
	got := make(map[string]float64)
	for _, r := range gateway.Refusals {
		if n := v.Metric(v, "sluice_agent_rejected_total", "reason="+r.Reason); n > 0 {
			got[r.Reason] = n
		}
	}
	return got
}

// stall has Kafka answer nothing until the gateway takes nothing more.
func (v *visitor) stall() {
	v.Helper()
	ws := v.stream("token-b")
	v.Producer.Silence()
	v.say(ws, "x")
	gatewaytest.Wait(v, "the stall", func() bool { return v.Metric(v, "sluice_ingest_stalled") == 1 })
}

// cancel has the gateway stop, which takes as long as Kafka owes it an answer.
func (v *visitor) cancel() {
	v.Helper()
	ws := v.stream("token-b")
	v.Producer.Hold()
	v.say(ws, "x")
	gatewaytest.Wait(v, "the frame", func() bool { return v.Producer.Pending() == 1 })
	v.Cancel()
	gatewaytest.Wait(v, "the gateway to stop", func() bool { return v.Ready(v.Context()) != nil })
}

const one = `{"id":"a","type":"system_metrics","data":{"type":"load","body":{"load1":0.4}}}`

// TestRefusals proves that everything a gateway refuses raises one counter by
// one, and that there is no reason in the list that nothing raises.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name, reason string
		tune         func(*gateway.Config)
		provoke      func(v *visitor)
		// draining is set where the end of the gateway ends a connection too.
		draining bool
	}{
		{name: "too many connections", reason: "connections", tune: func(c *gateway.Config) { c.Limits.Connections = 1 }, provoke: func(v *visitor) {
			v.raw("")
			v.post(503, one)
		}},
		{name: "too many from one address, which says nothing", reason: "per_ip", tune: func(c *gateway.Config) { c.Limits.PerIP = 1 }, provoke: func(v *visitor) {
			v.raw("")
			v.raw("")
		}},
		{name: "TLS", reason: "tls", provoke: func(v *visitor) { v.raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") }},
		{name: "slow header", reason: "slow_request", provoke: func(v *visitor) { v.raw("POST /data HTTP/1.1\r\nHost: x\r\nX-Slow: ") }},
		{name: "no header", reason: "slow_request", provoke: func(v *visitor) { v.raw("") }},
		{name: "no HTTP", reason: "bad_request", provoke: func(v *visitor) { v.request(400, "\x00\x01", "\x02", "") }},
		{name: "no HTTP in the second request", reason: "bad_request", provoke: func(v *visitor) {
			_, _ = io.WriteString(v.again(), "\x00\r\n\r\n")
		}},
		{name: "header too large", reason: "bad_request", provoke: func(v *visitor) { v.request(431, "GET", "/", "", "X: "+strings.Repeat("x", 20<<10)) }},
		{name: "expectation", reason: "bad_request", provoke: func(v *visitor) { v.request(417, "POST", "/data", one, "Expect: miracles") }},
		{name: "path", reason: "not_found", provoke: func(v *visitor) { v.request(404, "GET", "/admin", "") }},
		{name: "no path", reason: "not_found", provoke: func(v *visitor) { v.request(404, "OPTIONS", "*", "") }},
		{name: "method", reason: "method", provoke: func(v *visitor) { v.request(405, "DELETE", "/data", "") }},

		{name: "no token", reason: "no_token", provoke: func(v *visitor) { v.request(401, "POST", "/data", one) }},
		{name: "unknown token", reason: "bad_token", provoke: func(v *visitor) { v.request(401, "POST", "/data", one, "Authorization: Bearer x") }},
		{name: "unknown token for a websocket", reason: "bad_token", provoke: func(v *visitor) { v.request(401, "GET", "/v1/stream", "", "Authorization: Bearer x") }},
		{name: "banned", reason: "banned", provoke: func(v *visitor) { v.Agents.Ban("a"); v.post(403, one) }},
		{name: "starting", reason: "starting", provoke: func(v *visitor) { v.Agents.Err = errors.New("reading"); v.post(503, one) }},
		{name: "request while draining", reason: "draining", draining: true, provoke: func(v *visitor) {
			c := v.raw("GET /v1/stream HTTP/1.1\r\nHost: x\r\n")
			v.cancel()
			_, _ = io.WriteString(c, "Authorization: Bearer token-a\r\n\r\n")
			b, err := io.ReadAll(c)
			if !bytes.HasPrefix(b, []byte("HTTP/1.1 503 ")) || !bytes.Contains(b, []byte("Connection: close")) || !bytes.Contains(b, []byte("Retry-After: 1\r\n")) {
				v.Errorf("got %q, %v, want 503, Connection: close and Retry-After: 1", b, err)
			}
		}},
		{name: "hello while draining", reason: "draining", draining: true, provoke: func(v *visitor) {
			ws := v.dial("token-a", "")
			v.cancel()
			v.say(ws, hello)
			v.ends(ws, gorilla.CloseServiceRestart)
		}},
		{name: "stalled", reason: "stalled", tune: func(c *gateway.Config) { c.Ingest.Stall = 300 * time.Millisecond }, provoke: func(v *visitor) { v.stall(); v.post(503, one) }},
		{name: "hello while stalled", reason: "stalled", tune: func(c *gateway.Config) { c.Ingest.Stall = 300 * time.Millisecond }, provoke: func(v *visitor) {
			ws := v.dial("token-a", "")
			v.stall()
			v.say(ws, hello)
			v.ends(ws, gorilla.CloseTryAgainLater)
		}},
		{name: "full", reason: "full", tune: func(c *gateway.Config) { c.Ingest.InFlight = 16 << 10 }, provoke: func(v *visitor) {
			v.Producer.Hold()
			ws := v.stream("token-b")
			for range 3 {
				v.say(ws, strings.Repeat("x", 7<<10))
			}
			gatewaytest.Wait(v, "two to be taken", func() bool { return v.Producer.Pending() == 2 })
			// The third waits from some moment on: until then there is room.
			for end := time.Now().Add(gatewaytest.Patience); v.counts()["full"] == 0 && time.Now().Before(end); {
				v.raw("POST /data HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: 0\r\n\r\n")
				if len(v.counts()) > 0 {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
		}},

		{name: "no websocket", reason: "upgrade", provoke: func(v *visitor) { v.request(426, "GET", "/v1/stream", "", "Authorization: Bearer token-a") }},
		{name: "subprotocol", reason: "subprotocol", provoke: func(v *visitor) {
			v.request(400, "GET", "/v1/stream", "", "Authorization: Bearer token-a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: chat")
		}},
		{name: "handshake", reason: "handshake", provoke: func(v *visitor) {
			v.request(400, "GET", "/v1/stream", "", "Authorization: Bearer token-a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: sluice.v1.json", "Sec-WebSocket-Version: 7")
		}},
		{name: "no hello", reason: "hello_protocol", provoke: func(v *visitor) { v.ends(v.dial("token-a", "hello"), gorilla.CloseProtocolError) }},
		{name: "large hello", reason: "hello_too_large", provoke: func(v *visitor) {
			v.ends(v.dial("token-a", strings.Repeat(" ", 17<<10)), gorilla.CloseMessageTooBig)
		}},
		{name: "late hello", reason: "hello_timeout", tune: func(c *gateway.Config) { c.Limits.LoginTimeout = 200 * time.Millisecond }, provoke: func(v *visitor) {
			v.ends(v.dial("token-a", ""), gorilla.ClosePolicyViolation)
		}},

		{name: "large frame", reason: "frame_size", provoke: func(v *visitor) { v.say(v.stream("token-a"), strings.Repeat("x", 257<<10)) }},
		{name: "no websocket frame", reason: "ended_protocol", provoke: func(v *visitor) {
			ws := v.stream("token-a")
			_, _ = io.WriteString(ws.NetConn(), "\x83\x80mask")
			v.ends(ws, gorilla.CloseProtocolError)
		}},
		{name: "pings", reason: "ended_protocol", provoke: func(v *visitor) {
			ws := v.stream("token-a")
			for range 40 {
				_ = ws.WriteControl(gorilla.PingMessage, nil, time.Now().Add(gatewaytest.Patience))
			}
			v.ends(ws, gorilla.ClosePolicyViolation)
		}},
		{name: "endless message", reason: "ended_too_large", provoke: func(v *visitor) {
			ws := v.stream("token-a")
			_, _ = io.WriteString(ws.NetConn(), "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00mask")
			v.ends(ws, gorilla.CloseMessageTooBig)
		}},
		{name: "half a message", reason: "ended_timeout", tune: func(c *gateway.Config) { c.Limits.MessageTimeout = 200 * time.Millisecond }, provoke: func(v *visitor) {
			ws := v.stream("token-a")
			_, _ = io.WriteString(ws.NetConn(), "\x82\xfe\x01\x00mask and some of it")
			v.ends(ws, gorilla.CloseGoingAway)
		}},
		{name: "not stored", reason: "ended_not_stored", provoke: func(v *visitor) {
			v.Producer.Fail(errors.New("no"))
			ws := v.stream("token-a")
			v.say(ws, "x")
			v.ends(ws, gorilla.CloseInternalServerErr)
		}},
		{name: "replaced", reason: "ended_replaced", provoke: func(v *visitor) {
			ws := v.stream("token-a")
			v.stream("token-a")
			v.ends(ws, gorilla.ClosePolicyViolation)
		}},
		{name: "banned later", reason: "ended_banned", provoke: func(v *visitor) {
			ws := v.stream("token-a")
			v.Agents.Ban("a")
			v.ends(ws, gorilla.ClosePolicyViolation)
		}},
		{name: "the gateway stops", reason: "ended_draining", provoke: func(v *visitor) {
			ws := v.stream("token-a")
			v.Cancel()
			v.ends(ws, gorilla.CloseServiceRestart)
		}},

		{name: "gzip", reason: "rest_content_encoding", provoke: func(v *visitor) {
			v.post(415, one, "Content-Type: application/json", "Content-Encoding: gzip")
		}},
		{name: "text", reason: "rest_content_type", provoke: func(v *visitor) { v.post(415, one, "Content-Type: text/plain") }},
		{name: "key", reason: "rest_idempotency_key", provoke: func(v *visitor) {
			v.post(400, one, "Content-Type: application/json", "Idempotency-Key: a/b")
		}},
		{name: "large body", reason: "rest_too_large", provoke: func(v *visitor) { v.post(413, strings.Repeat(" ", 1<<20+1)) }},
		{name: "not JSON", reason: "rest_malformed", provoke: func(v *visitor) { v.post(400, "{") }},
		{name: "deep", reason: "rest_depth", provoke: func(v *visitor) { v.post(400, strings.Repeat("[", 1000)) }},
		{name: "many", reason: "rest_nodes", provoke: func(v *visitor) { v.post(400, "["+strings.Repeat("0,", 500_000)+"0]") }},
		{name: "length", reason: "rest_length", provoke: func(v *visitor) { v.post(400, "\xdd\xff\xff\xff\xff", "Content-Type: application/msgpack") }},
		{name: "not UTF-8", reason: "rest_utf8", provoke: func(v *visitor) { v.post(400, "{\"id\":\"\xff\"}") }},
		{name: "twice", reason: "rest_duplicate", provoke: func(v *visitor) { v.post(400, `{"id":"a","id":"b"}`) }},
		{name: "beyond a float64", reason: "rest_number", provoke: func(v *visitor) { v.post(400, `{"id":1e999}`) }},
		{name: "nothing", reason: "rest_empty", provoke: func(v *visitor) { v.post(422, "[]") }},
		{name: "no envelope", reason: "rest_envelope", provoke: func(v *visitor) { v.post(422, "1") }},
		{name: "foreign", reason: "rest_foreign_id", provoke: func(v *visitor) { v.post(403, strings.Replace(one, `"a"`, `"b"`, 1)) }},
		{name: "unknown type", reason: "rest_unknown_type", provoke: func(v *visitor) { v.post(422, strings.Replace(one, "system_metrics", "weather", 1)) }},
		{name: "no room for the body", reason: "rest_busy", tune: func(c *gateway.Config) { c.Ingest.InFlight = 8 << 10 }, provoke: func(v *visitor) {
			v.post(503, one+strings.Repeat(" ", 16<<10))
		}},
		{name: "Kafka fails", reason: "rest_unknown", provoke: func(v *visitor) { v.Producer.Fail(errors.New("no")); v.post(503, one) }},
		{name: "a protocol from outside", reason: "other", provoke: func(v *visitor) { v.request(503, "GET", "/whim", "") }},
	}
	raised := map[string]bool{
		"internal":   true, // TestRefusedWithoutRandomness
		"ended_slow": true, // TestSlowReader, in gateway/websocket, and TestEndsAreCounted
	}
	for _, tt := range tests {
		raised[tt.reason] = true
	}
	for _, r := range gateway.Refusals {
		if !raised[r.Reason] {
			t.Errorf("nothing raises %s", r.Reason)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := &visitor{TB: t}
			v.Gateway = gatewaytest.Start(t, map[string]gateway.Protocol{"rest": rest.Protocol(), "websocket": websocket.Protocol(), "whim": whim()},
				func(cfg *gateway.Config, _ map[string]any) {
					if tt.tune != nil {
						tt.tune(cfg)
					}
				})
			tt.provoke(v)
			gatewaytest.Wait(t, tt.reason, func() bool { return v.counts()[tt.reason] > 0 })
			v.Producer.Release()
			for _, c := range v.open {
				_ = c.Close()
			}
			if !tt.draining {
				gatewaytest.Wait(t, "nobody to be left", func() bool { return v.Metric(t, "sluice_agents_connected") == 0 })
			}
			if err := v.Stop(t); err != nil {
				t.Error(err)
			}
			want := map[string]float64{tt.reason: 1}
			if tt.draining {
				want["ended_draining"] = 1
			}
			if got := v.counts(); !maps.Equal(got, want) {
				t.Errorf("counted %v, want %v", got, want)
			}
		})
	}
}

func TestRefusedWithoutRandomness(t *testing.T) {
	p := websocket.Protocol()
	registry := prometheus.NewRegistry()
	cfg := gateway.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	made, err := gateway.New(cfg, gateway.Deps{
		Producer: gatewaytest.NewProducer(t), Agents: &gatewaytest.Directory{Tokens: map[string]string{"token-a": "a"}},
		Log: slog.New(slog.DiscardHandler), Clock: time.Now, Rand: strings.NewReader(""), Registerer: registry, Instance: "gw-1",
		Protocols: []gateway.Enabled{{Name: "websocket", Protocol: p, Settings: p.Settings()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{TB: t, Gateway: gatewaytest.Run(t, made)}
	v.Registry = registry
	v.ends(v.dial("token-a", hello), gorilla.CloseTryAgainLater)
	if got, want := v.counts(), map[string]float64{"internal": 1}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// TestRefusalsPage keeps docs/refusals.md the list that the code has.
func TestRefusalsPage(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# What a gateway refuses

Every refusal raises ` + "`sluice_agent_rejected_total{reason}`" + ` by one, under one of these reasons and no other. Each is a series from the start, at 0.
The list is made from ` + "`gateway.Refusals`" + ` (` + "`go test ./gateway -run TestRefusalsPage -update`" + `).

| reason | what was refused |
|---|---|
`)
	for _, r := range gateway.Refusals {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Reason, r.Meaning)
	}
	b.WriteString(`
A connection beyond a limit is answered with 503 and Retry-After, 64 of them at a time; those further up are closed at once, and counted as well.
No refusal is an agent that goes away by itself, whether it says so or not.
`)
	const page = "../docs/refusals.md"
	if *update {
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%s is not what the code has: run this test with -update", page)
	}
	reasons := make(map[string]bool)
	for _, r := range gateway.Refusals {
		if reasons[r.Reason] || r.Meaning == "" {
			t.Errorf("%s is there twice, or says nothing", r.Reason)
		}
		reasons[r.Reason] = true
	}
}
