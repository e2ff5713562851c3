package dashboard

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/message"
	"sluice/sinks"
	"sluice/sinks/dashboard/fleet"
)

func TestHeaders(t *testing.T) {
	b := newBench(t, nil)
	for _, path := range []string{"/", "/connect", "/nowhere", "/api/v1/nodes", "/api/v1/nodes/x", "/api/v1/live", "/assets/page.js", "/assets/none"} {
		res, _ := b.get(path, nil)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s: got %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestRoutes(t *testing.T) {
	b := newBench(t, nil)
	b.write(b.block("eu-west-1", 7))
	id := b.picture().Rows[0].ID
	tests := []struct {
		path, method string
		status       int
		contentType  string
		has          string
	}{
		{"/", "GET", 200, "text/html; charset=utf-8", `data-node="eu-west-1"`},
		{"/", "HEAD", 200, "text/html; charset=utf-8", ""},
		{"/connect", "GET", 200, "text/html; charset=utf-8", "ws://127.0.0.1:3000"},
		{"/nowhere", "GET", 404, "text/html; charset=utf-8", "There is nothing here"},
		{"/connect/", "GET", 404, "text/html; charset=utf-8", "There is nothing here"},
		{"/api/v1/nodes", "GET", 200, "application/json", `"node":"eu-west-1"`},
		{"/api/v1/nodes/" + id, "GET", 200, "application/json", `"block":7`},
		{"/api/v1/nodes/none", "GET", 404, "application/json", "no such node"},
		{"/api/v1/none", "GET", 404, "application/json", "no such address"},
		{"/api/v1/live", "GET", 426, "text/plain; charset=utf-8", "websocket"},
		{"/assets/page.css", "GET", 200, "text/css; charset=utf-8", "light-dark("},
		{"/assets/page.js", "GET", 200, "text/javascript; charset=utf-8", "sluice.live.v1"},
		{"/assets/icon.svg", "GET", 200, "image/svg+xml", "<svg"},
		{"/assets/../server.go", "GET", 404, "text/html; charset=utf-8", "There is nothing here"},
		{"/assets/%2e%2e%2flayout.html", "GET", 404, "text/plain; charset=utf-8", "no such file"},
		{"/", "POST", 405, "text/plain; charset=utf-8", "for reading"},
		{"/api/v1/nodes", "DELETE", 405, "text/plain; charset=utf-8", "for reading"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			b := &bench{Sink: b.Sink, t: t}
			res, text := b.get(tt.path, func(r *http.Request) { r.Method = tt.method })
			if res.StatusCode != tt.status || res.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("got %d %s, want %d %s", res.StatusCode, res.Header.Get("Content-Type"), tt.status, tt.contentType)
			}
			if !strings.Contains(text, tt.has) {
				t.Errorf("answer without %q: %s", tt.has, text)
			}
		})
	}
}

func TestAssetsAreValidated(t *testing.T) {
	b := newBench(t, nil)
	first, _ := b.get("/assets/page.css", nil)
	tag := first.Header.Get("ETag")
	if tag == "" {
		t.Fatal("no ETag")
	}
	again, text := b.get("/assets/page.css", func(r *http.Request) { r.Header.Set("If-None-Match", tag) })
	if again.StatusCode != http.StatusNotModified || text != "" {
		t.Errorf("with the ETag: got %d and %d bytes, want 304 and none", again.StatusCode, len(text))
	}
}

func TestHost(t *testing.T) {
	tests := []struct {
		host   string
		status int
	}{
		{"127.0.0.1", 200}, {"127.0.0.1:8080", 200}, {"localhost:8080", 200}, {"LOCALHOST", 200}, {"[::1]:8080", 200}, {"[::1]", 200},
		{"dash.example", 200}, {"Dash.Example:9000", 200},
		{"evil.example", 403}, {"127.0.0.1.evil.example", 403}, {"localhost.evil.example", 403}, {"192.168.1.5:8080", 403}, {"[::2]", 403}, {"dash.example.evil", 403},
	}
	b := newBench(t, func(s *Settings) { s.Hosts = []string{"dash.example"} })
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			b := &bench{Sink: b.Sink, t: t}
			for _, path := range []string{"/", "/api/v1/nodes"} {
				if res, _ := b.get(path, func(r *http.Request) { r.Host = tt.host }); res.StatusCode != tt.status {
					t.Errorf("%s: got %d, want %d", path, res.StatusCode, tt.status)
				}
			}
		})
	}
}

// payloads are what a hostile agent may put into any text.
var payloads = []string{
	`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `"><svg onload=alert(1)>`, `'><b id=x>`, `</title><script>alert(1)</script>`,
	`</td></tr></table><script>alert(1)</script>`, `javascript:alert(1)`, `{{.Title}}`, `" onmouseover="alert(1)`, "`${alert(1)}`", `<!--`, `]]>`, "\u202emoc.live",
}

