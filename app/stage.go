package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"sluice/agent"
	"sluice/gateway"
	"sluice/internal/kafka"
	"sluice/normalizer"
	"sluice/schemas"
	"sluice/sinks"
)

// prepare waits for Kafka and sees to it that the topics are there. What differs
// in those that stand is reported, a line for each.
func (p *process) prepare(ctx context.Context) error {
	diffs, err := p.topics(ctx)
	differs := map[string][]string{}
	for _, d := range diffs {
		differs[d.Topic] = append(differs[d.Topic], fmt.Sprintf("%s is %s, configured %s", d.Setting, d.Got, d.Want))
	}
	for _, topic := range slices.Sorted(maps.Keys(differs)) {
		p.log.Warn("topic differs from the configuration and is left as it is", "topic", topic, "differs", strings.Join(differs[topic], "; "))
	}
	return err
}

// topics waits for Kafka, makes the topics that are absent, and returns what
// differs in the others.
func (p *process) topics(ctx context.Context) ([]kafka.Difference, error) {
	if err := p.kafka.Wait(ctx, p.log); err != nil {
		return nil, err
	}
	return p.kafka.EnsureTopics(ctx, p.types.Names(), p.log)
}

// gatewayStage is the front door, with these protocols.
func (p *process) gatewayStage(protocols []string) (part, error) {
	o := p.gateway.ProducerOptions()
	o.Client = "gateway"
	producer, err := p.kafka.NewProducer(o, p.log)
	if err != nil {
		return part{}, err
	}
	agents := gateway.NewAgents(p.kafka, p.log)
	deps := gateway.Deps{
		Producer: producer, Agents: agents,
		Types:      func(dataType string) bool { return p.types.Type(dataType) != nil },
		Log:        p.log.With("stage", "gateway"),
		Clock:      time.Now,
		Rand:       rand.Reader,
		Registerer: p.meters,
		Instance:   hostName() + "-" + uuid.NewString()[:8],
	}
	if p.traces != nil {
		deps.Tracer = p.traces.Provider().Tracer("sluice/gateway")
	}
	for _, name := range protocols {
		deps.Protocols = append(deps.Protocols, gateway.Enabled{Name: name, Protocol: p.plugins.Protocols[name], Settings: p.protocols[name]})
	}
	g, err := gateway.New(p.gateway, deps)
	if err != nil {
		producer.Close()
		return part{}, err
	}
	return part{
		name: "gateway",
		run: func(ctx context.Context) error {
			// The agents are followed until the gateway has ended: it asks for
			// them to its last request.
			follow, stop := context.WithCancel(context.WithoutCancel(ctx))
			defer stop()
			var both errgroup.Group
			both.Go(func() error { return agents.Run(follow) })
			both.Go(func() error {
				defer stop()
				return g.Run(ctx)
			})
			return both.Wait()
		},
		ready: g.Ready,
		close: producer.Close,
	}, nil
}

// catalog is where the schemas of typed records are made known and learned.
func (p *process) catalog() (*schemas.Catalog, error) {
	var registry schemas.Registry
	if p.schemaRegistry.URL != "" {
		client, err := p.schemaRegistry.NewRegistry(p.log)
		if err != nil {
			return nil, err
		}
		registry = client
	}
	return schemas.NewCatalog(p.kafka, registry, schemas.NewReader(p.types), p.log), nil
}

// normalizerStage is one normalizer. embedded says that the broker is.
func (p *process) normalizerStage(slot string, embedded bool) part {
	c := p.normalizer
	c.Slot = slot
	n := normalizer.New(normalizer.Options{
		Config: c, Kafka: p.kafka, Types: p.types, Decoders: p.plugins.Decoders,
		Publish: func(ctx context.Context) (*schemas.Set, error) {
			known, err := p.catalog()
			if err != nil {
				return nil, err
			}
			return known.Publish(ctx, p.types)
		},
		Embedded: embedded, Log: p.log, Meters: p.meters, Tracing: p.tracing,
	})
	return part{name: normalizer.Stage, run: n.Run, ready: n.Ready}
}

// sinkStages are the sinks of these names.
func (p *process) sinkStages(names []string) ([]part, error) {
	known, err := p.catalog()
	if err != nil {
		return nil, err
	}
	letters, err := p.kafka.NewProducer(kafka.ProducerOptions{Client: "dead_letters"}, p.log)
	if err != nil {
		return nil, err
	}
	meters := sinks.NewMeters(p.meters)
	// The producer of dead letters is closed after the last of them: it is the
	// first part, and so the last to stop.
	parts := []part{{
		name:  "dead letters",
		run:   func(ctx context.Context) error { <-ctx.Done(); return nil },
		close: letters.Close,
	}}
	for _, name := range names {
		sink := p.sinks[name]
		r, err := sinks.NewRunner(sinks.RunnerOptions{
			Name: name, Plugin: p.plugins.Sinks[sink.Plugin], Settings: sink.own, Types: sink.types, From: sink.start(),
			Kafka: p.kafka, Schemas: known, DeadLetters: letters,
			Log: p.log, Clock: time.Now, Meters: meters, Registerer: p.meters, Out: p.out, Tracing: p.tracing,
		})
		if err != nil {
			letters.Close()
			return nil, err
		}
		parts = append(parts, part{name: sinks.Stage(name), run: r.Run, ready: r.Ready})
	}
	return parts, nil
}

// agentStage reports this machine's own metrics.
func (p *process) agentStage(c agent.Config) (part, error) {
	client, err := agent.New(c, agent.Options{Logger: p.log.With("stage", "agent"), Registerer: p.meters})
	if err != nil {
		return part{}, fmt.Errorf("make agent: %w", err)
	}
	collectors := agent.System(p.system)
	return part{
		name: "agent",
		run: func(ctx context.Context) error {
			var both errgroup.Group
			both.Go(func() error { return client.Run(ctx) })
			both.Go(func() error { return agent.Report(ctx, client, collectors, p.log.With("stage", "agent")) })
			return both.Wait()
		},
	}, nil
}
