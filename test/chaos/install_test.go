package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
	"sluice/normalizer"
	"sluice/sinks"
	"sluice/test/process"
	"sluice/test/services"
)

// dataTypes are those that the agents send and the sink keeps.
var dataTypes = []string{"ethereum_metrics", "networking_metrics", "system_metrics"}

// sinkName is what the installation calls its sink.
const sinkName = "dynamodb"

// installation is sluice on a Kafka of its own, a process for each stage.
type installation struct {
	t      *testing.T
	broker *services.Process
	kafka  kafka.Config
	table  *table
	config string

	gateways, normalizers, sinks []*process.Process
	second                       *process.Process // in a slot that was taken
	proxy                        *proxy
	tokens                       []string // of the agents
}

// agents is how many report.
const agents = 8

// agentName is what an agent is called.
func agentName(i int) string { return fmt.Sprintf("n%d", i+1) }

// install makes an installation in which nothing runs but Kafka. Without a table
// it has no sink.
func install(t *testing.T, gateways, normalizers, sinks int) *installation {
	t.Helper()
	in := &installation{t: t, broker: services.OwnKafka(t), kafka: kafka.DefaultConfig()}
	in.kafka.Brokers = []string{in.broker.Broker().Plain}
	config := fmt.Sprintf("kafka: {brokers: [%q]}\nlog: {format: text}\n", in.kafka.Brokers[0])
	if sinks > 0 {
		in.table = newTable(t)
		config += fmt.Sprintf("sinks:\n  %s: {plugin: dynamodb, table: %s, endpoint: %q, region: %s}\nroutes:\n", sinkName, in.table.name, in.table.endpoint, region)
		for _, name := range dataTypes {
			config += fmt.Sprintf("  %s: [%s]\n", name, sinkName)
		}
	}
	in.config = filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(in.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	in.run("topics", "create")
	for i := range agents {
		in.tokens = append(in.tokens, in.run("agents", "add", agentName(i)))
	}
	for i := range gateways {
		in.gateways = append(in.gateways, in.gateway(i))
	}
	for i := range normalizers {
		in.normalizers = append(in.normalizers, in.normalizer(i))
	}
	for i := range sinks {
		in.sinks = append(in.sinks, in.process(fmt.Sprintf("sink %d", i), awsEnvironment(), "sink", sinkName))
	}
	return in
}

// run runs a command to its end and returns what it printed.
func (in *installation) run(args ...string) string {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(in.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(args, "--config", in.config)...)
	var log process.Log
	cmd.Dir, cmd.Stderr = in.t.TempDir(), &log
	out, err := cmd.Output()
	if err != nil {
		in.t.Fatalf("sluice %s: %v\n%s", strings.Join(args, " "), err, log.Tail(4000))
	}
	return strings.TrimSpace(string(out))
}

func (in *installation) process(name string, env []string, args ...string) *process.Process {
	admin := process.Addr(in.t)
	return process.New(in.t, name, program, process.Options{
		Args: append(args, "--config", in.config, "--admin-listen", admin), Env: env, Admin: admin,
	})
}

func (in *installation) gateway(i int) *process.Process {
	addr := process.Addr(in.t)
	g := in.process(fmt.Sprintf("gateway %d", i), []string{"SLUICE_SHUTDOWN__DELAY=1s"}, "gateway", "--listen", addr)
	if in.proxy == nil {
		in.proxy = newProxy(in.t)
	}
	in.proxy.add(addr, g)
	return g
}

func (in *installation) normalizer(slot int) *process.Process {
	return in.process(fmt.Sprintf("normalizer %d", slot), nil, "normalizer", "--slot", fmt.Sprint(slot))
}

// all returns every process.
func (in *installation) all() []*process.Process {
	return append(append(append([]*process.Process(nil), in.gateways...), in.normalizers...), in.sinks...)
}

// start starts processes and waits until they are ready.
func (in *installation) start(ps ...*process.Process) {
	in.t.Helper()
	for _, p := range ps {
		p.Start()
	}
	for _, p := range ps {
		p.AwaitReady()
	}
}

// stop stops processes in order and checks that they end well.
func (in *installation) stop(ps ...*process.Process) {
	in.t.Helper()
	for _, p := range ps {
		if code := p.Stop(); code != 0 {
			in.t.Errorf("%s: exit code %d after SIGTERM, want 0", p.Name(), code)
		}
	}
}

// drain waits until a group has committed all that stands in its topics, and
// returns how long that took.
func (in *installation) drain(group string, topics ...string) time.Duration {
	in.t.Helper()
	begin := time.Now()
	process.Wait(in.t, "group "+group+" to be at the end", func() bool {
		stands, err := in.kafka.Range(in.t.Context(), time.Time{}, quiet, topics...)
		if err != nil {
			return false
		}
		at, err := in.kafka.Committed(in.t.Context(), group, quiet)
		if err != nil {
			return false
		}
		for _, topic := range topics {
			for partition, end := range stands.End[topic] {
				if end > stands.Start[topic][partition] && at[topic][partition] < end {
					return false
				}
			}
		}
		return true
	})
	return time.Since(begin)
}

// finish stops the gateways, lets each stage come to its end, stops it, and
// returns how long that took.
func (in *installation) finish() {
	in.t.Helper()
	in.stop(in.gateways...)
	normalized := in.drain(normalizer.Group, message.TopicIngest)
	in.stop(in.normalizers...)
	if len(in.sinks) == 0 {
		in.t.Logf("drained: normalizers after %s", normalized.Round(time.Millisecond))
		return
	}
	written := in.drain(sinks.Group(sinkName), topics()...)
	in.stop(in.sinks...)
	in.t.Logf("drained: normalizers after %s, sinks after another %s", normalized.Round(time.Millisecond), written.Round(time.Millisecond))
}

// topics are the typed ones.
func topics() []string {
	var ts []string
	for _, name := range dataTypes {
		ts = append(ts, message.Topic(name))
	}
	return ts
}
