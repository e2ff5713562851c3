package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Traces sends the spans of a process to a collector, as OpenTelemetry's own
// environment variables say. A nil Traces sends nothing.
type Traces struct {
	provider *sdk.TracerProvider
	log      *slog.Logger
}

// StartTraces returns nil unless OTEL_EXPORTER_OTLP_ENDPOINT,
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER asks for traces.
// Everything else about them is OpenTelemetry's to read: sampler, protocol,
// headers, resource, limits. Its error says what of the environment is not
// understood. Nothing global is set.
func StartTraces(ctx context.Context, getenv func(string) string, version string, log *slog.Logger) (*Traces, error) {
	if on, err := traced(getenv); !on {
		return nil, err
	}
	exporter, err := newExporter(ctx, getenv)
	if err != nil {
		return nil, err
	}
	// What the environment says of the process comes last, and wins.
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "sluice"), attribute.String("service.version", version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		log.Warn("traces: not all of the resource is understood: check OTEL_RESOURCE_ATTRIBUTES", "err", err)
	}
	return &Traces{sdk.NewTracerProvider(
		sdk.WithResource(res),
		sdk.WithBatcher(&delivery{SpanExporter: exporter, log: log}),
	), log}, nil
}

// traced reports whether the environment asks for traces.
func traced(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "":
		return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "", nil
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: got %q, want otlp or none", exporter)
	}
}

// newExporter connects with the first spans. The contrib module that chooses
// between the two brings exporters of metrics and logs along.
func newExporter(ctx context.Context, getenv func(string) string) (sdk.SpanExporter, error) {
	protocol := getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: got %q, want http/protobuf or grpc", protocol)
}

// Provider returns what makes tracers, nil for a nil Traces.
func (t *Traces) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// flushTime is how long a process that ends waits for its last spans.
const flushTime = 2 * time.Second

// Close sends what is left, for at most two seconds.
func (t *Traces) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("traces: the last spans were not delivered", "err", err)
	}
}

// mentionEvery is how often spans that are not delivered are mentioned.
const mentionEvery = time.Minute

// delivery says when spans are not delivered. They are lost then: traces are to
// cost the pipeline neither memory nor time. It belongs to the one goroutine of
// the SDK that exports.
type delivery struct {
	sdk.SpanExporter
	log  *slog.Logger
	lost int
	said time.Time
}

// ExportSpans implements sdk.SpanExporter. It returns nil always: what it
// returns goes to a logger that all of the process shares.
func (d *delivery) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := d.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	d.lost += len(spans)
	if now := time.Now(); now.Sub(d.said) >= mentionEvery {
		d.log.Warn("traces: spans are lost: check the collector and OTEL_EXPORTER_OTLP_ENDPOINT", "lost", d.lost, "err", err)
		d.said, d.lost = now, 0
	}
	return nil
}
