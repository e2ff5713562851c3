package app

import (
	"context"
	"crypto/rand"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"text/template"
	"time"

	"sluice/config"
	"sluice/gateway"
	"sluice/internal/kafka"
)

// guest is the agent whose token `up` prints.
const guest = "a1"

// up runs all stages in this process, on the embedded broker unless others are
// configured.
func (p *process) up(ctx context.Context, program string) error {
	return p.observed(ctx, func(ctx context.Context) error {
		parts, err := p.parts(ctx, program, len(p.kafka.Brokers) == 0)
		if err != nil {
			for _, part := range slices.Backward(parts) {
				if part.close != nil {
					part.close()
				}
			}
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		return p.serve(ctx, parts)
	})
}

// parts makes all that up runs, in the order in which they feed from one
// another. With an error it returns those that are to be closed.
func (p *process) parts(ctx context.Context, program string, embedded bool) ([]part, error) {
	var parts []part
	if embedded {
		broker, err := kafka.StartBroker(p.settings.up.Broker, p.settings.up.Data, p.log)
		if err != nil {
			return nil, err
		}
		p.kafka.Brokers = []string{broker.Addr()}
		p.share()
		parts = append(parts, part{name: "broker", run: broker.Run, close: broker.Close})
	}
	stages, err := p.stages(ctx, embedded)
	if parts = append(parts, stages...); err != nil {
		return parts, err
	}
	token, err := p.admit(ctx)
	if err != nil {
		return parts, err
	}
	if p.settings.up.Agent {
		own, err := p.ownAgent(ctx)
		if err != nil {
			return parts, err
		}
		// An agent that comes too early is told to come back in some seconds.
		parts = append(parts, part{name: own.name, run: p.whenReady(own.run)})
	}
	return append(parts, part{name: "welcome", run: p.whenReady(func(ctx context.Context) error {
		if err := p.welcome(program, token, embedded); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})}), nil
}

// stages makes those of every role, in the order in which they feed from one
// another.
func (p *process) stages(ctx context.Context, embedded bool) ([]part, error) {
	if err := p.prepare(ctx); err != nil {
		return nil, err
	}
	slot, err := p.slot(os.Hostname)
	if err != nil {
		return nil, err
	}
	var routed []string
	for _, name := range slices.Sorted(maps.Keys(p.sinks)) {
		if len(p.sinks[name].types) > 0 {
			routed = append(routed, name)
		}
	}
	parts, err := p.sinkStages(routed)
	if err != nil {
		return nil, err
	}
	parts = append(parts, p.normalizerStage(slot, embedded))
	front, err := p.gatewayStage(slices.Sorted(maps.Keys(p.plugins.Protocols)))
	return append(parts, front), err
}

// admit makes the guest agent known and returns its token, which is kept in the
// data directory so that it is the same at the next start.
func (p *process) admit(ctx context.Context) (string, error) {
	token, err := keptToken(filepath.Join(p.settings.up.Data, "token-"+guest))
	if err != nil {
		return "", err
	}
	return token, p.putAgent(ctx, guest, token)
}

func (p *process) putAgent(ctx context.Context, name, token string) error {
	registry, done, err := p.registry()
	if err != nil {
		return err
	}
	defer done()
	return registry.Put(ctx, name, token)
}

// ownAgent makes this machine an agent, with a token for this run only.
func (p *process) ownAgent(ctx context.Context) (part, error) {
	c := p.agent
	c.Name = hostName()
	token, err := gateway.NewToken(rand.Reader)
	if err != nil {
		return part{}, err
	}
	if err := p.putAgent(ctx, c.Name, token); err != nil {
		return part{}, err
	}
	c.URL, c.Token = "ws://"+reachable(p.gateway.Listen), config.Secret(token)
	return p.agentStage(c)
}

// whenReady has run begin once every part is ready.
func (p *process) whenReady(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for p.health.Ready(ctx) != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
		return run(ctx)
	}
}

// reachable returns the address under which this machine reaches a listener.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

var welcome = template.Must(template.New("welcome").Parse(`
  sluice is up{{if .Page}}: {{.Page}}{{end}}

  Agents report to {{.Gateway}}; the token of agent {{.Guest}} is {{.Token}}
  Report this machine under that name:
    SLUICE_AGENT__TOKEN={{.Token}} {{.Program}} agent --url ws://{{.Gateway}}
  Send one message:
    curl -H "Authorization: Bearer {{.Token}}" -H "Content-Type: application/json" -d '{"id":"{{.Guest}}","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}' http://{{.Gateway}}/data
  Look in:
    kcat -b {{.Broker}} -C -t sluice.ingest -o beginning -e
  Make another agent:
    {{.Program}} agents add NAME --brokers {{.Broker}}
{{if .Data}}
  Data is in {{.Data}}. It survives a kill of the process, not the loss of power.
{{end}}  Ctrl-C stops it.

`))

// welcome tells the person at the terminal what to do next.
func (p *process) welcome(program, token string, embedded bool) error {
	v := struct{ Page, Gateway, Guest, Token, Program, Broker, Data string }{
		Gateway: reachable(p.gateway.Listen), Guest: guest, Token: token, Program: program, Broker: p.kafka.Brokers[0],
	}
	for _, name := range slices.Sorted(maps.Keys(p.sinks)) {
		if page, ok := p.sinks[name].own.(interface{ Address() string }); ok && len(p.sinks[name].types) > 0 {
			v.Page = "http://" + reachable(page.Address())
			break
		}
	}
	if embedded {
		v.Data = p.settings.up.Data
	}
	return welcome.Execute(p.out, v)
}

// registry opens the topic of agents for changes. done closes it.
func (p *process) registry() (r *gateway.Registry, done func(), err error) {
	producer, err := p.kafka.NewProducer(kafka.ProducerOptions{}, p.log)
	if err != nil {
		return nil, nil, err
	}
	return &gateway.Registry{Kafka: p.kafka, Producer: producer, Log: p.log, Clock: time.Now, Rand: rand.Reader}, producer.Close, nil
}