func TestHostileTextStaysText(t *testing.T) {
	b := newBench(t, nil)
	for _, p := range payloads {
		info := b.msg(p, "ethereum_metrics", "information", body{"name": p + "n", "node": p + "/v1.0", "net": p})
		info.Node, info.Network, info.Genesis = p+"o", p, p
		block := info
		block.Kind, block.Body = "block", body{"number": int64(1), "hash": p}
		end := b.msg(p, "networking_metrics", "disconnected", body{"connection": p, "reason": p})
		no := b.msg(p, "networking_metrics", "refused", body{"reasons": []any{body{"reason": p, "count": int64(1)}}})
		b.write(info, block, end, no)
	}
	_, text := b.get("/?q="+"%3Cscript%3Ealert(1)%3C%2Fscript%3E", nil)
	_, all := b.get("/?sort=-block", nil)
	for _, page := range []string{text, all} {
		for _, bad := range []string{"<script>", "<img", "<svg onload", "<b id=x", "alert(1)>", `" onmouseover`, "<!--", "\u202e"} {
			if strings.Contains(page, bad) {
				t.Errorf("the page holds %q as markup", bad)
			}
		}
	}
	if !strings.Contains(all, "&lt;img src=x onerror=alert(1)&gt;") {
		t.Error("the page does not hold the payload as text either, the test proves nothing")
	}
	if _, answer := b.get("/api/v1/nodes", nil); strings.Contains(answer, "<") {
		t.Error("the JSON holds markup")
	}
}

func TestNoInline(t *testing.T) {
	b := newBench(t, nil)
	b.write(b.population()...)
	for _, path := range []string{"/", "/connect", "/nowhere"} {
		_, text := b.get(path, nil)
		for _, bad := range []string{"<style", " style=", "<script>", " onclick=", " onload=", "javascript:"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: holds %q, which the policy forbids", path, bad)
			}
		}
	}
}

func TestReadableWithoutScript(t *testing.T) {
	b := newBench(t, nil)
	_, empty := b.get("/", nil)
	if !strings.Contains(empty, `<section id="empty" class="empty">`) || !strings.Contains(empty, `<section id="fleet" hidden>`) {
		t.Error("an empty fleet does not say how to connect")
	}
	b.write(b.population()...)
	await(t, "the picture to be made again", func() bool { return len(b.picture().Rows) == 14 })
	_, page := b.get("/?sort=-block&q=besu", nil)
	for _, want := range []string{
		`<noscript><meta http-equiv="refresh" content="10"></noscript>`, `<caption`, `scope="row"`, `aria-sort="descending"`, `value="besu"`,
		`>21,413,882</td>`, `besu 26.4.0`, `bad_token 3`, `best block`, `href="/?q=besu&amp;sort=block"`, "3 nodes",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page without %q", want)
		}
	}
	if strings.Contains(page, "Nethermind") {
		t.Error("the filter shows what does not match")
	}
	b.caught.Store(false)
	await(t, "the notice of history", func() bool {
		_, page := b.get("/", nil)
		return strings.Contains(page, `<p id="reading" class="notice" role="status">Reading history`)
	})
}

