package gatewaytest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/gateway"
)

// Patience is how long tests wait for what must come.
const Patience = 30 * time.Second

// Directory knows agents by their tokens.
type Directory struct {
	mu     sync.Mutex
	Tokens map[string]string // agent by token
	Banned map[string]bool   // by agent
	Err    error             // of Ready
	gone   func(string)
}

// Lookup implements gateway.Directory.
func (d *Directory) Lookup(token string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	agent, ok := d.Tokens[token]
	switch {
	case !ok:
		return "", gateway.ErrUnauthorized
	case d.Banned[agent]:
		return "", gateway.ErrBanned
	}
	return agent, nil
}

// Ready implements gateway.Directory.
func (d *Directory) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Err
}

// Watch implements gateway.Directory.
func (d *Directory) Watch(gone func(string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = gone
}

// Ban bans an agent, as an entry of the topic of agents does.
func (d *Directory) Ban(agent string) {
	d.mu.Lock()
	if d.Banned == nil {
		d.Banned = make(map[string]bool)
	}
	d.Banned[agent] = true
	gone := d.gone
	d.mu.Unlock()
	gone(agent)
}

// Gateway is a running gateway. Of one that Start made, the agents a and b have
// the tokens token-a and token-b; one that Run was given has only the first field.
type Gateway struct {
	*gateway.Gateway
	Producer *Producer
	Agents   *Directory
	Registry *prometheus.Registry
	stop     context.CancelFunc
	done     chan error
}

// Start runs a gateway that ends with the test. Protocols are named as in the
// map, with the settings that tune leaves; a nil tune leaves the defaults.
func Start(t testing.TB, protocols map[string]gateway.Protocol, tune func(cfg *gateway.Config, settings map[string]any)) *Gateway {
	t.Helper()
	cfg := gateway.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	settings := make(map[string]any)
	for name, p := range protocols {
		settings[name] = p.Settings()
	}
	if tune != nil {
		tune(&cfg, settings)
	}
	g := &Gateway{
		Producer: NewProducer(t),
		Agents:   &Directory{Tokens: map[string]string{"token-a": "a", "token-b": "b"}},
		Registry: prometheus.NewRegistry(),
		done:     make(chan error, 1),
	}
	deps := gateway.Deps{
		Producer: g.Producer, Agents: g.Agents,
		Types: func(name string) bool { return name == "system_metrics" || name == "ethereum_metrics" },
		Log:   slog.New(slog.DiscardHandler), Clock: time.Now, Rand: rand.Reader,
		Registerer: g.Registry, Instance: "gw-test",
	}
	for name, p := range protocols {
		deps.Protocols = append(deps.Protocols, gateway.Enabled{Name: name, Protocol: p, Settings: settings[name]})
	}
	var err error
	if g.Gateway, err = gateway.New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	g.run(t)
	return g
}

// Run runs a gateway that the test has made itself, and ends it with the test.
func Run(t testing.TB, made *gateway.Gateway) *Gateway {
	t.Helper()
	g := &Gateway{Gateway: made, done: make(chan error, 1)}
	g.run(t)
	return g
}

func (g *Gateway) run(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	go func() { g.done <- g.Run(ctx) }()
	t.Cleanup(func() {
		if g.Producer != nil {
			g.Producer.Release()
		}
		if err := g.Stop(t); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	Wait(t, "the gateway to listen", func() bool { return g.Addr() != "" })
}

// Cancel tells the gateway to stop, and does not wait.
func (g *Gateway) Cancel() { g.stop() }

// Stop stops the gateway and returns what Run returned.
func (g *Gateway) Stop(t testing.TB) error {
	t.Helper()
	g.stop()
	select {
	case err := <-g.done:
		g.done <- err
		return err
	case <-time.After(Patience):
		t.Error("the gateway did not stop")
		return nil
	}
}

// Metric returns the value of a metric, summed over its labels but those given as
// name=value.
func (g *Gateway) Metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			have := make(map[string]bool)
			for _, l := range m.GetLabel() {
				have[l.GetName()+"="+l.GetValue()] = true
			}
			for _, l := range labels {
				if !have[l] {
					continue metrics
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// Wait waits until ok, and fails the test if that takes too long.
func Wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", Patience, what)
		}
	}
}
