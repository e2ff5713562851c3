package stdout

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"sluice/message"
	"sluice/sinks"
	"sluice/sinks/sinktest"
)

var update = flag.Bool("update", false, "write the golden files")

func open(t *testing.T, format string, env sinks.Env) (sinks.Sink, sinks.Traits) {
	t.Helper()
	env.Name, env.Log, env.Clock = "print", slog.New(slog.DiscardHandler), time.Now
	p := Plugin()
	settings := p.Settings().(*Config)
	settings.Format = format
	s, traits, err := p.New(settings, env)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, traits
}

func TestGolden(t *testing.T) {
	for _, format := range []string{"json", "table"} {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			s, traits := open(t, format, sinks.Env{Out: &out})
			if !traits.Bodies || traits.Delivery != sinks.Shared {
				t.Errorf("got traits %+v, want shared with bodies", traits)
			}
			if err := s.Write(t.Context(), sinktest.Messages(t, 10)); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", format+".golden")
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", out.Bytes(), want)
			}
		})
	}
}

// TestLines: whatever a message holds, it is one line, and JSON says all of it.
func TestLines(t *testing.T) {
	for _, format := range []string{"json", "table"} {
		var out bytes.Buffer
		s, _ := open(t, format, sinks.Env{Out: &out})
		ms := sinktest.Messages(t, 20)
		ms[3].Node = "two\nlines \x1b[31m \u009b31m"
		if err := s.Write(t.Context(), ms); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != len(ms) {
			t.Fatalf("%s: got %d lines, want %d", format, len(lines), len(ms))
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: an escape character got through", format)
		}
		if format != "json" {
			continue
		}
		for i, l := range lines {
			var got line
			if err := json.Unmarshal([]byte(l), &got); err != nil {
				t.Fatalf("line %d: %v", i, err)
			}
			if got.ID != ms[i].ID || got.Node != ms[i].Node || !got.Time.Equal(ms[i].EventTime()) || len(got.Body) != len(ms[i].Body) {
				t.Errorf("line %d: got %+v, want %+v", i, got, ms[i])
			}
		}
	}
}

func TestRejects(t *testing.T) {
	var out bytes.Buffer
	s, _ := open(t, "json", sinks.Env{Out: &out})
	ms := sinktest.Messages(t, 3)
	ms[1].Body["usage"] = math.Inf(1)
	rejected, ok := sinks.Rejections(s.Write(t.Context(), ms), 3)
	if !ok || len(rejected) != 1 || rejected[0].Index != 1 || rejected[0].Code != message.CodeUnsupported {
		t.Errorf("got %v, want message 1 rejected", rejected)
	}
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("got %d lines, want the other 2", got)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestOutputFails(t *testing.T) {
	s, _ := open(t, "json", sinks.Env{Out: full{}})
	if err := s.Write(t.Context(), sinktest.Messages(t, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want the writer's error", err)
	}
	if err := s.Write(t.Context(), nil); err != nil {
		t.Errorf("got %v for an empty batch, want nil", err)
	}
}

func TestSettings(t *testing.T) {
	p := Plugin()
	_, _, err := p.New(&Config{Format: "xml"}, sinks.Env{Out: &bytes.Buffer{}})
	if want := `format: "xml" is neither json nor table`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, _, err := p.New(p.Settings(), sinks.Env{}); err == nil {
		t.Error("built without a writer")
	}
}