func TestConnectLines(t *testing.T) {
	tests := []struct{ name, gateway, host, want string }{
		{"host of the request", "", "dash.example:8080", "http://dash.example:3000"},
		{"without a port", "", "dash.example", "http://dash.example:3000"},
		{"address of version 6", "", "[::1]:8080", "http://[::1]:3000"},
		{"configured", "https://gw.example/", "dash.example", "https://gw.example"},
		{"a host nobody has", "", "x;rm -rf $HOME", "http://127.0.0.1:3000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newConnectLines(tt.gateway, tt.host)
			stream := "ws" + strings.TrimPrefix(tt.want, "http") + "/v1/stream"
			if l.Gateway != tt.want || l.Stream != stream || !strings.Contains(l.Post, "curl "+tt.want+"/data ") {
				t.Errorf("got %+v, want %s and %s", l, tt.want, stream)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Settings)
		want   string
	}{
		{"defaults", func(*Settings) {}, ""},
		{"version 6", func(s *Settings) { s.Listen = "[::1]:8080" }, ""},
		{"all addresses", func(s *Settings) { s.Listen = ":8080" }, "listen: \":8080\": " + errOpen.Error()},
		{"all addresses of version 4", func(s *Settings) { s.Listen = "0.0.0.0:8080" }, "listen: \"0.0.0.0:8080\": " + errOpen.Error()},
		{"insecure", func(s *Settings) { s.Listen, s.Insecure = "0.0.0.0:8080", true }, ""},
		{"no port", func(s *Settings) { s.Listen = "localhost" }, `listen: "localhost" is not host:port`},
		{"port in a host", func(s *Settings) { s.Hosts = []string{"a:80"} }, `hosts: "a:80" is not the name of a host; a port is not part of it`},
		{"gateway without a scheme", func(s *Settings) { s.GatewayURL = "gw:3000" }, `gateway_url: "gw:3000" is not http://host:port or https://host:port`},
		{"gateway with a secret", func(s *Settings) { s.GatewayURL = "http://a:b@gw" }, `gateway_url: "http://a:b@gw" is not http://host:port or https://host:port`},
		{"page without a scheme", func(s *Settings) { s.URL = "page:8080" }, `url: "page:8080" is not http://host:port or https://host:port`},
		{"several", func(s *Settings) { s.Hz, s.MaxViewers, s.History = 0, 0, -1 }, "hz: 0 is not 1 to 10\nmax_viewers: 0 is less than 1\nhistory: -1ns is negative\nwindow: 10m0s is not within the history of -1ns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := DefaultSettings()
			tt.change(&s)
			got := ""
			if err := s.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPlugin(t *testing.T) {
	p := Plugin()
	_, traits, err := p.New(p.Settings(), env(nil))
	want := sinks.Traits{Delivery: sinks.Broadcast, Bodies: true, History: 24 * time.Hour, Window: 10 * time.Minute}
	if err != nil || traits != want {
		t.Errorf("got %+v, %v, want %+v", traits, err, want)
	}
	s := DefaultSettings()
	s.Listen = "0.0.0.0:0"
	if _, _, err := p.New(&s, env(nil)); !errors.Is(err, sinks.ErrUnusable) || !strings.Contains(err.Error(), "insecure: true") {
		t.Errorf("open to all: got %v, want ErrUnusable and what to do", err)
	}
}

func TestOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := DefaultSettings()
	s.Listen = taken.Addr().String()
	d, err := New(s, env(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Open(t.Context()); !errors.Is(err, sinks.ErrUnusable) || !strings.Contains(err.Error(), s.Listen) {
		t.Errorf("address in use: got %v, want ErrUnusable and the address", err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Errorf("Close after a failed Open: %v", err)
	}
}

func TestOrder(t *testing.T) {
	rows := []fleet.Row{
		{Node: "a", State: fleet.Offline, Block: fleet.Number{Value: 9, Known: true}},
		{Node: "b", State: fleet.OK},
		{Node: "c", State: fleet.OK, Block: fleet.Number{Value: 7, Known: true}},
		{Node: "d", State: fleet.Lagging, Block: fleet.Number{Value: 3, Known: true}},
	}
	tests := []struct{ sort, want string }{
		{"", "bcda"}, {"-node", "dcba"}, {"block", "dcba"}, {"-block", "cdba"}, {"state", "dbca"}, {"nonsense", "bcda"}, {"-", "bcda"},
	}
	for _, tt := range tests {
		t.Run(tt.sort, func(t *testing.T) {
			got := ""
			for _, l := range nodesPage(picture{View: fleet.View{Rows: rows}}, "", tt.sort, connectLines{}).Rows {
				got += l.Node
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRate(t *testing.T) {
	var r rate
	now := time.Unix(1_764_000_000, 0)
	if got := r.perSecond(now); got.Known {
		t.Errorf("before any message: got %v, want unknown", got)
	}
	for i := range 300 { // ten a second, and history beside it
		at := now.Add(time.Duration(i) * 100 * time.Millisecond)
		r.add(at, at)
		r.add(at.Add(-time.Hour), at)
	}
	if got := r.perSecond(now.Add(30 * time.Second)); got != (fleet.Number{Value: 10, Known: true}) {
		t.Errorf("got %v, want 10 a second", got)
	}
	if got := r.perSecond(now.Add(time.Hour)); got != (fleet.Number{Known: true}) {
		t.Errorf("long after: got %v, want 0", got)
	}
}

func TestFormats(t *testing.T) {
	n := func(v float64) fleet.Number { return fleet.Number{Value: v, Known: true} }
	tests := []struct{ name, got, want string }{
		{"unknown", group(fleet.Number{}), "–"}, {"small", group(n(999)), "999"}, {"thousand", group(n(1000)), "1,000"}, {"block", group(n(21_413_882)), "21,413,882"},
		{"share", percent(n(12.5)), "13%"}, {"no share", percent(fleet.Number{}), "–"}, {"behind", behind(n(1234)), "−1,234"}, {"not behind", behind(n(0)), "0"},
		{"rate", rateText(n(3.25)), "3.2"}, {"high rate", rateText(n(1503)), "1,503"},
		{"seconds", age(59_999), "59 s"}, {"minutes", age(60_000), "1 min"}, {"hours", age(3_600_000), "1 h"}, {"days", age(48 * 3_600_000), "2 d"}, {"future", age(-5), "0 s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("got %q, want %q", tt.got, tt.want)
			}
		})
	}
}

func TestWriteKeepsNothingOfTheBatch(t *testing.T) {
	b := newBench(t, nil)
	batch := []message.Message{b.block("a", 7)}
	b.write(batch...)
	batch[0].Body["number"], batch[0].Agent = int64(8), "b"
	if r := b.picture().Rows; len(r) != 1 || r[0].Agent != "a" || r[0].Block.Value != 7 {
		t.Errorf("got %+v, want a at block 7", r)
	}
}
