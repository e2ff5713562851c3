package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/internal/kafka"
	"sluice/message"
	"sluice/normalizer"
	"sluice/test/chaos/judge"
	"sluice/test/process"
)

// stack is all of compose.yaml, running under a name and on ports of its own.
type stack struct {
	t     *testing.T
	name  string
	env   []string
	ports map[string]string // by variable
	kafka kafka.Config
	table *dynamodb.Client
}

// scale is how many of what run.
var scale = []string{"--scale", "normalizer=3", "--scale", "gateway=2"}

// newStack builds the image and returns a stack that does not run yet. All of it
// is gone when the test ends, however it ends.
func newStack(t *testing.T) *stack {
	t.Helper()
	if os.Getenv("SLUICE_TEST_DOCKER") != "1" {
		t.Skip("SKIP: builds an image and runs docker compose for some minutes: make containers runs it")
	}
	if err := engine(t.Context()); err != nil {
		t.Fatalf("SLUICE_TEST_DOCKER is set and there is no Docker engine: %v", err)
	}
	s := &stack{t: t, name: "sluice-test-" + strconv.Itoa(os.Getpid()), ports: map[string]string{}}
	for _, name := range []string{"SLUICE_KAFKA_PORT", "SLUICE_GATEWAY_PORT", "SLUICE_DASHBOARD_PORT", "SLUICE_DYNAMODB_PORT"} {
		_, port, _ := strings.Cut(process.Addr(t), ":")
		s.ports[name] = port
		s.env = append(s.env, name+"="+port)
	}
	image := s.name + ":test"
	s.env = append(s.env, "SLUICE_IMAGE="+image)
	s.kafka = kafka.DefaultConfig()
	s.kafka.Brokers = []string{s.addr("SLUICE_KAFKA_PORT")}
	s.table = dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://" + s.addr("SLUICE_DYNAMODB_PORT")),
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})

	began := time.Now()
	s.docker("build", "--network", "host", "--quiet", "--tag", image, ".")
	t.Logf("image built in %s", time.Since(began).Round(time.Second))
	s.guard("docker compose -p " + s.name + " down -v --remove-orphans -t 5; docker image rm -f " + image)
	return s
}

// engine reports what is missing for containers to run.
func engine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, args := range [][]string{{"version"}, {"compose", "version"}} {
		if out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("docker %s: %w %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// guard runs a script when the test, or its process, has ended. It hears of that
// by the end of its input.
func (s *stack) guard(script string) {
	s.t.Helper()
	sh := exec.Command("sh", "-c", "cat >/dev/null; "+script)
	sh.Dir, sh.Env = root, append(os.Environ(), s.env...)
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in a terminal goes to the whole group of the test
	in, err := sh.StdinPipe()
	if err == nil {
		err = sh.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			ps, _ := s.try("compose", "-p", s.name, "ps", "-a")
			logs, _ := s.try("compose", "-p", s.name, "logs", "--tail", "12")
			s.t.Logf("%s\n%s", ps, logs)
		}
		_ = in.Close()
		if err := sh.Wait(); err != nil {
			s.t.Errorf("clear away: %v", err)
		}
	})
}

// docker runs a command of docker in the root of the repository and returns what
// it prints.
func (s *stack) docker(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out[max(0, len(out)-6000):])
	}
	return out
}

func (s *stack) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), s.env...)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return string(out) + errOut.String(), err
	}
	return string(out), nil
}

// compose runs a command of docker compose.
func (s *stack) compose(args ...string) string {
	s.t.Helper()
	return s.docker(append([]string{"compose", "-p", s.name}, args...)...)
}

func (s *stack) addr(variable string) string { return "127.0.0.1:" + s.ports[variable] }

// container is one as `docker compose ps` shows it.
type container struct {
	ID, Name, Service, State, Health string
	ExitCode                         int
	Publishers                       []struct {
		URL           string
		PublishedPort int
	}
}

func (s *stack) containers() []container {
	s.t.Helper()
	var all []container
	for d := json.NewDecoder(strings.NewReader(s.compose("ps", "-a", "--format", "json"))); ; {
		var c container
		if err := d.Decode(&c); err == io.EOF {
			return all
		} else if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, c)
	}
}

// jobs end by themselves.
var jobs = []string{"topics", "admit"}

// healthy waits until the containers of these services, or of all, are.
func (s *stack) healthy(services ...string) {
	s.t.Helper()
	process.Wait(s.t, fmt.Sprintf("%v to be healthy", services), func() bool {
		return !slices.ContainsFunc(s.containers(), func(c container) bool {
			switch {
			case len(services) > 0 && !slices.Contains(services, c.Service):
				return false
			case slices.Contains(jobs, c.Service):
				return c.State != "exited" || c.ExitCode != 0
			}
			return c.State != "running" || c.Health != "healthy"
		})
	})
}

