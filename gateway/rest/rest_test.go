package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/goleak"

	"sluice/gateway"
	"sluice/gateway/gatewaytest"
	"sluice/gateway/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, tune func(cfg *gateway.Config, s *rest.Settings)) *gatewaytest.Gateway {
	t.Helper()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return gatewaytest.Start(t, map[string]gateway.Protocol{"rest": rest.Protocol()},
		func(cfg *gateway.Config, settings map[string]any) {
			if tune != nil {
				tune(cfg, settings["rest"].(*rest.Settings))
			}
		})
}

type answer struct {
	status                           int
	header                           http.Header
	Result, ID, Error, Field, Reason string
}

// post sends a body as agent a, with headers that replace the usual ones; one
// that is "-" is left out.
func post(t testing.TB, g *gatewaytest.Gateway, body io.Reader, headers map[string]string) answer {
	t.Helper()
	return do(t, g, "POST", "/data", body, headers)
}

func do(t testing.TB, g *gatewaytest.Gateway, method, path string, body io.Reader, headers map[string]string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), gatewaytest.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+g.Addr()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer token-a")
	r.Header.Set("Content-Type", "application/json")
	for k, v := range headers {
		if r.Header.Set(k, v); v == "-" {
			r.Header.Del(k)
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &a); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %q, %v, want JSON", resp.StatusCode, b, err)
	}
	return a
}

const load = `{"id":"a","type":"system_metrics","data":{"type":"load","body":{"load1":0.4}}}`

