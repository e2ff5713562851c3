package dashboard

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// meters is what a dashboard counts of itself.
type meters struct {
	viewers prometheus.Gauge
	resyncs prometheus.Counter
}

// newMeters registers the meters, or takes those that a sink of the same name
// registered before. Without a registerer they count for nobody.
func newMeters(reg prometheus.Registerer) (meters, error) {
	m := meters{
		viewers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_dashboard_viewers", Help: "Pages kept live."}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_dashboard_resyncs_total", Help: "Snapshots sent to pages that fell behind or asked for one."}),
	}
	if reg == nil {
		return m, nil
	}
	var err error
	if m.viewers, err = register(reg, m.viewers); err != nil {
		return meters{}, err
	}
	m.resyncs, err = register(reg, m.resyncs)
	return m, err
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	err := reg.Register(c)
	if already := (prometheus.AlreadyRegisteredError{}); errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old, nil
		}
	}
	return c, err
}
