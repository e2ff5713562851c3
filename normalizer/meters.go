package normalizer

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
	"sluice/internal/telemetry"
)

type meters struct {
	messages, letters, unknown *prometheus.CounterVec
	empty, restarts            prometheus.Counter
	transactions               *prometheus.CounterVec
	size, took                 prometheus.Histogram
}

func newMeters(reg prometheus.Registerer, lag *kafka.Lag, clock func() time.Time) *meters {
	m := &meters{
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
		transactions: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_normalizer_transactions_total",
			Help: "Transactions, by outcome: committed, aborted (by a rebalance; its frames come again) or failed (the client is replaced; what is not committed comes again).",
		}, []string{"outcome"})),
		restarts: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_normalizer_restarts_total", Help: "Clients of the normalizer that were replaced by another after an error.",
		})),
		size: telemetry.Register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_normalizer_transaction_records", Help: "Frames in a committed transaction.",
			Buckets: []float64{1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000},
		})),
		took: telemetry.Register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_normalizer_transaction_seconds", Help: "Time from the begin of a committed transaction to its end.",
			Buckets: []float64{.01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		})),
	}
	for _, outcome := range []string{committed, aborted, failed} {
		m.transactions.WithLabelValues(outcome)
	}
	reg.MustRegister(&lagging{
		lag: lag, clock: clock,
		records: prometheus.NewDesc("sluice_normalizer_lag_records",
			"Offsets of the ingest topic left to normalize in a partition of this normalizer, as of its last poll.",
			[]string{"partition"}, nil),
		seconds: prometheus.NewDesc("sluice_normalizer_lag_seconds",
			"Age by the time of reception of the last frame normalized, in the partition furthest behind; 0 when nothing is left.",
			nil, nil),
	})
	return m
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

// ended counts a transaction.
func (m *meters) ended(t kafka.Transaction) {
	m.transactions.WithLabelValues(outcomeOf(t)).Inc()
	if t.Err == nil {
		m.size.Observe(float64(t.Records))
		m.took.Observe(t.Took.Seconds())
	}
}

// The outcomes of a transaction.
const (
	committed = "committed"
	aborted   = "aborted"
	failed    = "failed"
)

func outcomeOf(t kafka.Transaction) string {
	switch {
	case t.Err == nil:
		return committed
	case errors.Is(t.Err, kafka.ErrAborted):
		return aborted
	}
	return failed
}

// lagging shows the lag when it is asked for.
type lagging struct {
	lag              *kafka.Lag
	clock            func() time.Time
	records, seconds *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (l *lagging) Describe(ch chan<- *prometheus.Desc) {
	ch <- l.records
	ch <- l.seconds
}

// Collect implements prometheus.Collector.
func (l *lagging) Collect(ch chan<- prometheus.Metric) {
	now, oldest := l.clock(), 0.0
	for _, p := range l.lag.Partitions() {
		ch <- prometheus.MustNewConstMetric(l.records, prometheus.GaugeValue, float64(p.Offsets), strconv.Itoa(int(p.Partition)))
		oldest = max(oldest, p.Age(now).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(l.seconds, prometheus.GaugeValue, oldest)
}
