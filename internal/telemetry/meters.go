package telemetry

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Register registers a collector and returns it, or the one that stands there
// under the same description: stages that run in one process share a metric.
// It panics, as prometheus.MustRegister does, if the name has another meaning.
func Register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	err := r.Register(c)
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := there.ExistingCollector.(C); ok {
			return existing
		}
	}
	if err != nil {
		panic(err)
	}
	return c
}

// DeadLetters returns the counter of dead letters, which every stage that makes
// them shares.
func DeadLetters(r prometheus.Registerer) *prometheus.CounterVec {
	return Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_deadletters_total",
		Help: "Dead letters written, by the stage where they fell and the code of the reason.",
	}, []string{"stage", "reason"}))
}
