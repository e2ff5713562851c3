package gateway_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
)

// plain is a protocol that ingests the body of PUT /plain as a frame, and waits.
func plain() gateway.Protocol {
	type settings struct{ Greeting string }
	return gateway.Define([]string{"PUT /plain"}, func() settings { return settings{"stored"} },
		func(s settings, env gateway.Env) (http.Handler, error) {
			if s.Greeting == "" {
				return nil, errors.New("no greeting")
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				agent, err := env.Host.Login(env.Name, gateway.BearerToken(r))
				if err != nil {
					gateway.Refuse(w, err)
					return
				}
				b, _ := io.ReadAll(r.Body)
				done := make(chan error, 1)
				f := &message.Frame{ID: agent + "/" + r.Header.Get("Key"), Agent: agent, Protocol: env.Name, ContentType: "text/plain", Value: b}
				if err := env.Host.Ingest(f, func(err error) { done <- err }); err != nil {
					gateway.Refuse(w, err)
					return
				}
				if err := <-done; err != nil {
					gateway.Unavailable(w, "unknown", err.Error())
					return
				}
				gateway.WriteJSON(w, http.StatusOK, s.Greeting)
			}), nil
		})
}

var protocols = map[string]gateway.Protocol{"plain": plain()}

// put sends a request over a connection of its own and returns status and body.
func put(t testing.TB, g interface{ Addr() string }, token, body string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: gatewaytest.Patience}
	r, err := http.NewRequest("PUT", "http://"+g.Addr()+"/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "bearer "+token)
	r.Header.Set("Key", body[:min(len(body), 10)])
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestIngest(t *testing.T) {
	g := gatewaytest.Start(t, protocols, nil)
	if status, body := put(t, g, "token-a", "hi"); status != 200 || body != "\"stored\"\n" {
		t.Errorf("got %d %q, want 200 and the greeting", status, body)
	}
	if status, _ := put(t, g, "token-x", "hi"); status != 401 {
		t.Errorf("got %d for a token that nobody has, want 401", status)
	}
	if status, _ := put(t, g, "token-a", strings.Repeat("x", 4<<20)); status != 413 {
		t.Errorf("got %d for a frame that no record holds, want 413", status)
	}
	fs := g.Producer.Frames("plain")
	if len(fs) != 1 || fs[0].ID != "a/hi" || fs[0].ReceivedAt.IsZero() {
		t.Errorf("got frames %+v", fs)
	}
	if frames, bytes := g.Metric(t, "sluice_agent_frames_total", "protocol=plain"), g.Metric(t, "sluice_agent_frame_bytes_total"); frames != 1 || bytes != 2 {
		t.Errorf("got %v frames and %v bytes counted, want 1 and 2", frames, bytes)
	}
}

func TestNotReadyBeforeAgentsAreKnown(t *testing.T) {
	g := gatewaytest.Start(t, protocols, nil)
	if err := g.Ready(t.Context()); err != nil {
		t.Errorf("got %v, want ready", err)
	}
	g.Agents.Err = errors.New("still reading")
	if err := g.Ready(t.Context()); err == nil {
		t.Error("ready although the agents are not")
	}
	if status, _ := put(t, g, "token-a", "x"); status != 503 {
		t.Errorf("got %d, want 503: who that is will be known later", status)
	}
}

func TestConnectionLimits(t *testing.T) {
	tests := []struct {
		name, reason string
		tune         func(l *gateway.Limits)
	}{
		{"of one address", "per_ip", func(l *gateway.Limits) { l.PerIP = 3 }},
		{"in all", "connections", func(l *gateway.Limits) { l.Connections = 3 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := gatewaytest.Start(t, protocols, func(cfg *gateway.Config, _ map[string]any) { tt.tune(&cfg.Limits) })
			var open []net.Conn
			for range 3 {
				c, err := net.Dial("tcp", g.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				open = append(open, c)
			}
			if status, body := put(t, g, "token-a", "x"); status != 503 || !strings.Contains(body, tt.reason) {
				t.Errorf("got %d %s for the fourth connection, want 503 for %s", status, body, tt.reason)
			}
			if got := g.Metric(t, "sluice_agent_rejected_total", "reason="+tt.reason); got != 1 {
				t.Errorf("got %v counted, want 1", got)
			}
			_ = open[0].Close()
			gatewaytest.Wait(t, "the place to be free", func() bool { status, _ := put(t, g, "token-a", "x"); return status == 200 })
		})
	}
}

// Far beyond the limit nothing is said.
func TestConnectionFloodIsClosed(t *testing.T) {
	g := gatewaytest.Start(t, protocols, func(cfg *gateway.Config, _ map[string]any) { cfg.Limits.PerIP = 1 })
	var conns []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		conns = append(conns, c)
	}
	closed := make(map[net.Conn]bool)
	gatewaytest.Wait(t, "those beyond the limit and 64 to be closed", func() bool {
		for _, c := range conns {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			var network net.Error
			if err != nil && (!errors.As(err, &network) || !network.Timeout()) {
				closed[c] = true
			}
		}
		return len(closed) >= 35
	})
}

func TestTLSHelloIsClosedQuietly(t *testing.T) {
	g := gatewaytest.Start(t, protocols, nil)
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	spy := &recorder{Conn: c}
	_ = c.SetDeadline(time.Now().Add(gatewaytest.Patience))
	if err := tls.Client(spy, &tls.Config{ServerName: "x"}).Handshake(); err == nil {
		t.Error("the handshake succeeded")
	}
	if spy.got > 0 {
		t.Errorf("got %d bytes in answer, want none", spy.got)
	}
	if status, _ := put(t, g, "token-a", "x"); status != 200 {
		t.Errorf("got %d afterwards, want 200", status)
	}
}

// recorder counts what is read.
type recorder struct {
	net.Conn
	got int
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.got += n
	return n, err
}

func TestNewRefusesSettings(t *testing.T) {
	p := plain()
	deps := gateway.Deps{
		Producer: gatewaytest.NewProducer(t), Agents: &gatewaytest.Directory{}, Log: slog.New(slog.DiscardHandler),
		Clock: time.Now, Rand: rand.Reader, Registerer: prometheus.NewRegistry(),
		Protocols: []gateway.Enabled{{Name: "plain", Protocol: p, Settings: new(int)}},
	}
	if _, err := gateway.New(gateway.DefaultConfig(), deps); err == nil || !strings.Contains(err.Error(), "plain") {
		t.Errorf("got %v, want an error that names the protocol", err)
	}
	if _, err := gateway.New(gateway.DefaultConfig(), deps); err == nil {
		t.Error("registered the same metrics twice")
	}
}

func TestListenFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	cfg := gateway.DefaultConfig()
	cfg.Listen = l.Addr().String()
	g, err := gateway.New(cfg, gateway.Deps{
		Producer: gatewaytest.NewProducer(t), Agents: &gatewaytest.Directory{}, Log: slog.New(slog.DiscardHandler),
		Clock: time.Now, Rand: rand.Reader, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), cfg.Listen) {
		t.Errorf("got %v, want an error that names %s", err, cfg.Listen)
	}
}

