package websocket_test

import (
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/gateway/websocket"
)

func TestHandshake(t *testing.T) {
	g := start(t, nil)
	g.Agents.Tokens["token-c"] = "c"
	g.Agents.Ban("c")
	tests := []struct {
		name, token, protocol string
		status                int
		header                string
	}{
		{"no token", "", "sluice.v1.json", 401, "Www-Authenticate"},
		{"unknown token", "token-x", "sluice.v1.json", 401, "Www-Authenticate"},
		{"banned", "token-c", "sluice.v1.json", 403, "Content-Type"},
		{"no subprotocol", "token-a", "", 400, "Content-Type"},
		{"other subprotocol", "token-a", "sluice.v2.json", 400, "Content-Type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, resp, err := tryDial(g, tt.token, tt.protocol)
			if err == nil || resp == nil {
				t.Fatalf("got %v, %v, want to be refused", resp, err)
			}
			if resp.StatusCode != tt.status || resp.Header.Get(tt.header) == "" {
				t.Errorf("got %d %v, want %d with %s", resp.StatusCode, resp.Header, tt.status, tt.header)
			}
		})
	}
	if got := g.Metric(t, "sluice_agent_rejected_total", "reason=bad_token"); got != 1 {
		t.Errorf("got %v bad tokens counted, want 1", got)
	}
}

func TestHello(t *testing.T) {
	tests := []struct {
		name string
		say  []string
		code int
	}{
		{"not json", []string{"hello"}, gorilla.CloseProtocolError},
		{"a frame first", []string{`[{"id":"a"}]`}, gorilla.CloseProtocolError},
		{"no session", []string{`{"hello":{"next":1}}`}, gorilla.CloseProtocolError},
		{"session with a slash", []string{`{"hello":{"session":"a/b","next":1}}`}, gorilla.CloseProtocolError},
		{"next is 0", []string{`{"hello":{"session":"s","next":0}}`}, gorilla.CloseProtocolError},
		{"next is beyond 2^53", []string{`{"hello":{"session":"s","next":9007199254740993}}`}, gorilla.CloseProtocolError},
		{"twice in one", []string{`{"hello":{"session":"s","next":1},"hello":{"session":"t","next":1}}`}, gorilla.CloseProtocolError},
		{"too large", []string{`{"hello":{"session":"` + strings.Repeat("s", 17<<10) + `","next":1}}`}, gorilla.CloseMessageTooBig},
		{"others without end", []string{strings.Repeat(" ", 8<<10) + `{"hi":1}`, strings.Repeat(" ", 8<<10) + `{"hi":1}`}, gorilla.CloseProtocolError},
		{"nothing", nil, gorilla.ClosePolicyViolation},
	}
	g := start(t, func(cfg *gateway.Config, _ *websocket.Settings) { cfg.Limits.LoginTimeout = 300 * time.Millisecond })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, g, "token-a", "sluice.v1.json")
			for _, text := range tt.say {
				c.send(text)
			}
			c.wantClose(tt.code, 0)
		})
	}
	if got := len(g.Producer.Frames("gateway")); got != 0 {
		t.Errorf("got %d frames about connections that never logged in, want none", got)
	}
}

func TestUnknownControlMessageIsIgnored(t *testing.T) {
	g := start(t, nil)
	c := dial(t, g, "token-a", "sluice.v1.json")
	c.send(`{"greetings":{"session":1}}`)
	c.send(`{"hello":{"session":"s","next":1}}`)
	if m, _ := c.next(); m.Welcome == nil {
		t.Fatalf("got %+v, %v, want a welcome", m, c.closed)
	}
}

func TestAgentCloses(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	c := open(t, g, "token-a", "s", 1)
	if err := c.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, ""), time.Now().Add(gatewaytest.Patience)); err != nil {
		t.Fatal(err)
	}
	c.wantClose(1000, 0)
	wantGone(t, g, gateway.Closed)

	c = open(t, g, "token-a", "s", 1)
	_ = c.NetConn().Close()
	wantGone(t, g, gateway.Lost)
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name string
		s    websocket.Settings
		want string
	}{
		{"defaults", *websocket.Protocol().Settings().(*websocket.Settings), ""},
		{"zero", websocket.Settings{}, "ping: 0s is not between 1s and 1m\nidle: 0s is not between twice ping and 10m"},
		{"idle below ping", websocket.Settings{Ping: 30 * time.Second, Idle: 40 * time.Second}, "idle: 40s is not between twice ping and 10m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.s.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
