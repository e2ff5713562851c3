package normalizer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"sluice/internal/kafka"
	"sluice/internal/wire"
	"sluice/message"
	"sluice/normalizer/decode"
	"sluice/schemas"
)

// TestCodesAreClosed proves that a code which a plugin's decoder made up becomes no
// label of a metric.
func TestCodesAreClosed(t *testing.T) {
	c, out := newConversion(t)
	n := 0
	c.decoders["foreign"] = func(*message.Frame, []decode.Item) ([]decode.Item, error) {
		n++
		return nil, &message.Fault{Code: message.Code(fmt.Sprintf("own-%d", n)), Field: "x", Reason: "no"}
	}
	f := frame("text/plain", "x")
	f.Protocol = "foreign"
	for range 3 {
		c.frame(f)
	}
	if len(c.tally.letters) != 1 || c.tally.letters[message.CodeDecoder] != 3 {
		t.Errorf("counted %v, want 3 of %s", c.tally.letters, message.CodeDecoder)
	}
	if d := kafka.DeadLetter((*out)[1]); d.Code != message.CodeDecoder || d.Reason != "own-2: no" || d.Field != "x" {
		t.Errorf("got %+v", d)
	}
}

// TestSpansOfTransactions proves that the span of a frame ends with its
// transaction, tells how that went, and is made for frames of sampled traces only.
func TestSpansOfTransactions(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	tracing := kafka.NewTracing(provider)
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	n := New(Options{Config: DefaultConfig(), Types: set, Log: slog.New(slog.DiscardHandler), Meters: reg, Tracing: tracing})
	record := func(traced bool) *kafka.Record {
		r := kafka.FrameRecord(frame(wire.TypeJSON, `{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}`))
		if traced {
			ctx, _ := provider.Tracer("test").Start(context.Background(), "receive")
			tracing.Mark(ctx, r)
		}
		return r
	}
	lost := errors.New("lost")
	for _, tt := range []struct {
		err     error
		outcome string
		status  codes.Code
	}{
		{nil, "committed", codes.Unset},
		{fmt.Errorf("rebalance: %w", kafka.ErrAborted), "aborted", codes.Error},
		{lost, "failed", codes.Error},
	} {
		before := len(recorder.Ended())
		marked := 0
		_, err := n.transform(t.Context(), []*kafka.Record{record(true), record(false), record(true)}, func(r *kafka.Record) {
			if len(r.Headers) == 5 {
				marked++
			}
		})
		if err != nil || marked != 2 {
			t.Errorf("%s: got %v, %d records in a trace, want 2", tt.outcome, err, marked)
		}
		if len(recorder.Ended()) != before {
			t.Errorf("%s: spans ended before their transaction", tt.outcome)
		}
		n.ended(kafka.Transaction{Records: 3, Err: tt.err})
		ended := recorder.Ended()[before:]
		if len(ended) != 2 {
			t.Fatalf("%s: %d spans, want 2", tt.outcome, len(ended))
		}
		for _, s := range ended {
			if s.Name() != "normalize" || s.Status().Code != tt.status || !s.Parent().IsRemote() {
				t.Errorf("%s: got %s, %v, child of %v", tt.outcome, s.Name(), s.Status(), s.Parent())
			}
		}
		var m dto.Metric
		if err := n.meters.transactions.WithLabelValues(tt.outcome).Write(&m); err != nil || m.Counter.GetValue() != 1 {
			t.Errorf("%s: counted %v, %v", tt.outcome, m.Counter, err)
		}
	}
}
