package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestReady(t *testing.T) {
	var h Health
	broken := errors.New("no broker answers: check kafka.brokers")
	state := broken
	h.Add("normalizer", func(context.Context) error { return nil })
	h.Add("gateway", func(context.Context) error { return state })
	admin := NewAdmin("127.0.0.1:0", &h, prometheus.NewRegistry(), "v1", nil)
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		admin.handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := get("/readyz"); code != 503 || body != "gateway: "+broken.Error()+"\n" {
		t.Errorf("broken: got %d %q", code, body)
	}
	if code, _ := get("/livez"); code != 200 {
		t.Errorf("livez while not ready: got %d, want 200", code)
	}
	_, body := get("/readyz?verbose")
	var got struct {
		Ready bool
		Parts []part
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Ready || len(got.Parts) != 2 || !got.Parts[0].Ready {
		t.Errorf("verbose: got %s, %v", body, err)
	}
	state = nil
	if code, body := get("/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("mended: got %d %q", code, body)
	}
	if code, body := get("/version"); code != 200 || body != "v1\n" {
		t.Errorf("version: got %d %q", code, body)
	}
}

func TestProfilesOnLoopbackOnly(t *testing.T) {
	for addr, want := range map[string]int{"127.0.0.1:1": 200, "[::1]:1": 200, "localhost:1": 200, "0.0.0.0:1": 404, ":1": 404, "10.0.0.1:1": 404} {
		w := httptest.NewRecorder()
		NewAdmin(addr, &Health{}, prometheus.NewRegistry(), "", nil).handler.ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/", nil))
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", addr, w.Code, want)
		}
	}
}

func TestRegisterShares(t *testing.T) {
	r := prometheus.NewRegistry()
	DeadLetters(r).WithLabelValues("a", "b").Inc()
	DeadLetters(r).WithLabelValues("a", "b").Inc()
	families, err := r.Gather()
	if err != nil || len(families) != 1 || families[0].Metric[0].Counter.GetValue() != 2 {
		t.Errorf("got %v, %v, want one counter at 2", families, err)
	}
}

func TestLogFormat(t *testing.T) {
	var b bytes.Buffer
	DefaultLog().New(&b, func(string) string { return "" }).Info("started", "agent", "a\nb\x1b[31m")
	if got := b.String(); strings.Count(got, "\n") != 1 || !json.Valid(b.Bytes()) {
		t.Errorf("not one line of JSON: %q", got)
	}
	bad := Log{Format: "xml", Level: "loud", Color: "auto"}
	if err := bad.Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v, want two problems", err)
	}
}
