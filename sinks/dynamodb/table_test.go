package dynamodb

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/sinks"
)

func TestOpenMakesTable(t *testing.T) {
	f := newFake(t)
	// The first reads do not find what was just made.
	f.answer = func(op string, n int, _ []byte) *reply {
		if op == "DescribeTable" && n < 4 {
			return failure(400, "ResourceNotFoundException", "Requested resource not found")
		}
		return nil
	}
	s := opened(t, f.URL, func(c *Config) { c.TTL = time.Hour })
	if f.count("CreateTable") != 1 || f.count("UpdateTimeToLive") != 1 || f.ttl["AttributeName"] != "expires" {
		t.Errorf("got requests %v and expiry %v", f.ops, f.ttl)
	}
	if !strings.Contains(f.agent, "app/sluice") {
		t.Errorf("got user agent %q, want the application in it", f.agent)
	}
	if got, want := count(t, s.meters.requests), float64(len(f.ops)); got != want {
		t.Errorf("got %v requests counted, want %v", got, want)
	}
	// Another finds all as it is to be.
	f.ops, f.answer = nil, nil
	opened(t, f.URL, func(c *Config) { c.TTL = time.Hour })
	if got := strings.Join(f.ops, " "); got != "DescribeTable DescribeTimeToLive" && got != "DescribeTable DescribeTable DescribeTimeToLive" {
		t.Errorf("got requests %s, want only looks", got)
	}
}

func TestOpenWhileAnotherMakesTable(t *testing.T) {
	f := newFake(t)
	f.answer = func(op string, n int, _ []byte) *reply {
		if op == "CreateTable" {
			f.keyed("CREATING", "sk S RANGE", "pk S HASH")
		}
		return nil
	}
	opened(t, f.URL)
}

func TestOpenTable(t *testing.T) {
	tests := []struct {
		name   string
		status string
		keys   []string
		ttl    map[string]any
		change func(*Config)
		want   string // the error
		final  bool   // it ends the process
	}{
		{name: "as wanted", status: "ACTIVE", keys: []string{"pk S HASH", "sk S RANGE"}},
		{name: "being changed", status: "UPDATING", keys: []string{"pk S HASH", "sk S RANGE"}},
		{name: "being deleted", status: "DELETING", keys: []string{"pk S HASH", "sk S RANGE"}, want: "table sluice is DELETING"},
		{name: "no sort key", status: "ACTIVE", keys: []string{"pk S HASH"}, final: true,
			want: "sink cannot be used as configured: table sluice has the key pk (S, HASH), want pk (S, HASH) and sk (S, RANGE); set table to another name"},
		{name: "numeric sort key", status: "ACTIVE", keys: []string{"pk S HASH", "sk N RANGE"}, final: true,
			want: "sink cannot be used as configured: table sluice has the key pk (S, HASH) and sk (N, RANGE), want pk (S, HASH) and sk (S, RANGE); set table to another name"},
		{name: "keys swapped, not made here", status: "CREATING", keys: []string{"sk S HASH", "pk S RANGE"}, change: func(c *Config) { c.Create = false }, final: true,
			want: "sink cannot be used as configured: table sluice has the key sk (S, HASH) and pk (S, RANGE), want pk (S, HASH) and sk (S, RANGE); set table to another name"},
		{name: "expires by another", status: "ACTIVE", keys: []string{"pk S HASH", "sk S RANGE"}, change: func(c *Config) { c.TTL = time.Hour }, final: true,
			ttl:  map[string]any{"TimeToLiveStatus": "ENABLED", "AttributeName": "gone"},
			want: "sink cannot be used as configured: table sluice expires items by gone, want expires; set ttl to 0 or table to another name"},
		{name: "absent", change: func(c *Config) { c.Create = false },
			want: "DescribeTable on table sluice: ResourceNotFoundException: Requested resource not found; check table and region, or set create: true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			if tt.keys != nil {
				f.keyed(tt.status, tt.keys...)
			}
			f.ttl = tt.ttl
			if tt.change == nil {
				tt.change = func(*Config) {}
			}
			s := sinkFor(t, f.URL, tt.change)
			defer s.disconnect()
			err := s.Open(t.Context())
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || errors.Is(err, sinks.ErrUnusable) != tt.final {
				t.Errorf("got %q, final %t, want %q, %t", got, errors.Is(err, sinks.ErrUnusable), tt.want, tt.final)
			}
			if f.count("CreateTable")+f.count("UpdateTimeToLive") > 0 {
				t.Errorf("got requests %v, want a table that stands left as it is", f.ops)
			}
		})
	}
}

