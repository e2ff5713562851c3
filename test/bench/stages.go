package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/gateway"
	"sluice/gateway/websocket"
	"sluice/internal/kafka"
	"sluice/normalizer"
	"sluice/schemas"
)

// broker is the embedded broker, with its data on the disk as `up` has it.
func broker(ctx context.Context, t *task, log *slog.Logger) (*work, error) {
	b, err := kafka.StartBroker("127.0.0.1:0", t.Dir, log)
	if err != nil {
		return nil, err
	}
	return &work{addr: b.Addr(), failed: run(ctx, b.Run), end: func() error { b.Close(); return nil }}, nil
}

// run runs f and returns where its error will be.
func run(ctx context.Context, f func(context.Context) error) <-chan error {
	failed := make(chan error, 1)
	go func() { failed <- f(ctx) }()
	return failed
}

// gatewayPart is the gateway as a process of sluice has it, with the websocket
// protocol, and with the one limit off that would keep a load test out: that of
// connections from one address.
func gatewayPart(ctx context.Context, t *task, log *slog.Logger) (*work, error) {
	types, err := schemas.Load("")
	if err != nil {
		return nil, err
	}
	cfg := gateway.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Limits.PerIP = 0
	k := t.kafka()
	producer, err := k.NewProducer(cfg.ProducerOptions(), log)
	if err != nil {
		return nil, err
	}
	agents := gateway.NewAgents(k, log)
	protocol := websocket.Protocol()
	g, err := gateway.New(cfg, gateway.Deps{
		Producer: producer, Agents: agents,
		Protocols: []gateway.Enabled{{Name: "websocket", Protocol: protocol, Settings: protocol.Settings()}},
		Types:     func(name string) bool { return types.Type(name) != nil },
		Log:       log, Clock: time.Now, Rand: rand.Reader,
		Registerer: prometheus.NewRegistry(), Instance: "bench",
	})
	if err != nil {
		producer.Close()
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	failed := run(serving, func(ctx context.Context) error {
		var both errgroup.Group
		both.Go(func() error { return agents.Run(ctx) })
		both.Go(func() error { return g.Run(ctx) })
		return both.Wait()
	})
	for g.Ready(ctx) != nil {
		select {
		case err := <-failed:
			stop()
			producer.Close()
			return nil, fmt.Errorf("gateway: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return &work{addr: g.Addr(), failed: failed, end: func() error {
		stop()
		err := <-failed
		producer.Close()
		return err
	}}, nil
}

// normalizerPart is the normalizer as a process of sluice has it. It counts the
// frames that it has committed: each one of the benchmark has one outcome.
func normalizerPart(ctx context.Context, t *task, log *slog.Logger) (*work, error) {
	types, err := schemas.Load("")
	if err != nil {
		return nil, err
	}
	k, meters := t.kafka(), prometheus.NewRegistry()
	cfg := normalizer.DefaultConfig()
	cfg.Slot = "bench"
	n := normalizer.New(normalizer.Options{
		Config: cfg, Kafka: k, Types: types, Embedded: t.Embedded, Log: log, Meters: meters,
		Publish: func(ctx context.Context) (*schemas.Set, error) {
			return schemas.NewCatalog(k, nil, schemas.NewReader(types), log).Publish(ctx, types)
		},
	})
	w := session(ctx, n.Run, func() int64 { return sum(meters, own, false) })
	w.own = func() int64 { return sum(meters, own, true) }
	return w, nil
}

// session is a part that begins when it is told.
func session(ctx context.Context, f func(context.Context) error, frames func() int64) *work {
	inner, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	began := false
	return &work{
		begin:  func() { began = true; go func() { failed <- f(inner) }() },
		frames: frames, failed: failed,
		end: func() error {
			stop()
			if !began {
				return nil
			}
			return <-failed
		},
	}
}

// own is the data type of the gateway's own frames.
const own = "networking_metrics"

// sum adds up the outcomes that a normalizer has counted: those of one data
// type, or all others.
func sum(meters prometheus.Gatherer, dataType string, of bool) int64 {
	families, err := meters.Gather()
	if err != nil {
		return -1
	}
	total := 0.0
	for _, f := range families {
		switch f.GetName() {
		case "sluice_normalized_total", "sluice_deadletters_total", "sluice_empty_frames_total":
		default:
			continue
		}
		for _, m := range f.GetMetric() {
			is := false
			for _, l := range m.GetLabel() {
				is = is || l.GetValue() == dataType
			}
			if is == of {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return int64(total)
}
