package kafka

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// Observed returns c for clients that are seen from outside: those that have a
// name put their metrics into meters, sluice_kafka_… with that name as the label
// client, and producers put the records of sampled traces into them. Either may
// be nil.
func (c Config) Observed(meters prometheus.Registerer, tracing *Tracing) Config {
	c.observers = &observers{meters: meters, tracing: tracing, live: map[string]bool{}}
	return c
}

// observers is shared by the clients of all copies of a Config. A nil one is for
// clients that nobody looks at.
type observers struct {
	meters  prometheus.Registerer
	tracing *Tracing

	mu   sync.Mutex
	live map[string]bool // the labels of the clients that are not closed
}

// hooks are those of a client; without a name it has no metrics.
func (o *observers) hooks(name string, produces bool) kgo.Opt {
	var hooks []kgo.Hook
	if o != nil && o.meters != nil && name != "" {
		hooks = append(hooks, &clientMetrics{all: o, name: name})
	}
	if o != nil && o.tracing != nil && produces {
		hooks = append(hooks, produced{o.tracing.spans})
	}
	return kgo.WithHooks(hooks...)
}

// clientMetrics are the metrics of one client while it lives. kprom registers
// metrics of the same names for every client, so each has a label of its own;
// the brokers are summed up, and topics are as many as sluice has.
type clientMetrics struct {
	*kprom.Metrics
	all         *observers
	name, label string
}

// OnNewClient implements kgo.HookNewClient: franz-go calls it before any other.
func (m *clientMetrics) OnNewClient(cl *kgo.Client) {
	m.label = m.all.enter(m.name)
	m.Metrics = kprom.NewMetrics("sluice",
		kprom.Subsystem("kafka"),
		kprom.Registerer(m.all.meters),
		kprom.WithStaticLabel(prometheus.Labels{"client": m.label}),
		kprom.BrokerLabels(),
		kprom.FetchAndProduceDetail(kprom.ByTopic, kprom.Batches, kprom.Records, kprom.CompressedBytes, kprom.UncompressedBytes, kprom.ConsistentNaming),
	)
	m.Metrics.OnNewClient(cl)
}

// OnClientClosed implements kgo.HookClientClosed.
func (m *clientMetrics) OnClientClosed(cl *kgo.Client) {
	m.Metrics.OnClientClosed(cl)
	m.all.leave(m.label)
}

// enter returns the name, or with a number behind it if a client has that.
func (o *observers) enter(name string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	label := name
	for n := 2; o.live[label]; n++ {
		label = name + "-" + strconv.Itoa(n)
	}
	o.live[label] = true
	return label
}

func (o *observers) leave(label string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.live, label)
}
