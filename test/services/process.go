package services

import (
	"sync"
	"testing"
)

// Option alters a broker of one's own.
type Option func(settings map[string]string)

// Set gives the broker a setting of its server.properties.
func Set(key, value string) Option {
	return func(settings map[string]string) { settings[key] = value }
}

// Process is a Kafka that belongs to one test. It is always a real one. Its
// methods may be called from any goroutine; what goes wrong fails the test.
type Process struct {
	t       testing.TB
	service *service
	broker  Broker
	ports   []int

	mu       sync.Mutex
	instance instance
}

// OwnKafka starts a Kafka for this test alone, which is removed with the test. It
// skips where none can be started, and fails there if CI is set.
func OwnKafka(t testing.TB, opts ...Option) *Process {
	t.Helper()
	settings := make(map[string]string)
	for _, o := range opts {
		o(settings)
	}
	p := &Process{t: t}
	var err error
	if p.service, err = apacheKafka(&p.broker, settings); err != nil {
		t.Fatal(err)
	}
	if p.instance, p.ports, err = here().start(p.service); err != nil {
		here().miss(t, "a Kafka of its own", err)
	}
	p.broker.Docker = p.instance.container()
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if t.Failed() {
			t.Logf("the log of Kafka ends:\n%s", p.instance.tail())
		}
		p.instance.remove()
	})
	return p
}

// Broker says how to reach it. That stays the same over Stop, Kill and Start.
func (p *Process) Broker() Broker { return p.broker }

// Stop stops the broker in order, as SIGTERM does.
func (p *Process) Stop() { p.t.Helper(); p.halt(false) }

// Kill kills the broker at once, as SIGKILL does.
func (p *Process) Kill() { p.t.Helper(); p.halt(true) }

// Start starts the broker again after Stop or Kill, with the data it had, and
// returns when it answers.
func (p *Process) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.instance.alive() {
		p.t.Error("Kafka is to be started, but runs")
		return
	}
	err := p.instance.again()
	if err == nil {
		err = await(p.instance, p.service, p.ports)
	}
	if err != nil {
		p.t.Errorf("start Kafka again: %v", err)
	}
}

func (p *Process) halt(kill bool) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.instance.alive() {
		p.t.Errorf("Kafka is to be stopped, but does not run; its log ends:\n%s", p.instance.tail())
		return
	}
	if err := p.instance.halt(kill); err != nil {
		p.t.Errorf("stop Kafka: %v", err)
	}
}
