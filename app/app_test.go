package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/config"
)

// run runs a command line in a directory of its own and returns what it said.
func run(t *testing.T, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(t.Context(), Default(), args, Streams{In: strings.NewReader(""), Out: &o, Err: &e}, environ)
	return code, o.String(), e.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestExitCodes proves that each wrong input ends with the code that is
// documented and says what to check.
func TestExitCodes(t *testing.T) {
	bad := write(t, "sluice.yaml", "gateway:\n  lissten: 127.0.0.1:1\nroutes:\n  etherum_metrics: [dashboard]\n  system_metrics: [dashbord]\nsinks:\n  x:\n    plugin: nosuch\n")
	unknownSink := write(t, "sluice.yaml", "routes:\n  system_metrics: [dashbord]\n")
	unrouted := write(t, "sluice.yaml", "sinks:\n  printer:\n    plugin: stdout\n")
	narrow := write(t, "sluice.yaml", "routes:\n  ethereum_metrics: [dashboard]\n  system_metrics: [dashboard]\n  networking_metrics: [dashboard]\n")
	tests := []struct {
		name    string
		args    []string
		environ []string
		code    int
		says    []string
	}{
		{"version", []string{"version"}, nil, 0, nil},
		{"help", []string{"--help"}, nil, 0, nil},
		{"valid defaults", []string{"config", "validate"}, nil, 0, []string{"configuration is valid"}},
		{"unknown command", []string{"replya"}, nil, 2, []string{`unknown argument "replya"`}},
		{"command nearly right", []string{"gatewya"}, nil, 2, []string{"did you mean gateway?"}},
		{"unknown flag", []string{"up", "--colour"}, nil, 2, []string{"unknown flag: --colour; see sluice up --help"}},
		{"no sink named", []string{"sink"}, nil, 2, []string{"wants the name of at least one sink"}},
		{"unknown protocol", []string{"gateway", "--protocol", "webscoket"}, nil, 2, []string{"did you mean websocket?"}},
		{"everything wrong at once", []string{"config", "validate", "--config", bad}, nil, 78, []string{
			bad + ":2: gateway.lissten: unknown key (did you mean listen?)",
			bad + ":4: routes.etherum_metrics: no schema for this data type (did you mean ethereum_metrics?)",
			bad + `:8: sinks.x.plugin: unknown plugin "nosuch"`,
		}},
		{"route to an unknown sink", []string{"config", "validate", "--config", unknownSink}, nil, 78, []string{
			unknownSink + `:2: routes.system_metrics[0]: no sink is called "dashbord" (did you mean dashboard?)`,
		}},
		{"sink without route, validate", []string{"config", "validate", "--config", unrouted}, nil, 0, []string{"warning: sinks.printer: no data type is routed to it"}},
		{"default sink without route", []string{"config", "validate", "--config", narrow}, nil, 0, []string{"configuration is valid"}},
		{"sink without route, run", []string{"sink", "printer", "--config", unrouted}, nil, 78, []string{"no data type is routed to sink printer"}},
		{"unknown sink", []string{"sink", "archvie"}, nil, 78, []string{`no sink is called "archvie" (did you mean archive?)`}},
		{"file is not there", []string{"config", "validate", "--config", "/nonexistent.yaml"}, nil, 78, []string{"/nonexistent.yaml"}},
		{"schema directory is not there", []string{"config", "validate"}, []string{"SLUICE_SCHEMAS__DIR=/nonexistent"}, 78, []string{"schemas.dir", "/nonexistent"}},
		{"bad value from the environment", []string{"config", "validate"}, []string{"SLUICE_KAFKA__TOPICS__PARTITIONS=many"}, 78, []string{"SLUICE_KAFKA__TOPICS__PARTITIONS"}},
		{"agent without token", []string{"agent", "--url", "ws://127.0.0.1:1"}, nil, 78, []string{"agent.token: missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, _, errOut := run(t, tt.environ, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d; said %s", code, tt.code, errOut)
			}
			if tt.name == "default sink without route" && strings.Contains(errOut, "warning") {
				t.Errorf("warns of a sink that nobody named:\n%s", errOut)
			}
			for _, want := range tt.says {
				if !strings.Contains(errOut, want) {
					t.Errorf("does not say %q:\n%s", want, errOut)
				}
			}
		})
	}
}