func packed(t *testing.T, v any) string {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTaken(t *testing.T) {
	envelope := map[string]any{"id": "a", "type": "system_metrics", "data": map[string]any{"type": "load", "body": map[string]any{}}}
	tests := []struct {
		name, body  string
		headers     map[string]string
		contentType string
	}{
		{"object", load, nil, "application/json"},
		{"charset", load, map[string]string{"Content-Type": "application/json; charset=utf-8"}, "application/json"},
		{"identity", load, map[string]string{"Content-Encoding": "identity"}, "application/json"},
		{"array", " [" + load + "," + load + "]", nil, "application/json"},
		{"msgpack", packed(t, envelope), map[string]string{"Content-Type": "application/msgpack"}, "application/msgpack"},
		{"msgpack array", packed(t, []any{envelope, envelope}), map[string]string{"Content-Type": "application/x-msgpack"}, "application/msgpack"},
		{"lines", load + "\n\n" + load + "\n", map[string]string{"Content-Type": "application/x-ndjson"}, "application/x-ndjson"},
		{"a fault inside of data", `{"id":"a","type":"system_metrics","data":{"type":"no such kind","body":{"load1":"high"}}}`, nil, "application/json"},
		{"no kind", `{"id":"a","type":"system_metrics","data":{}}`, nil, "application/json"},
	}
	g := start(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(g.Producer.Frames("rest"))
			a := post(t, g, strings.NewReader(tt.body), tt.headers)
			if a.status != 200 || a.Result != "success" || !strings.HasPrefix(a.ID, "a/") {
				t.Fatalf("got %+v, want success", a)
			}
			fs := g.Producer.Frames("rest")
			if len(fs) != before+1 {
				t.Fatalf("got %d frames, want one more than %d", len(fs), before)
			}
			f := fs[before]
			if f.ID != a.ID || f.Agent != "a" || string(f.Value) != tt.body || f.ContentType != tt.contentType || f.ReceivedAt.IsZero() {
				t.Errorf("got frame %+v with %q", f, f.Value)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	msgpackType := map[string]string{"Content-Type": "application/msgpack"}
	tests := []struct {
		name, body   string
		headers      map[string]string
		status       int
		error, field string
	}{
		{"no token", load, map[string]string{"Authorization": "-"}, 401, "unauthorized", ""},
		{"unknown token", load, map[string]string{"Authorization": "Bearer token-x"}, 401, "unauthorized", ""},
		{"basic", load, map[string]string{"Authorization": "Basic dG9rZW4tYTo="}, 401, "unauthorized", ""},
		{"no content type", load, map[string]string{"Content-Type": "-"}, 415, "content_type", ""},
		{"text", load, map[string]string{"Content-Type": "text/plain"}, 415, "content_type", ""},
		{"gzip", load, map[string]string{"Content-Encoding": "gzip"}, 415, "content_encoding", ""},
		{"key", load, map[string]string{"Idempotency-Key": "a/b"}, 400, "idempotency_key", ""},
		{"empty key", load, map[string]string{"Idempotency-Key": ""}, 400, "idempotency_key", ""},
		{"not json", `{"id":`, nil, 400, "malformed", "id"},
		{"bytes behind", load + "x", nil, 400, "malformed", ""},
		{"duplicate", `{"id":"a","id":"b"}`, nil, 400, "duplicate", "id"},
		{"not utf-8", "{\"id\":\"\xff\"}", nil, 400, "utf8", "id"},
		{"deep", strings.Repeat("[", 1000), nil, 400, "depth", strings.Repeat("[0]", 32)},
		{"msgpack bomb", "\xdd\xff\xff\xff\xff", msgpackType, 400, "length", ""},
		{"a number", "1", nil, 422, "envelope", ""},
		{"empty array", "[]", nil, 422, "empty", ""},
		{"no id", `{"type":"system_metrics","data":{}}`, nil, 422, "envelope", "id"},
		{"no type", `{"id":"a","data":{}}`, nil, 422, "envelope", "type"},
		{"data is text", `{"id":"a","type":"system_metrics","data":"x"}`, nil, 422, "envelope", "data"},
		{"time is text", `{"id":"a","type":"system_metrics","data":{"type":"load","body":{}},"time":"now"}`, nil, 422, "envelope", "time"},
		{"unknown type", `{"id":"a","type":"weather","data":{"type":"rain","body":{}}}`, nil, 422, "unknown_type", "type"},
		{"type as a path", `{"id":"a","type":"../agents","data":{"type":"rain","body":{}}}`, nil, 422, "unknown_type", "type"},
		{"another agent", strings.Replace(load, `"a"`, `"b"`, 1), nil, 403, "foreign_id", "id"},
		{"second of an array", "[" + load + "," + strings.Replace(load, `"a"`, `"b"`, 1) + "]", nil, 403, "foreign_id", "[1].id"},
		{"array of one", `[{"id":"a","data":{}}]`, nil, 422, "envelope", "[0].type"},
		{"third line", load + "\n" + load + "\n{}", map[string]string{"Content-Type": "application/x-ndjson"}, 422, "envelope", "[2].id"},
	}
	g := start(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := post(t, g, strings.NewReader(tt.body), tt.headers)
			if a.status != tt.status || a.Error != tt.error || a.Field != tt.field || a.Reason == "" {
				t.Errorf("got %d %q, field %q, reason %q, want %d %q, field %q", a.status, a.Error, a.Field, a.Reason, tt.status, tt.error, tt.field)
			}
			if (a.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("got %d with WWW-Authenticate %q", a.status, a.header.Get("WWW-Authenticate"))
			}
		})
	}
	if got := g.Producer.Frames("rest"); len(got) != 0 {
		t.Errorf("got %d frames in Kafka, want none", len(got))
	}
}

func TestPaths(t *testing.T) {
	g := start(t, nil)
	tests := []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/data", 405, "POST"},
		{"DELETE", "/data", 405, "POST"},
		{"POST", "/session", 404, ""},
		{"GET", "/", 404, ""},
	}
	for _, tt := range tests {
		a := do(t, g, tt.method, tt.path, nil, nil)
		if a.status != tt.status || a.header.Get("Allow") != tt.allow || !strings.Contains(a.Reason, "POST /data") {
			t.Errorf("%s %s: got %+v, want %d, Allow %q and a hint", tt.method, tt.path, a, tt.status, tt.allow)
		}
	}
}

