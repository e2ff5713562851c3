package sinks

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
	"sluice/internal/telemetry"
	"sluice/message"
)

// Meters are the metrics of all sinks of a process, told apart by the label
// sink. It is safe for concurrent use.
type Meters struct {
	written  *prometheus.CounterVec
	errors   *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	endToEnd *prometheus.HistogramVec
	dead     *prometheus.CounterVec

	records, lagging *prometheus.Desc

	mu   sync.Mutex
	lags map[*kafka.Lag]watched
}

type watched struct {
	sink  string
	clock func() time.Time
}

// NewMeters registers the metrics of sinks. It panics if reg holds others of the
// same names. The dead letters are counted together with those of the other
// stages of the process, whichever is made first.
func NewMeters(reg prometheus.Registerer) *Meters {
	m := &Meters{
		written: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_sink_written_total", Help: "Messages durable in the sink, each as often as it was written.",
		}, []string{"sink"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_sink_errors_total",
			Help: "Failed tries, by what was tried: open, write, panic (in the sink), schema, dead_letter, kafka.",
		}, []string{"sink", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_sink_write_seconds", Help: "How long the sink took for one batch, failed ones included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"sink"}),
		endToEnd: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sluice_end_to_end_seconds",
			Help:    "From reception by the gateway until a message is durable in the sink, replayed ones included.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400},
		}, []string{"sink"}),
		dead: telemetry.DeadLetters(reg),
		records: prometheus.NewDesc("sluice_sink_lag_records",
			"Offsets left to write in a partition, as of the last poll; transaction markers count while they are not passed.",
			[]string{"sink", "topic", "partition"}, nil),
		lagging: prometheus.NewDesc("sluice_sink_lag_seconds",
			"Age by the time of reception of the last message written, in the partition furthest behind; 0 when nothing is left.",
			[]string{"sink"}, nil),
		lags: make(map[*kafka.Lag]watched),
	}
	reg.MustRegister(m.written, m.errors, m.seconds, m.endToEnd, m)
	return m
}

// Describe sends the lag's descriptions.
func (m *Meters) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.records
	ch <- m.lagging
}

// Collect sends the lag of every sink that runs.
func (m *Meters) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for lag, w := range m.lags {
		now, oldest := w.clock(), 0.0
		for _, p := range lag.Partitions() {
			ch <- prometheus.MustNewConstMetric(m.records, prometheus.GaugeValue, float64(p.Offsets),
				w.sink, p.Topic, strconv.Itoa(int(p.Partition)))
			oldest = max(oldest, p.Age(now).Seconds())
		}
		ch <- prometheus.MustNewConstMetric(m.lagging, prometheus.GaugeValue, oldest, w.sink)
	}
}

// watch makes the lag of a sink visible until the function it returns is called.
func (m *Meters) watch(sink string, lag *kafka.Lag, clock func() time.Time) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lags[lag] = watched{sink, clock}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.lags, lag)
	}
}

// runnerMeters are the metrics of one sink.
type runnerMeters struct {
	sink              string
	written           prometheus.Counter
	seconds, endToEnd prometheus.Observer
	all               *Meters
}

func (m *Meters) runner(sink string) *runnerMeters {
	return &runnerMeters{
		sink:     sink,
		written:  m.written.WithLabelValues(sink),
		seconds:  m.seconds.WithLabelValues(sink),
		endToEnd: m.endToEnd.WithLabelValues(sink),
		all:      m,
	}
}

func (m *runnerMeters) failed(reason string) { m.all.errors.WithLabelValues(m.sink, reason).Inc() }

func (m *runnerMeters) dead(code message.Code) {
	m.all.dead.WithLabelValues(Stage(m.sink), string(code)).Inc()
}