// items scans the table for the messages in it, each of which must be there once.
func (s *stack) items() map[string]bool {
	s.t.Helper()
	out := map[string]bool{}
	for p := dynamodb.NewScanPaginator(s.table, &dynamodb.ScanInput{TableName: aws.String("sluice"), ConsistentRead: aws.Bool(true)}); p.HasMorePages(); {
		page, err := p.NextPage(s.t.Context())
		if err != nil {
			s.t.Fatalf("scan: %v", err)
		}
		for _, it := range page.Items {
			id, sk := it["id"].(*types.AttributeValueMemberS).Value, it["sk"].(*types.AttributeValueMemberS).Value
			if strings.HasPrefix(sk, "latest#") {
				continue
			}
			if out[id] {
				s.t.Errorf("message %s stands twice in the table", id)
			}
			out[id] = true
		}
	}
	return out
}

// arrives waits until something that an agent says from now on is in the table.
func (s *stack) arrives(agent, when string) {
	s.t.Helper()
	began := time.Now()
	// One row of one partition: scans without a pause would keep DynamoDB Local from its work.
	query := &dynamodb.QueryInput{
		TableName: aws.String("sluice"), Limit: aws.Int32(1), ConsistentRead: aws.Bool(true),
		KeyConditionExpression: aws.String("pk = :pk AND sk BETWEEN :now AND :end"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":pk":  &types.AttributeValueMemberS{Value: agent + "#system_metrics"},
			":now": &types.AttributeValueMemberS{Value: strconv.FormatInt(began.UnixMilli(), 10)},
			":end": &types.AttributeValueMemberS{Value: "9999999999999"},
		},
	}
	process.Wait(s.t, "what "+agent+" says "+when+" to be in DynamoDB", func() bool {
		page, err := s.table.Query(s.t.Context(), query)
		return err == nil && page.Count > 0 // DynamoDB Local may be on its way up
	})
	s.t.Logf("%s: in DynamoDB after %s", when, time.Since(began).Round(100*time.Millisecond))
}

