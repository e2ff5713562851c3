package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
)

// counts is what one protocol took.
type counts struct{ frames, bytes atomic.Uint64 }

func (c *counts) add(size int) {
	c.frames.Add(1)
	c.bytes.Add(uint64(size))
}

// sampleEvery is how many answers of Kafka there are for one that is timed.
const sampleEvery = 32

type metrics struct {
	rejected rejections
	produce  prometheus.Histogram
	errors   *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	list     []prometheus.Collector
}

// newMetrics makes the metrics of g. No label comes from an agent: labels are as
// many as there are protocols and reasons.
func newMetrics(g *Gateway) *metrics {
	m := &metrics{
		rejected: newRejections(),
		produce: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sluice_ingest_produce_seconds",
			Help:    "Time from taking a frame to Kafka's answer, of one frame in about 32.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_ingest_produce_errors_total",
			Help: "Frames that Kafka answered with an error, by reason.",
		}, []string{"reason"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_gateway_own_frames_dropped_total",
			Help: "Frames of the gateway's own that were given up, by reason.",
		}, []string{"reason"}),
	}
	m.list = append(m.list, m.rejected.vec, m.produce, m.errors, m.dropped,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_agents_connected",
			Help: "Long-lived connections that are logged in.",
		}, func() float64 { return float64(g.connected()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_ingest_inflight_bytes",
			Help: "Memory held by frames that are taken and not yet durable.",
		}, func() float64 { return float64(g.room.used.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_ingest_stalled",
			Help: "1 while nothing is taken because Kafka owes answers for too long.",
		}, func() float64 {
			if g.stalled.Load() {
				return 1
			}
			return 0
		}))
	for name, c := range g.counts {
		label := prometheus.Labels{"protocol": name}
		m.list = append(m.list,
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "sluice_agent_frames_total", Help: "Frames taken.", ConstLabels: label,
			}, func() float64 { return float64(c.frames.Load()) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "sluice_agent_frame_bytes_total", Help: "Bytes of the frames taken.", ConstLabels: label,
			}, func() float64 { return float64(c.bytes.Load()) }))
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	for _, c := range m.list {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register metrics of the gateway: %w", err)
		}
	}
	return nil
}

// produceReason sorts the errors of the producer into a closed list.
func produceReason(err error) string {
	switch {
	case errors.Is(err, kafka.ErrFull):
		return "full"
	case kafka.IsTerminal(err):
		return "too_large"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	}
	return "other"
}
