package dynamodb

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// meters is what the sink counts of itself.
type meters struct {
	requests    prometheus.Counter
	unprocessed prometheus.Counter
	throttles   prometheus.Counter
	misses      prometheus.Counter
}

// newMeters registers the meters, or takes those that a sink of the same name
// registered before. Without a registerer they count for nobody.
func newMeters(reg prometheus.Registerer) (meters, error) {
	var errs []error
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		if reg == nil {
			return c
		}
		err := reg.Register(c)
		if already := (prometheus.AlreadyRegisteredError{}); errors.As(err, &already) {
			if old, ok := already.ExistingCollector.(prometheus.Counter); ok {
				return old
			}
		}
		errs = append(errs, err)
		return c
	}
	m := meters{
		requests:    counter("sluice_dynamodb_requests_total", "Requests sent to DynamoDB, repeated ones included."),
		unprocessed: counter("sluice_dynamodb_unprocessed_items_total", "Items that DynamoDB gave back unwritten and that were sent again."),
		throttles:   counter("sluice_dynamodb_throttles_total", "Requests that DynamoDB refused because the table or the account is at its limit."),
		misses:      counter("sluice_dynamodb_conditional_misses_total", "Latest items left as they are because they are newer than the message."),
	}
	return m, errors.Join(errs...)
}