// TestOpenForeignTable checks that with create off nothing is changed.
func TestOpenForeignTable(t *testing.T) {
	f := newFake(t)
	f.keyed("ACTIVE", "pk S HASH", "sk S RANGE")
	s := sinkFor(t, f.URL, func(c *Config) { c.TTL, c.Create = time.Hour, false })
	defer s.disconnect()
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.count("UpdateTimeToLive") > 0 || !strings.Contains(log.String(), "level=WARN msg=\"expiry of the table is off") {
		t.Errorf("got requests %v and log %q, want a warning and no change", f.ops, &log)
	}
}

// TestOpenNeverReady checks that waiting for a table ends, to be said and begun
// again by the runner.
func TestOpenNeverReady(t *testing.T) {
	f := newFake(t)
	f.answer = func(op string, _ int, _ []byte) *reply {
		f.keyed("CREATING", "pk S HASH", "sk S RANGE")
		return nil
	}
	s := sinkFor(t, f.URL)
	defer s.disconnect()
	s.activation = 20 * time.Millisecond
	err := s.Open(t.Context())
	held(t, err)
	if want := "table sluice is not ready after 20ms"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// TestOpenChain checks what is taken from the AWS chain, and what is said where
// it gives nothing.
func TestOpenChain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	f := newFake(t)
	text := "[profile mine]\nregion = us-west-2\naws_access_key_id = mine\naws_secret_access_key = mine\nendpoint_url = " + f.URL + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(t *testing.T, change func(*Config)) error {
		t.Helper()
		s := sinkFor(t, "", change)
		defer s.disconnect()
		return s.Open(t.Context())
	}
	t.Run("profile", func(t *testing.T) {
		t.Setenv("AWS_CONFIG_FILE", file)
		t.Setenv("AWS_REGION", "")
		if err := open(t, func(c *Config) { c.Profile = "mine" }); err != nil {
			t.Error(err)
		}
	})
	t.Run("variable", func(t *testing.T) {
		t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", f.URL)
		if err := open(t, func(*Config) {}); err != nil {
			t.Error(err)
		}
	})
	t.Run("no such profile", func(t *testing.T) {
		t.Setenv("AWS_CONFIG_FILE", file)
		err := open(t, func(c *Config) { c.Profile = "yours" })
		held(t, err)
		if !strings.HasPrefix(err.Error(), "read AWS configuration: ") || !strings.Contains(err.Error(), "yours") {
			t.Errorf("got %q, want the profile named", err)
		}
	})
	t.Run("no region", func(t *testing.T) {
		t.Setenv("AWS_REGION", "")
		err := open(t, func(c *Config) { c.Endpoint = f.URL })
		held(t, err)
		if want := "no AWS region: set region, AWS_REGION or that of the profile"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	})
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		err := open(t, func(c *Config) { c.Endpoint = f.URL })
		held(t, err)
		if !strings.HasPrefix(err.Error(), "DescribeTable on table sluice: no credentials: ") ||
			!strings.HasSuffix(err.Error(), "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile, or a role") {
			t.Errorf("got %q, want what to set", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		err := open(t, func(c *Config) { c.Endpoint = "http://127.0.0.1:1" })
		held(t, err)
		if !strings.HasPrefix(err.Error(), "DescribeTable on table sluice: Post \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: ") ||
			!strings.HasSuffix(err.Error(), "; check endpoint, region and network") {
			t.Errorf("got %q, want the address and what to check", err)
		}
	})
}