// On a broker: agents come from the topic, frames end in ingest under their key.
func TestOnKafka(t *testing.T) {
	k := kafkatest.New(t)
	log := slog.New(slog.DiscardHandler)
	cfg := gateway.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	p, err := k.NewProducer(cfg.ProducerOptions(), log)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	registry := &gateway.Registry{Kafka: k, Producer: p, Log: log, Clock: time.Now, Rand: rand.Reader}
	token, err := registry.Add(t.Context(), "node-1")
	if err != nil {
		t.Fatal(err)
	}
	agents := gateway.NewAgents(k, log)
	g, err := gateway.New(cfg, gateway.Deps{
		Producer: p, Agents: agents, Log: log, Clock: time.Now, Rand: rand.Reader,
		Registerer: prometheus.NewRegistry(), Instance: "gw-1",
		Protocols: []gateway.Enabled{{Name: "plain", Protocol: plain(), Settings: plain().Settings()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ends := make(chan error, 2)
	go func() { ends <- agents.Run(ctx) }()
	go func() { ends <- g.Run(ctx) }()
	gatewaytest.Wait(t, "the gateway to be ready", func() bool { return g.Ready(ctx) == nil })
	for i := range 20 {
		if status, body := put(t, g, token, fmt.Sprint("frame-", i)); status != 200 {
			t.Fatalf("got %d %s", status, body)
		}
	}
	if status, _ := put(t, g, token+"x", "x"); status != 401 {
		t.Errorf("got %d for another token, want 401", status)
	}
	stop()
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	next, refused := 0, 0
	for _, r := range kafkatest.Read(t, k, message.TopicIngest) {
		var f message.Frame
		kafka.Frame(r, &f)
		switch f.Agent {
		case "node-1":
			if want := fmt.Sprint("frame-", next); string(f.Value) != want || f.ID != "node-1/"+want {
				t.Errorf("got %s %q, want %s", f.ID, f.Value, want)
			}
			next++
		case "_gateway":
			refused++
		}
	}
	if next != 20 || refused != 1 {
		t.Errorf("got %d frames and %d about refused logins, want 20 and 1", next, refused)
	}
}
