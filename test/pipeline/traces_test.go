package pipeline

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	span "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
	"sluice/test/process"
)

// traceCollector takes spans as an OpenTelemetry collector does, over HTTP.
type traceCollector struct {
	*httptest.Server
	mu       sync.Mutex
	raw      bytes.Buffer
	spans    []*span.Span
	resource *resource.Resource
}

func newTraceCollector(t *testing.T) *traceCollector {
	c := new(traceCollector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &req)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("collector: %s: %v", r.URL.Path, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(b)
		for _, rs := range req.ResourceSpans {
			c.resource = rs.Resource
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// one returns the span of that name in a trace.
func (c *traceCollector) one(t *testing.T, trace []byte, name string) *span.Span {
	t.Helper()
	var found []*span.Span
	for _, s := range c.spans {
		if bytes.Equal(s.TraceId, trace) && s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("trace %x has %d spans called %q, want 1; all: %v", trace, len(found), name, c.spans)
	}
	return found[0]
}

func attribute(s *span.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// traceparents returns the header traceparent of records, empty where it is
// missing.
func traceparents(rs []*kafka.Record) []string {
	var all []string
	for _, r := range rs {
		value := ""
		for _, h := range r.Headers {
			if h.Key == "traceparent" {
				value = string(h.Value)
			}
		}
		all = append(all, value)
	}
	return all
}

// foreign is what an agent could send to have its own trace continued.
const foreign = "00-11111111111111111111111111111111-2222222222222222-01"

// TestTraces proves that a frame is one trace from the gateway to every sink,
// carried by the headers of its records, that the last spans are sent when the
// process stops, and that no agent has a say in it.
func TestTraces(t *testing.T) {
	c := newTraceCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_SERVICE_NAME", "pipeline-test")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	// Nothing is sent before the end.
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
	u := newUp(t, "", "--agent=false")
	u.start()
	token := u.token()
	if code, answer := u.post("application/json", `[{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}},{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":"many"}}}]`,
		"Idempotency-Key", "traced", "traceparent", foreign); code != http.StatusOK {
		t.Fatalf("post: %d %s", code, answer)
	}
	typed := kafkatest.Wait(t, u.kafka(), func(rs []*kafka.Record) bool { return len(rs) == 1 }, message.Topic("ethereum_metrics"))
	u.drained("archive", "ethereum_metrics")
	process.Wait(t, "the page to show the agent", func() bool {
		_, body := process.Get("http://" + u.dashboard + "/api/v1/nodes")
		return strings.Contains(body, `"a1"`)
	})
	frames := kafkatest.Read(t, u.kafka(), message.TopicIngest)
	letters := kafkatest.Read(t, u.kafka(), message.TopicDeadLetters)
	u.stop()

	c.mu.Lock()
	defer c.mu.Unlock()
	var trace []byte
	for _, s := range c.spans {
		if s.Name == "receive" && attribute(s, "sluice.id") == "a1/traced" {
			trace = s.TraceId
		}
	}
	if trace == nil {
		t.Fatalf("no span for the reception of a1/traced among %v", c.spans)
	}
	receive := c.one(t, trace, "receive")
	publish := c.one(t, trace, message.TopicIngest+" publish")
	normalize := c.one(t, trace, "normalize")
	if len(receive.ParentSpanId) > 0 {
		t.Errorf("reception has the parent %x, want none", receive.ParentSpanId)
	}
	child := func(s, parent *span.Span) {
		t.Helper()
		if !bytes.Equal(s.ParentSpanId, parent.SpanId) {
			t.Errorf("%s is a child of %x, want %s, %x", s.Name, s.ParentSpanId, parent.Name, parent.SpanId)
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano || s.StartTimeUnixNano == 0 {
			t.Errorf("%s lasts from %d to %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
		}
	}
	child(publish, receive)
	child(normalize, publish)
	for _, sink := range []string{"archive", "dashboard"} {
		write := c.one(t, trace, "write "+sink)
		child(write, normalize)
		if attribute(write, "sluice.id") != "a1/traced#0" || attribute(write, "messaging.system") != "kafka" {
			t.Errorf("write has the attributes %v", write.Attributes)
		}
		if code := write.GetStatus().GetCode(); code == span.Status_STATUS_CODE_ERROR {
			t.Errorf("write %s failed: %v", sink, write)
		}
	}
	if normalize.GetStatus().GetCode() != span.Status_STATUS_CODE_ERROR || len(normalize.Events) != 1 || attribute(receive, "sluice.agent") != "a1" {
		t.Errorf("the dead letter does not show: %v, %v", normalize, receive)
	}

	header := func(s *span.Span) string {
		return "00-" + hex.EncodeToString(s.TraceId) + "-" + hex.EncodeToString(s.SpanId) + "-01"
	}
	if got, want := traceparents(frames), []string{header(publish)}; !slices.Equal(got, want) {
		t.Errorf("ingest carries %q, want %q", got, want)
	}
	for _, rs := range [][]*kafka.Record{typed, letters} {
		if got, want := traceparents(rs), []string{header(normalize)}; !slices.Equal(got, want) {
			t.Errorf("%s carries %q, want %q", rs[0].Topic, got, want)
		}
	}
	if said := c.resource.String(); !strings.Contains(said, "pipeline-test") || !strings.Contains(said, "deployment.environment.name") {
		t.Errorf("resource is %s", said)
	}
	if bytes.Contains(c.raw.Bytes(), []byte(token)) {
		t.Error("the agent's token is in a span")
	}
}

// TestNoTraces proves that no record carries a trace, and no span is sent, unless
// the environment asks for traces and samples them.
func TestNoTraces(t *testing.T) {
	c := newTraceCollector(t)
	tests := []struct {
		name string
		env  map[string]string
	}{
		{"not asked for", nil},
		{"disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_SDK_DISABLED": "true"}},
		{"no exporter", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_TRACES_EXPORTER": "none"}},
		{"exporter unknown", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_TRACES_EXPORTER": "zipkin"}},
		{"none sampled", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.URL + "/v1/traces", "OTEL_TRACES_SAMPLER": "always_off"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for key, value := range tt.env {
				t.Setenv(key, value)
			}
			u := newUp(t, "", "--agent=false")
			u.start()
			if code, answer := u.post("application/json", `{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}`, "traceparent", foreign); code != http.StatusOK {
				t.Fatalf("post: %d %s", code, answer)
			}
			rs := kafkatest.Wait(t, u.kafka(), func(rs []*kafka.Record) bool { return len(rs) == 2 }, message.TopicIngest, message.Topic("ethereum_metrics"))
			if got := traceparents(rs); !slices.Equal(got, []string{"", ""}) {
				t.Errorf("records carry %q, want nothing", got)
			}
			u.stop()
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.spans) > 0 {
				t.Errorf("spans were sent: %v", c.spans)
			}
		})
	}
}
