package dynamodb

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"sluice/message"
	"sluice/sinks"
	"sluice/sinks/sinktest"
)

// TestMain gives the AWS chain what it needs, and nothing of this machine's.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "sluicetest", "AWS_SECRET_ACCESS_KEY": "sluicetest", "AWS_SESSION_TOKEN": "",
		"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_DYNAMODB": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// sinkFor returns a sink that is not open, with short waits.
func sinkFor(t testing.TB, endpoint string, change ...func(*Config)) *Sink {
	t.Helper()
	c := DefaultConfig()
	c.Endpoint = endpoint
	for _, f := range change {
		f(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := New(c, sinks.Env{Name: "dynamodb", Log: slog.New(slog.DiscardHandler), Clock: time.Now, Meters: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s.firstWait, s.poll = time.Millisecond, time.Millisecond
	return s
}

// opened returns an open sink that is closed with the test.
func opened(t testing.TB, endpoint string, change ...func(*Config)) *Sink {
	t.Helper()
	s := sinkFor(t, endpoint, change...)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func count(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// history returns the items of a table that are not derived.
func history(t testing.TB, items []map[string]value) []sinktest.Item {
	t.Helper()
	var out []sinktest.Item
	for _, it := range items {
		data, err := json.Marshal(it, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := it["id"]["S"].(string)
		out = append(out, sinktest.Item{ID: id, Data: string(data)})
	}
	return out
}

func ids(items []map[string]value) []string {
	var out []string
	for _, it := range items {
		out = append(out, it["id"]["S"].(string))
	}
	slices.Sort(out)
	return out
}

func TestContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Harness {
		f := newFake(t)
		return sinktest.Harness{
			New:    func() sinks.Sink { return sinkFor(t, f.URL) },
			Read:   func() []sinktest.Item { return history(t, f.all(false)) },
			Reject: func(m *message.Message) { m.ObservedAt = time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC) },
		}
	})
}

// TestContractRefused is the same with a server that finds the fault.
func TestContractRefused(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Harness {
		f := newFake(t)
		f.back = func(call, n int) int { return n / 2 * (call % 2) }
		return sinktest.Harness{
			New:    func() sinks.Sink { return sinkFor(t, f.URL) },
			Read:   func() []sinktest.Item { return history(t, f.all(false)) },
			Reject: func(m *message.Message) { m.ID += "poison" },
		}
	})
}

func TestPlugin(t *testing.T) {
	p := Plugin()
	_, traits, err := p.New(p.Settings(), sinks.Env{Name: "x", Log: slog.New(slog.DiscardHandler), Meters: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if traits.Delivery != sinks.Shared || !traits.Bodies {
		t.Errorf("got traits %+v, want shared, with bodies", traits)
	}
	c := p.Settings().(*Config)
	c.Table = "no"
	if _, _, err := p.New(c, sinks.Env{}); err == nil {
		t.Error("settings that cannot be make a sink")
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"defaults", func(*Config) {}, ""},
		{"all set", func(c *Config) {
			*c = Config{Table: "a.B_c-9", Region: "eu-central-1", Endpoint: "http://dynamodb:8000", Profile: "p", TTL: time.Hour}
		}, ""},
		{"endpoint with IPv6", func(c *Config) { c.Endpoint = "https://[::1]:8000/" }, ""},
		{"table too short", func(c *Config) { c.Table = "ab" }, `table: "ab" is not 3 to 255 letters, digits and . _ -`},
		{"table as ARN", func(c *Config) { c.Table = "arn:aws:x" }, `table: "arn:aws:x" is not 3 to 255 letters, digits and . _ -`},
		{"no scheme", func(c *Config) { c.Endpoint = "localhost:8000" }, `endpoint: "localhost:8000" is not http://host:port or https://host:port`},
		{"with password", func(c *Config) { c.Endpoint = "http://a:b@h" }, `endpoint: "http://a:b@h" is not http://host:port or https://host:port`},
		{"region", func(c *Config) { c.Region = "eu central" }, `region: "eu central" is not the name of a region, such as eu-central-1`},
		{"negative ttl", func(c *Config) { c.TTL = -time.Hour }, "ttl: -1h0m0s is neither 0 nor at least a second"},
		{"two", func(c *Config) { c.Table, c.TTL = "", 1 }, "table: \"\" is not 3 to 255 letters, digits and . _ -\nttl: 1ns is neither 0 nor at least a second"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			tt.change(&c)
			got := ""
			if err := c.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWriteBeforeOpen(t *testing.T) {
	s := sinkFor(t, "http://127.0.0.1:1")
	if err := s.Write(t.Context(), sinktest.Messages(t, 1)); err == nil {
		t.Error("Write of a sink that is not open succeeds")
	}
}

// rejections returns the indexes that err rejects, and fails if it is any other
// error.
func rejections(t testing.TB, err error, n int) []*sinks.Rejected {
	t.Helper()
	if err == nil {
		return nil
	}
	got, ok := sinks.Rejections(err, n)
	if !ok {
		t.Fatalf("got %v, want only rejections", err)
	}
	return got
}

// held checks that err says nothing of single messages and fits no sink that
// cannot be used.
func held(t testing.TB, err error) {
	t.Helper()
	var r *sinks.Rejected
	if err == nil || errors.As(err, &r) || errors.Is(err, sinks.ErrUnusable) {
		t.Fatalf("got %v, want an error after which the batch comes again", err)
	}
}
