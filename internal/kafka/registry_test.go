package kafka_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
)

const intSchema = `{"type":"record","name":"a","fields":[{"name":"n","type":"int"}]}`

func newRegistry(t *testing.T, c kafka.SchemaRegistry, log *slog.Logger) *kafka.Registry {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := c.NewRegistry(log)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSchemaRegistryValidate(t *testing.T) {
	tests := []struct {
		name string
		set  func(*kafka.SchemaRegistry)
		want string
	}{
		{"none", func(*kafka.SchemaRegistry) {}, ""},
		{"http", func(c *kafka.SchemaRegistry) { c.URL = "http://registry:8081" }, ""},
		{"apicurio with a login", func(c *kafka.SchemaRegistry) {
			c.URL, c.User, c.Password = "https://registry/apis/ccompat/v7", "u", "p"
		}, ""},
		{"no scheme", func(c *kafka.SchemaRegistry) { c.URL = "registry:8081" }, "url: want http://host:port"},
		{"not a URL", func(c *kafka.SchemaRegistry) { c.URL = "http://u:canary@[" }, "url: want http://host:port"},
		{"login in it", func(c *kafka.SchemaRegistry) { c.URL = "http://u:canary@registry" }, "url: want no login in it"},
		{"password alone", func(c *kafka.SchemaRegistry) { c.URL, c.Password = "https://registry", "canary" }, "user: want it together with password"},
		{"user without url", func(c *kafka.SchemaRegistry) { c.User, c.Password = "u", "canary" }, "url: empty, but other settings"},
		{"authorities without TLS", func(c *kafka.SchemaRegistry) { c.URL, c.CAFile = "http://registry", "ca.pem" }, "ca_file: of no use with http"},
		{"timeout", func(c *kafka.SchemaRegistry) { c.Timeout = 0 }, "timeout: 0s is not between"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := kafka.DefaultSchemaRegistry()
			tt.set(&c)
			got := fmt.Sprint(c.Validate())
			if tt.want == "" && got != "<nil>" || !strings.Contains(got, tt.want) || strings.Contains(got, "canary") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	c := kafka.SchemaRegistry{URL: "http://registry", Password: "p"}
	if !c.Exposed() {
		t.Error("a password over http is not called exposed")
	}
	if c.URL = "https://registry"; c.Exposed() {
		t.Error("a password over https is called exposed")
	}
}

// TestRegister proves that a schema gets one ID, whoever registers it however
// often, and that one that is there is not written again.
func TestRegister(t *testing.T) {
	fake := kafkatest.NewRegistry(t, 7)
	fake.Guard("u", "p")
	c := fake.Config()
	c.User, c.Password = "u", "p"
	r := newRegistry(t, c, quiet)
	for range 2 {
		id, kept, err := r.Register(t.Context(), "sluice.a-value", intSchema)
		if err != nil || id != 7 || kept != intSchema {
			t.Fatalf("got %d, %s, %v, want 7 and the schema", id, kept, err)
		}
	}
	if n := fake.Asked("POST", "/subjects/sluice.a-value/versions"); n != 1 {
		t.Errorf("written %d times, want once", n)
	}
	if _, err := r.Schema(t.Context(), 8); !errors.Is(err, kafka.ErrNoSchema) {
		t.Errorf("schema 8: got %v, want ErrNoSchema", err)
	}
}

// TestRegisterRefused has what a registry refuses for good: each ends at once,
// in one line that says what to do, and shows no password.
func TestRegisterRefused(t *testing.T) {
	compat := `{"error_code":409,"message":"Schema being registered is incompatible\nwith an earlier schema"}`
	type answers = []kafkatest.Answer
	says := func(status int, body string) kafkatest.Answer { return kafkatest.Answer{Status: status, Body: body} }
	tests := []struct {
		name    string
		answers answers
		want    []string
	}{
		{"incompatible", answers{says(404, `{"error_code":40403}`), says(409, compat)},
			[]string{"subject sluice.a-value", "not compatible", "incompatible?with an earlier schema", "compatibility to NONE"}},
		{"invalid", answers{says(422, `{"error_code":42201,"message":"bad schema"}`)}, []string{"not taken as a schema", "bad schema"}},
		{"login", answers{says(401, "")}, []string{"schema_registry.user, password"}},
		{"no right", answers{says(404, `{"error_code":40401}`), says(403, `{"message":"forbidden"}`)}, []string{"what they may do", "forbidden"}},
		{"no registry at the address", answers{says(404, "<html>not found")}, []string{"schema_registry.url", "/apis/ccompat/v7"}},
		{"elsewhere", answers{says(302, "")}, []string{"schema_registry.url"}},
		{"id 0", answers{says(200, `{"id":0}`)}, []string{"the id 0"}},
		{"id beyond 31 bits", answers{says(200, `{"id":2147483648}`)}, []string{"the id 2147483648"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := kafkatest.NewRegistry(t, 1)
			fake.Fail(tt.answers...)
			c := fake.Config()
			c.User, c.Password = "u", "canary"
			_, _, err := newRegistry(t, c, quiet).Register(t.Context(), "sluice.a-value", intSchema)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range append(tt.want, "sluice.a-value", fake.Config().URL) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("does not say %q: %v", want, err)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\r") || strings.Contains(err.Error(), "canary") {
				t.Errorf("more than a line, or with the password: %q", err)
			}
		})
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await waits for a condition, and fails the test after a minute.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
		<-tick.C
	}
}

// TestRegisterWaits proves that a registry which refuses connections, breaks
// them, answers 5xx or does not have at once what it took is waited for.
func TestRegisterWaits(t *testing.T) {
	// An address where nothing listens yet.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	fake := kafkatest.NewRegistry(t, 3)
	fake.Fail(
		kafkatest.Answer{Status: 503, Body: "starting"}, kafkatest.Answer{Status: 429},
		kafkatest.Answer{Status: 404, Body: `{"error_code":40401}`}, kafkatest.Answer{Status: 200, Body: `{"id":3}`},
		kafkatest.Answer{Status: 404, Body: `{"error_code":40403}`},
		kafkatest.Answer{Status: 200, Body: "<html>a proxy"},
	)
	var log lines
	c := fake.Config()
	c.URL = "http://" + addr
	r := newRegistry(t, c, slog.New(slog.NewTextHandler(&log, nil)))
	done := make(chan error, 1)
	go func() {
		id, _, err := r.Register(t.Context(), "sluice.a-value", intSchema)
		if err == nil && id != 3 {
			err = fmt.Errorf("got the id %d, want 3", id)
		}
		done <- err
	}()
	await(t, "a line in the log", func() bool { return strings.Contains(log.String(), "waiting for the schema registry") })
	if got := log.String(); !strings.Contains(got, addr) || !strings.Contains(got, "schema_registry.url is right") {
		t.Errorf("the line does not say what to check: %s", got)
	}
	var lc net.ListenConfig
	if ln, err = lc.Listen(t.Context(), "tcp", addr); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(fake.Handler())
	_ = srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	defer srv.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRegisterEndsWithItsContext(t *testing.T) {
	fake := kafkatest.NewRegistry(t, 1)
	fake.Away(true)
	var log lines
	r := newRegistry(t, fake.Config(), slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, _, err := r.Register(ctx, "sluice.a-value", intSchema)
		done <- err
	}()
	await(t, "a line in the log", func() bool { return log.String() != "" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that of the context", err)
	}
}

// TestSchemaSaysWhy has the answers to a reader's question.
func TestSchemaSaysWhy(t *testing.T) {
	fake := kafkatest.NewRegistry(t, 1)
	c := fake.Config()
	c.Timeout = 100 * time.Millisecond
	r := newRegistry(t, fake.Config(), quiet)
	fake.Put(5, intSchema)
	if got, err := r.Schema(t.Context(), 5); err != nil || got != intSchema {
		t.Errorf("got %s, %v, want the schema", got, err)
	}
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	c.URL = slow.URL
	huge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5<<20)) }))
	defer huge.Close()
	h := fake.Config()
	h.URL = huge.URL
	tests := []struct {
		name    string
		r       *kafka.Registry
		prepare func()
		want    string
		absent  bool
	}{
		{"absent", r, func() {}, "check that schema_registry.url is the registry that the record's writer used", true},
		{"500", r, func() { fake.Fail(kafkatest.Answer{Status: 500, Body: `{"error_code":50001,"message":"store"}`}) }, "cannot answer now: HTTP 500: store", false},
		{"no registry", r, func() { fake.Fail(kafkatest.Answer{Status: 404}) }, "check schema_registry.url", false},
		{"too slow", newRegistry(t, c, quiet), func() {}, "check that it runs", false},
		{"too long", newRegistry(t, h, quiet), func() {}, "too large", false},
		{"away", r, func() { fake.Away(true) }, "check that it runs", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.prepare()
			_, err := tt.r.Schema(t.Context(), 9)
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, kafka.ErrNoSchema) != tt.absent {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestRegistryTLS proves that the registry's certificate is checked, against
// schema_registry.ca_file.
func TestRegistryTLS(t *testing.T) {
	fake := kafkatest.NewRegistry(t, 1)
	fake.Put(5, intSchema)
	srv := httptest.NewUnstartedServer(fake.Handler())
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	defer srv.Close()
	c := fake.Config()
	c.URL = srv.URL
	if _, err := newRegistry(t, c, quiet).Schema(t.Context(), 5); err == nil || !strings.Contains(err.Error(), "check schema_registry.ca_file") {
		t.Errorf("a certificate of nobody: got %v", err)
	}
	c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if _, err := c.NewRegistry(quiet); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	write := func(b []byte) {
		if err := os.WriteFile(c.CAFile, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("no certificate"))
	if _, err := c.NewRegistry(quiet); err == nil || !strings.Contains(err.Error(), "schema_registry.ca_file") {
		t.Errorf("a file without: got %v", err)
	}
	write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	if got, err := newRegistry(t, c, quiet).Schema(t.Context(), 5); err != nil || got != intSchema {
		t.Errorf("got %s, %v, want the schema", got, err)
	}
}
