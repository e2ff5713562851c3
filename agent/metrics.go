package agent

import "github.com/prometheus/client_golang/prometheus"

var (
	descTaken       = prometheus.NewDesc("sluice_client_frames_total", "Frames taken from the program.", nil, nil)
	descWritten     = prometheus.NewDesc("sluice_client_frames_written_total", "Frames written to the gateway, those sent again included.", nil, nil)
	descRefused     = prometheus.NewDesc("sluice_client_frames_refused_total", "Frames that the gateway refused.", nil, nil)
	descSkipped     = prometheus.NewDesc("sluice_client_samples_skipped_total", "Samples not taken because the buffer was full.", nil, nil)
	descConnections = prometheus.NewDesc("sluice_client_connections_total", "Connections that the gateway welcomed.", nil, nil)
	descPending     = prometheus.NewDesc("sluice_client_pending_frames", "Frames that the gateway has not acknowledged.", nil, nil)
	descBytes       = prometheus.NewDesc("sluice_client_pending_bytes", "Bytes of the frames that the gateway has not acknowledged.", nil, nil)
)

// metrics shows a buffer to Prometheus.
type metrics struct{ buffer *buffer }

// Describe sends the descriptions.
func (m metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descTaken, descWritten, descRefused, descSkipped, descConnections, descPending, descBytes,
	} {
		ch <- d
	}
}

// Collect sends the values.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	m.buffer.mu.Lock()
	n, pending, size := m.buffer.counts, len(m.buffer.frames), m.buffer.size
	m.buffer.mu.Unlock()
	for d, v := range map[*prometheus.Desc]uint64{
		descTaken: n.taken, descWritten: n.written, descRefused: n.refused,
		descSkipped: n.skipped, descConnections: n.connections,
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	ch <- prometheus.MustNewConstMetric(descPending, prometheus.GaugeValue, float64(pending))
	ch <- prometheus.MustNewConstMetric(descBytes, prometheus.GaugeValue, float64(size))
}