// each reads topics from their beginnings to their ends.
func (s *stack) each(do func(*kafka.Record), topics ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	r, err := s.kafka.Range(ctx, time.Time{}, quiet, topics...)
	if err == nil {
		err = s.kafka.Follow(ctx, kafka.FollowOptions{Range: r, Bounded: true}, quiet, func(_ context.Context, rs []*kafka.Record) error {
			for _, r := range rs {
				do(r)
			}
			return nil
		})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// adds checks that each record of ingest has each of its outcomes once, and that
// the table has each message once and nothing else. Nothing is taken any more.
func (s *stack) adds() {
	s.t.Helper()
	var ingest []judge.Ingested
	s.each(func(r *kafka.Record) {
		var f message.Frame
		kafka.Frame(r, &f)
		// Nobody kept a ledger of what was sent, so each counts as our own.
		ingest = append(ingest, judge.Ingested{Src: f.Src, ID: f.ID, Agent: f.Agent, Own: true})
	}, message.TopicIngest)
	var outcomes []judge.Outcome
	messages := map[string]bool{}
	s.each(func(r *kafka.Record) {
		o := judge.Outcome{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
		if r.Topic == message.TopicDeadLetters {
			d := kafka.DeadLetter(r)
			s.t.Errorf("dead letter of %s: %s: %s", d.Stage, d.ID, d.Reason)
			o.ID, o.Agent, o.Src, o.Index, o.Count, o.Code = d.ID, d.Agent, d.Src, d.Index, d.Count, d.Code
		} else {
			var m message.Message
			kafka.Message(r, &m)
			o.ID, o.Agent, o.Src, o.Index, o.Count = m.ID, string(r.Key), m.Src, m.Index, m.Count
			messages[m.ID] = true
		}
		outcomes = append(outcomes, o)
	}, message.Topic("ethereum_metrics"), message.Topic("system_metrics"), message.Topic("networking_metrics"), message.TopicDeadLetters)
	v := judge.Pipeline(judge.NewLedger(), ingest, outcomes)
	s.t.Logf("%d records of ingest, %d outcomes: %s", len(ingest), len(outcomes), v)
	if !v.Good() || len(ingest) < 100 {
		s.t.Error("the counts do not add up")
	}
	var items map[string]bool
	process.Wait(s.t, "all messages to be in DynamoDB", func() bool {
		items = s.items()
		return len(items) >= len(messages)
	})
	for id := range items {
		if !messages[id] {
			s.t.Errorf("item %s is no message in Kafka", id)
		}
	}
}

// normalized waits until all that stands in ingest is.
func (s *stack) normalized() {
	s.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	process.Wait(s.t, "ingest to be normalized", func() bool {
		r, err := s.kafka.Range(s.t.Context(), time.Time{}, quiet, message.TopicIngest)
		if err != nil {
			return false
		}
		at, err := s.kafka.Committed(s.t.Context(), normalizer.Group, quiet)
		if err != nil {
			return false
		}
		for p, end := range r.End[message.TopicIngest] {
			if end > r.Start[message.TopicIngest][p] && at[message.TopicIngest][p] < end {
				return false
			}
		}
		return true
	})
}

// TestCompose runs all of compose.yaml with three normalizers and more than one
// gateway, an agent on this machine, and kills and restarts what runs.
func TestCompose(t *testing.T) {
	s := newStack(t)
	began := time.Now()
	s.compose(append([]string{"up", "-d", "--no-build", "--wait", "--wait-timeout", "240"}, scale...)...)
	s.healthy()
	t.Logf("all healthy after %s", time.Since(began).Round(time.Second))
	for _, c := range s.containers() {
		for _, p := range c.Publishers {
			if p.PublishedPort != 0 && p.URL != "127.0.0.1" {
				t.Errorf("%s: port %d is published on %q", c.Name, p.PublishedPort, p.URL)
			}
		}
	}
	if n := strings.Count(s.compose("ps", "-q", "normalizer", "gateway"), "\n"); n != 5 {
		t.Errorf("got %d normalizers and gateways, want 3 and 2", n)
	}

	program, err := process.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(s.compose("exec", "-T", "gateway", "/sluice", "agents", "add", "host"))
	env := []string{"SLUICE_AGENT__TOKEN=" + token}
	for _, name := range []string{"CPU", "MEMORY", "LOAD"} { // a machine has one of each; interfaces and disks it has many
		env = append(env, "SLUICE_AGENT__SYSTEM__"+name+"=250ms")
	}
	agent := process.New(t, "agent", program, process.Options{
		Args: []string{"agent", "--url", "ws://" + s.addr("SLUICE_GATEWAY_PORT")}, Env: env,
	})
	agent.Start()
	s.arrives("host", "at first")
	s.arrives("compose", "in its container")
	if !slices.ContainsFunc(slices.Collect(maps.Keys(s.items())), func(id string) bool { return strings.HasPrefix(id, "host/") }) {
		t.Error("a scan of the table finds nothing of the agent on this machine")
	}
	process.Wait(t, "the page to show the agent", func() bool {
		code, body := process.Get("http://" + s.addr("SLUICE_DASHBOARD_PORT") + "/api/v1/nodes")
		var got struct {
			Nodes []struct{ Node, State string } `json:"nodes"`
		}
		if code != http.StatusOK || json.Unmarshal([]byte(body), &got) != nil {
			return false
		}
		for _, n := range got.Nodes {
			if n.Node == "host" && n.State == "ok" {
				return true
			}
		}
		return false
	})

	out := s.compose("exec", "-T", "kafka", "/opt/kafka/bin/kafka-console-consumer.sh", "--bootstrap-server", "localhost:9092",
		"--topic", "sluice.system_metrics", "--from-beginning", "--isolation-level", "read_committed", "--max-messages", "20", "--timeout-ms", "60000",
		"--formatter-property", "print.key=true", "--formatter-property", "print.headers=true")
	if n := strings.Count(out, message.HeaderSrc+":"); n < 20 {
		t.Errorf("kafka-console-consumer.sh shows %d records of 20: %.300q", n, out)
	}

	s.compose("kill", "normalizer")
	s.compose(append([]string{"up", "-d", "--no-build", "--wait", "--wait-timeout", "240"}, scale...)...)
	s.arrives("host", "after the normalizers were killed")

	for _, service := range []string{"kafka", "dynamodb", "door", "gateway", "normalizer", "dashboard", "dynamodb-sink", "agent"} {
		s.compose("restart", service)
		s.arrives("host", "after a restart of "+service)
	}
	s.healthy()

	if code := agent.Stop(); code != 0 {
		t.Errorf("agent: exit code %d", code)
	}
	s.compose("stop", "agent", "door", "gateway")
	s.normalized()
	s.adds()
	for _, c := range s.containers() {
		if got := strings.TrimSpace(s.docker("inspect", "--format", "{{.RestartCount}} {{.State.OOMKilled}}", c.ID)); got != "0 false" {
			t.Errorf("%s: restarts and killed for memory: %s", c.Name, got)
		}
	}
	t.Logf("all of it took %s", time.Since(began).Round(time.Second))
}
