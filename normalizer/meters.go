package normalizer

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
	"sluice/internal/telemetry"
)

type meters struct {
	messages, letters, unknown *prometheus.CounterVec
	empty                      prometheus.Counter
}

func newMeters(reg prometheus.Registerer, lag *kafka.Lag) *meters {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_normalizer_lag_records",
		Help: "Offsets of the ingest topic that are not normalized yet, in the partitions of this normalizer.",
	}, func() float64 {
		left := int64(0)
		for _, p := range lag.Partitions() {
			left += p.Offsets
		}
		return float64(left)
	}))
	return &meters{
		messages: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_normalized_total", Help: "Messages written to typed topics, by data type.",
		}, []string{"type"})),
		unknown: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_unknown_fields_total", Help: "Fields of messages that the schema of their data type does not have and that were left out.",
		}, []string{"type"})),
		letters: telemetry.DeadLetters(reg),
		empty: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_empty_frames_total", Help: "Frames with nothing to say, from which no message and no dead letter comes.",
		})),
	}
}

// add counts what was committed.
func (m *meters) add(t *tally) {
	for name, n := range t.messages {
		m.messages.WithLabelValues(name).Add(float64(n))
	}
	for name, n := range t.unknown {
		m.unknown.WithLabelValues(name).Add(float64(n))
	}
	for code, n := range t.letters {
		m.letters.WithLabelValues(Stage, string(code)).Add(float64(n))
	}
	m.empty.Add(float64(t.empty))
}