// TestConfigRoundTrip proves that what print writes is a configuration that says
// the same, and that no secret is in it.
func TestConfigRoundTrip(t *testing.T) {
	environ := []string{"SLUICE_AGENT__TOKEN=tsk_canary", "SLUICE_GATEWAY__LISTEN=127.0.0.1:3999"}
	code, first, errOut := run(t, environ, "config", "print")
	if code != 0 {
		t.Fatal(errOut)
	}
	if strings.Contains(first, "canary") || !strings.Contains(first, "listen: 127.0.0.1:3999") {
		t.Errorf("printed:\n%s", first)
	}
	_, first, _ = run(t, environ[1:], "config", "print")
	file := write(t, "again.yaml", first)
	if code, second, errOut := run(t, nil, "config", "print", "--config", file); code != 0 || second != first {
		t.Errorf("code %d, %s\ngot\n%s\nwant\n%s", code, errOut, second, first)
	}
	if code, out, _ := run(t, environ, "config", "print", "--effective"); code != 0 || !strings.Contains(out, "SLUICE_GATEWAY__LISTEN") {
		t.Errorf("origins are missing:\n%s", out)
	}
}

func TestConfigSchemaAndEnv(t *testing.T) {
	code, out, errOut := run(t, nil, "config", "schema")
	if code != 0 || !strings.Contains(out, `"routes"`) || !strings.Contains(out, `"max_viewers"`) {
		t.Errorf("schema: code %d, %s\n%.300s", code, errOut, out)
	}
	code, out, errOut = run(t, nil, "config", "env")
	if code != 0 || !strings.Contains(out, "SLUICE_KAFKA__BROKERS") {
		t.Errorf("env: code %d, %s\n%.300s", code, errOut, out)
	}
}

// TestExamples proves that every example file is a valid configuration.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../config/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no example files: %v", err)
	}
	for _, f := range files {
		environ := []string{"SLUICE_AGENT__TOKEN=tsk_x"}
		if filepath.Base(f) == "production.yaml" { // which says where its password comes from
			environ = append(environ, "SLUICE_KAFKA__SASL__PASSWORD=x")
		}
		if code, _, errOut := run(t, environ, "config", "validate", "--config", f); code != 0 {
			t.Errorf("%s: exit code %d: %s", f, code, errOut)
		}
	}
}

func TestSlot(t *testing.T) {
	for host, want := range map[string]string{"normalizer-3": "3", "web-1a": "web-1a", "host.example.org": "host.example.org", "büro": "b-ro", "": "this-machine"} {
		s := &settings{}
		got, err := s.slot(func() (string, error) { return host, nil })
		if err != nil || got != want {
			t.Errorf("host %q: got %q, %v, want %q", host, got, err, want)
		}
	}
	if _, err := (&settings{}).slot(func() (string, error) { return "", fmt.Errorf("no name") }); err == nil {
		t.Error("no host name: got nil, want an error")
	}
}

// TestServeStopsInOrder proves that a part ends before those that feed it, and
// that a part which fails ends the others.
func TestServeStopsInOrder(t *testing.T) {
	boom := errors.New("boom")
	for _, fail := range []bool{false, true} {
		s, _, err := load(config.Sources{}, Default(), role{})
		if err != nil {
			t.Fatal(err)
		}
		s.admin.Listen = ""
		p := newProcess(s, Default(), slog.New(slog.DiscardHandler), nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		var order []string
		parts := make([]part, 3)
		for i := range parts {
			name := string(rune('a' + i))
			parts[i] = part{name: name, run: func(ctx context.Context) error {
				if fail && name == "b" {
					return boom
				}
				if name == "c" {
					cancel()
				}
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				return nil
			}}
		}
		if fail {
			parts[2].run = func(ctx context.Context) error { <-ctx.Done(); return nil }
		}
		err = p.serve(ctx, parts)
		if !fail && (err != nil || !slices.Equal(order, []string{"c", "b", "a"})) {
			t.Errorf("got %v, stopped in the order %v, want c b a", err, order)
		}
		if fail && !errors.Is(err, boom) {
			t.Errorf("got %v, want %v", err, boom)
		}
		if p.health.Ready(t.Context()) == nil {
			t.Error("still ready after the end")
		}
	}
}

// TestServeGivesUp proves that a part which does not end holds up the process for
// stopWithin and no longer.
func TestServeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, err := load(config.Sources{}, Default(), role{})
		if err != nil {
			t.Fatal(err)
		}
		s.admin.Listen = ""
		p := newProcess(s, Default(), slog.New(slog.DiscardHandler), nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began, release := time.Now(), make(chan struct{})
		err = p.serve(ctx, []part{{name: "stuck", run: func(context.Context) error { <-release; return nil }}})
		if took := time.Since(began); err == nil || took != stopWithin {
			t.Errorf("got %v after %s, want an error after %s", err, took, stopWithin)
		}
		close(release)
		synctest.Wait()
	})
}
