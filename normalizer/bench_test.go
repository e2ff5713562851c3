package normalizer

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
	"sluice/internal/wire"
	"sluice/schemas"
)

// BenchmarkTransform converts a poll of one partition: a frame alone, as it
// comes when little comes, and many.
func BenchmarkTransform(b *testing.B) {
	set, err := schemas.Load("")
	if err != nil {
		b.Fatal(err)
	}
	n := New(Options{
		Config: DefaultConfig(), Types: set, Log: slog.New(slog.DiscardHandler), Meters: prometheus.NewRegistry(),
	})
	r := kafka.FrameRecord(frame(wire.TypeJSON, `{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}`))
	for _, size := range []int{1, 500} {
		rs := make([]*kafka.Record, size)
		for i := range rs {
			rs[i] = r
		}
		b.Run(fmt.Sprintf("%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.transform(b.Context(), rs, func(*kafka.Record) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