func TestBodySize(t *testing.T) {
	g := start(t, nil)
	full := load + strings.Repeat(" ", 1<<20-len(load))
	for name, tt := range map[string]struct {
		body   io.Reader
		status int
	}{
		"just fits":              {strings.NewReader(full), 200},
		"one more":               {strings.NewReader(full + " "), 413},
		"just fits, no length":   {io.MultiReader(strings.NewReader(full)), 200},
		"one more, no length":    {io.MultiReader(strings.NewReader(full + " ")), 413},
		"empty":                  {strings.NewReader(""), 400},
		"twenty times, declared": {bytes.NewReader(make([]byte, 20<<20)), 413},
	} {
		t.Run(name, func(t *testing.T) {
			if a := post(t, g, tt.body, map[string]string{"Expect": "100-continue"}); a.status != tt.status {
				t.Errorf("got %+v, want %d", a, tt.status)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	g := start(t, nil)
	for range 2 {
		if a := post(t, g, strings.NewReader(load), map[string]string{"Idempotency-Key": "key-1"}); a.ID != "a/key-1" {
			t.Errorf("got %+v, want the ID a/key-1", a)
		}
	}
	one, two := post(t, g, strings.NewReader(load), nil), post(t, g, strings.NewReader(load), nil)
	if one.ID == two.ID {
		t.Errorf("got the ID %s twice without a key", one.ID)
	}
}

func TestAnswerComesAfterKafka(t *testing.T) {
	g := start(t, nil)
	g.Producer.Hold()
	got := make(chan answer, 1)
	go func() { got <- post(t, g, strings.NewReader(load), nil) }()
	gatewaytest.Wait(t, "the frame to be taken", func() bool { return g.Producer.Pending() == 1 })
	select {
	case a := <-got:
		t.Fatalf("got %+v before Kafka had the frame", a)
	default:
	}
	g.Producer.Release()
	if a := <-got; a.status != 200 {
		t.Errorf("got %+v, want 200", a)
	}
}

func TestUnknownFate(t *testing.T) {
	tests := []struct {
		name string
		make func(p *gatewaytest.Producer)
	}{
		{"kafka says no", func(p *gatewaytest.Producer) { p.Fail(errors.New("no")) }},
		{"kafka says nothing", func(p *gatewaytest.Producer) { p.Hold() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t, func(_ *gateway.Config, s *rest.Settings) { s.AckTimeout = 100 * time.Millisecond })
			tt.make(g.Producer)
			a := post(t, g, strings.NewReader(load), nil)
			if a.status != 503 || a.Error != "unknown" || a.header.Get("Retry-After") == "" || !strings.Contains(a.Reason, "Idempotency-Key") {
				t.Errorf("got %+v, want 503 that asks for the same again", a)
			}
		})
	}
}

func TestBusy(t *testing.T) {
	t.Run("stalled", func(t *testing.T) {
		g := start(t, func(cfg *gateway.Config, s *rest.Settings) {
			cfg.Ingest.Stall, s.AckTimeout = 300*time.Millisecond, 100*time.Millisecond
		})
		g.Producer.Silence()
		post(t, g, strings.NewReader(load), nil)
		gatewaytest.Wait(t, "the gateway to see that Kafka stalls", func() bool { return g.Ready(t.Context()) != nil })
		if a := post(t, g, strings.NewReader(load), nil); a.status != 503 || a.Error != "busy" || a.header.Get("Retry-After") == "" {
			t.Errorf("got %+v, want 503 with Retry-After", a)
		}
		g.Producer.Release()
		gatewaytest.Wait(t, "the gateway to be ready", func() bool { return g.Ready(t.Context()) == nil })
		if a := post(t, g, strings.NewReader(load), nil); a.status != 200 {
			t.Errorf("got %+v once Kafka is back, want 200", a)
		}
	})
	t.Run("budget", func(t *testing.T) {
		g := start(t, func(cfg *gateway.Config, s *rest.Settings) {
			cfg.Ingest.InFlight, s.AckTimeout = 1000, 50*time.Millisecond
		})
		g.Producer.Hold()
		if a := post(t, g, strings.NewReader(load), nil); a.Error != "unknown" {
			t.Fatalf("got %+v", a)
		}
		if a := post(t, g, strings.NewReader(load), nil); a.Error != "busy" {
			t.Errorf("got %+v, want busy: there is room for one frame only", a)
		}
		if got := g.Producer.Pending(); got != 1 {
			t.Errorf("got %d frames in flight, want 1", got)
		}
	})
	t.Run("bodies", func(t *testing.T) {
		g := start(t, func(_ *gateway.Config, s *rest.Settings) { s.Bodies = 100 })
		if a := post(t, g, io.MultiReader(strings.NewReader(load)), nil); a.Error != "busy" {
			t.Errorf("got %+v, want busy: the memory for bodies is less than this may take", a)
		}
		if a := post(t, g, strings.NewReader(load), nil); a.status != 200 {
			t.Errorf("got %+v, want a body that fits to be taken", a)
		}
	})
}

// A request that is waiting is answered while the gateway stops.
func TestStopAnswers(t *testing.T) {
	g := start(t, nil)
	g.Producer.Hold()
	got := make(chan answer, 1)
	go func() { got <- post(t, g, strings.NewReader(load), nil) }()
	gatewaytest.Wait(t, "the frame to be taken", func() bool { return g.Producer.Pending() == 1 })
	g.Cancel()
	gatewaytest.Wait(t, "the gateway to stop", func() bool { return g.Ready(t.Context()) != nil })
	g.Producer.Release()
	if a := <-got; a.status != 200 {
		t.Errorf("got %+v, want 200", a)
	}
}
