package telemetry

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTraced proves which variables turn traces on, and that what is not understood
// leaves them off and is said.
func TestTraced(t *testing.T) {
	const endpoint, protocol = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL="
	tests := []struct {
		name string
		env  []string
		on   bool
		says string
	}{
		{"nothing", nil, false, ""},
		{"endpoint", []string{endpoint}, true, ""},
		{"endpoint of traces", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/v1/traces"}, true, ""},
		{"exporter", []string{"OTEL_TRACES_EXPORTER=otlp"}, true, ""},
		{"grpc", []string{endpoint, protocol + "grpc"}, true, ""},
		{"protocol of traces wins", []string{endpoint, protocol + "carrier-pigeon", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc"}, true, ""},
		{"none", []string{endpoint, "OTEL_TRACES_EXPORTER=none"}, false, ""},
		{"disabled", []string{endpoint, "OTEL_SDK_DISABLED=True"}, false, ""},
		{"other exporter", []string{endpoint, "OTEL_TRACES_EXPORTER=zipkin"}, false, `"zipkin", want otlp or none`},
		{"other protocol", []string{endpoint, protocol + "http/json"}, false, `"http/json", want http/protobuf or grpc`},
		{"sampler only", []string{"OTEL_TRACES_SAMPLER=always_on"}, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			getenv := func(key string) string {
				for _, v := range tt.env {
					if v, ok := strings.CutPrefix(v, key+"="); ok {
						return v
					}
				}
				return ""
			}
			traces, err := StartTraces(t.Context(), getenv, "v1", slog.New(slog.DiscardHandler))
			t.Cleanup(traces.Close)
			if on := traces != nil; on != tt.on || (traces.Provider() != nil) != tt.on {
				t.Errorf("on: %v, want %v", on, tt.on)
			}
			if said := ""; err != nil {
				if said = err.Error(); tt.says == "" || !strings.Contains(said, tt.says) {
					t.Errorf("got %q, want %q", said, tt.says)
				}
			} else if tt.says != "" {
				t.Errorf("got no error, want %q", tt.says)
			}
		})
	}
}

// TestCollectorAway proves that a collector which does not answer is mentioned, and
// holds up the end of the process for two seconds at most.
func TestCollectorAway(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // it accepts, and says nothing
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+ln.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
	var log lockedBuffer
	traces, err := StartTraces(t.Context(), func(key string) string {
		if key == "OTEL_EXPORTER_OTLP_ENDPOINT" {
			return "http://" + ln.Addr().String()
		}
		return ""
	}, "v1", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, span := traces.Provider().Tracer("test").Start(context.Background(), "x")
	span.End()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		traces.Close()
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("Close did not return")
	}
	if said := log.String(); !strings.Contains(said, "lost=1") && !strings.Contains(said, "not delivered") {
		t.Errorf("nothing is said of the spans:\n%s", said)
	}
}

// lockedBuffer is a log that may still be written when it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
