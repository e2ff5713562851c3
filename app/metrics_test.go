package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/agent"
	"sluice/config"
	"sluice/internal/kafka"
	"sluice/message"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// metric is a line of docs/metrics.md.
type metric struct {
	name, kind, help string
	labels           []string
}

// unseen are the types of metrics that have no series before there is traffic and
// whose name does not tell.
var unseen = map[string]string{
	"sluice_sink_lag_records":       "gauge",
	"sluice_normalizer_lag_records": "gauge",
	"sluice_sink_lag_seconds":       "gauge",
}

// contract are the metrics that boards and alerts of others are built on: they may
// get more company, and none may go.
var contract = []string{
	"sluice_build_info", "sluice_agents_connected", "sluice_agent_rejected_total", "sluice_agent_frames_total",
	"sluice_agent_frame_bytes_total", "sluice_ingest_produce_seconds", "sluice_ingest_produce_errors_total",
	"sluice_normalized_total", "sluice_deadletters_total", "sluice_normalizer_lag_records", "sluice_normalizer_lag_seconds",
	"sluice_normalizer_transactions_total", "sluice_sink_written_total", "sluice_sink_write_seconds", "sluice_sink_errors_total",
	"sluice_sink_lag_records", "sluice_sink_lag_seconds", "sluice_end_to_end_seconds", "sluice_dashboard_viewers",
	"sluice_dashboard_resyncs_total",
}

// ids are labels that would make a series of every agent.
var ids = []string{"agent", "node", "id", "connection", "session", "key", "offset", "path", "addr", "err"}

const page = "../docs/metrics.md"

// TestMetricsPage proves that docs/metrics.md lists every metric that a process
// with all stages and all plugins registers, as it is.
func TestMetricsPage(t *testing.T) {
	all := metricsOf(t)
	for _, name := range contract {
		if !slices.ContainsFunc(all, func(m metric) bool { return m.name == name }) {
			t.Errorf("%s is gone: others build on it", name)
		}
	}
	var table strings.Builder
	for _, m := range all {
		for _, l := range m.labels {
			if slices.Contains(ids, l) {
				t.Errorf("%s has the label %s: 10,000 agents would be 10,000 series", m.name, l)
			}
		}
		labels := "–"
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", m.name, m.kind, labels, unit(m.name), m.help)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "|---|---|---|---|---|\n", "\n\n<!-- end of the list -->"
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s: want one table, and %q behind it", page, strings.TrimSpace(end))
	}
	want := strings.TrimSuffix(table.String(), "\n")
	if *update {
		if err := os.WriteFile(page, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	was, is := strings.Split(old, "\n"), strings.Split(want, "\n")
	for _, line := range is {
		if !slices.Contains(was, line) {
			t.Errorf("%s lacks the line\n%s", page, line)
		}
	}
	for _, line := range was {
		if !slices.Contains(is, line) {
			t.Errorf("%s has a line of no metric\n%s", page, line)
		}
	}
	if t.Failed() {
		t.Log("after a change of metrics: go test ./app -run TestMetricsPage -update")
	} else if old != want {
		t.Errorf("%s is out of order: go test ./app -run TestMetricsPage -update", page)
	}
}

// unit returns what a metric of that name counts in, by the conventions of
// Prometheus: a base unit stands at the end of the name.
func unit(name string) string {
	words := strings.Split(strings.TrimSuffix(name, "_total"), "_")
	switch last := words[len(words)-1]; last {
	case "seconds", "bytes", "records":
		return last
	case "info", "stalled":
		return "1"
	}
	return "count"
}

// metricsOf returns the metrics of a process with every stage and every plugin.
func metricsOf(t *testing.T) []metric {
	t.Helper()
	var sinks, route []string
	for _, plugin := range slices.Sorted(maps.Keys(Default().Sinks)) {
		sinks = append(sinks, fmt.Sprintf("  %s: {plugin: %s}", plugin, plugin))
		route = append(route, plugin)
	}
	file := write(t, "sluice.yaml", "routes:\n  ethereum_metrics: ["+strings.Join(route, ", ")+"]\nsinks:\n"+strings.Join(sinks, "\n")+"\n")
	s, _, err := load(config.Sources{File: file}, Default(), role{sinks: route})
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(s, Default(), slog.New(slog.DiscardHandler), io.Discard)
	parts, err := p.sinkStages(route)
	if err != nil {
		t.Fatal(err)
	}
	parts = append(parts, p.normalizerStage("0", false))
	front, err := p.gatewayStage(slices.Sorted(maps.Keys(p.plugins.Protocols)))
	if err != nil {
		t.Fatal(err)
	}
	c := p.agent
	c.URL, c.Token, c.Name = "ws://127.0.0.1:1", "x", "x"
	own, err := p.agentStage(c)
	if err != nil {
		t.Fatal(err)
	}
	parts = append(parts, front, own)
	// Readers make their clients when they run; they have the metrics of others.
	defer func() {
		for _, part := range parts {
			if part.close != nil {
				part.close()
			}
		}
	}()

	kinds := map[string]string{}
	families, err := p.meters.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		kinds[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	var all []*prometheus.Desc
	described := make(chan *prometheus.Desc)
	go func() {
		defer close(described)
		p.meters.Describe(described)
	}()
	for d := range described {
		all = append(all, d)
	}
	form := regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"),(?: unit: "[^"]*",)? constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	by := map[string]metric{}
	for _, d := range all {
		parts := form.FindStringSubmatch(d.String())
		if parts == nil {
			t.Fatalf("descriptor of another form: %s", d)
		}
		name, _ := strconv.Unquote(parts[1])
		help, _ := strconv.Unquote(parts[2])
		switch {
		case !strings.HasPrefix(name, "sluice_"):
			continue // of the Go runtime and the process
		case strings.HasPrefix(name, "sluice_kafka_") && strings.HasSuffix(name, "_seconds"):
			continue // timings that kprom describes and was not told to take
		}
		m := metric{name: name, kind: kinds[name], help: strings.TrimSuffix(help, ".") + "."}
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(parts[3], -1) {
			m.labels = append(m.labels, l[1])
		}
		for l := range strings.SplitSeq(parts[4], ",") {
			if l != "" {
				m.labels = append(m.labels, l)
			}
		}
		slices.Sort(m.labels)
		switch {
		case m.kind != "":
		case strings.HasSuffix(name, "_total"):
			m.kind = "counter"
		default:
			if m.kind = unseen[name]; m.kind == "" {
				t.Errorf("the type of %s does not show: give it its series at the start, or add its type to unseen in this test", name)
			}
		}
		if have, ok := by[name]; ok && !slices.Equal(have.labels, m.labels) {
			t.Errorf("%s has the labels %v and %v", name, have.labels, m.labels)
		}
		by[name] = m
	}
	var list []metric
	for _, name := range slices.Sorted(maps.Keys(by)) {
		list = append(list, by[name])
	}
	return list
}

// TestSeriesAreBounded proves that no number of agents, nor anything that they
// send, adds series: a thousand of them, with names, IDs, types, kinds and fields
// of their own, through gateway, normalizer and sinks.
func TestSeriesAreBounded(t *testing.T) {
	free := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	front, admin, broker := free(), free(), free()
	s, _, err := load(config.Sources{Flags: map[string]string{
		"up.data": t.TempDir(), "up.broker": broker, "up.agent": "false", "gateway.listen": front, "admin.listen": admin,
		"sinks.dashboard.listen": free(), "gateway.limits.per_ip": "10000",
	}}, Default(), role{up: true})
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(s, Default(), slog.New(slog.DiscardHandler), io.Discard)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.up(ctx, "sluice") }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	get := func(path string) string {
		resp, err := http.Get("http://" + admin + path)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	await(t, "sluice up to be ready", func() bool { return get("/readyz") == "ready\n" })

	c := kafka.DefaultConfig()
	c.Brokers = []string{broker}
	crowd := newCrowd(t, c, front)
	settled := func() []string {
		crowd.wait()
		await(t, "everything to be normalized and written", func() bool {
			text := get("/metrics")
			return sum(text, "sluice_agent_frames_total") >= crowd.frames && sum(text, "sluice_normalizer_lag_records") == 0 &&
				sum(text, "sluice_sink_lag_records") == 0 && sum(text, "sluice_deadletters_total") >= crowd.letters
		})
		var names []string
		for line := range strings.Lines(get("/metrics")) {
			if name := line[:max(strings.LastIndexByte(line, ' '), 0)]; !strings.HasPrefix(line, "#") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	crowd.send(0, 240)
	before := settled()
	crowd.send(240, 1240)
	after := settled()
	var more []string
	for _, name := range after {
		if _, ok := slices.BinarySearch(before, name); !ok {
			more = append(more, name)
		}
	}
	t.Logf("%d series after 240 agents, %d after 1240", len(before), len(after))
	if len(before) < 100 {
		t.Errorf("only %d series: %v", len(before), before)
	}
	// A client that meets its first error has a series for that from then on.
	more = slices.DeleteFunc(more, func(name string) bool { return strings.HasPrefix(name, "sluice_kafka_") })
	if len(more) > 0 {
		t.Errorf("a thousand agents more added the series %v", more)
	}
	for _, name := range after {
		if strings.Contains(name, crowd.mark) {
			t.Errorf("what an agent sent is a label: %s", name)
		}
	}
}

// crowd is many agents that send what they like.
type crowd struct {
	t       *testing.T
	kafka   kafka.Config
	front   string
	mark    string // in every name that an agent chooses
	rand    *rand.Rand
	frames  float64 // that were taken, at least
	letters float64
	work    errgroup.Group
}

func newCrowd(t *testing.T, c kafka.Config, front string) *crowd {
	return &crowd{t: t, kafka: c, front: front, mark: "zq", rand: rand.New(rand.NewPCG(1, 2))}
}

// word returns a name that nobody has.
func (c *crowd) word() string { return c.mark + strconv.FormatUint(c.rand.Uint64(), 36) }

// send has the agents from … to−1 send. Which is which does not depend on chance.
func (c *crowd) send(from, to int) {
	c.t.Helper()
	producer, err := c.kafka.NewProducer(kafka.ProducerOptions{}, slog.New(slog.DiscardHandler))
	if err != nil {
		c.t.Fatal(err)
	}
	defer producer.Close()
	names, tokens := make([]string, to-from), make([]string, to-from)
	entries := make([]*kafka.Record, to-from)
	for i := range names {
		names[i], tokens[i] = c.word(), c.word()
		sum := sha256.Sum256([]byte(tokens[i]))
		entries[i] = &kafka.Record{Topic: message.TopicAgents, Key: []byte(names[i]), Value: fmt.Appendf(nil, `{"tokens":["sha256:%s"]}`, hex.EncodeToString(sum[:]))}
	}
	if err := producer.Produce(c.t.Context(), entries...); err != nil {
		c.t.Fatal(err)
	}
	const good = `{"id":"%s","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}},"node":"%s"}`
	await(c.t, "the gateway to know the agents", func() bool {
		last := len(names) - 1
		return c.post("/data", tokens[last], fmt.Sprintf(good, names[last], c.word())) == http.StatusOK
	})
	c.work.SetLimit(20)
	for i, name := range names {
		switch {
		case i%4 == 0:
			c.stream(name, tokens[i])
			continue
		case i%4 == 1:
			c.rest(tokens[i], fmt.Sprintf(good, name, c.word()), http.StatusOK)
		case i%4 == 2:
			c.rest(tokens[i], fmt.Sprintf(`{"id":"%s","type":"ethereum_metrics","data":{"type":"%s","body":{"%s":1}}}`, name, c.word(), c.word()), http.StatusOK)
			c.letters++
		case i%8 == 3:
			c.rest(tokens[i], fmt.Sprintf(`{"id":"%s","type":"%s","data":{"type":"x","body":{}}}`, name, c.word()), http.StatusUnprocessableEntity)
		default:
			c.rest(c.word(), fmt.Sprintf(good, name, name), http.StatusUnauthorized)
		}
		if i%4 < 3 {
			c.frames++
		}
	}
}

func (c *crowd) rest(token, body string, want int) {
	key := c.word()
	c.work.Go(func() error {
		if got := c.post("/data", token, body, "Idempotency-Key", key, key, key); got != want {
			return fmt.Errorf("post %s: got %d, want %d", body, got, want)
		}
		return nil
	})
}

// stream reports over a websocket, which is not looked into before the normalizer.
func (c *crowd) stream(name, token string) {
	cfg := agent.DefaultConfig()
	cfg.URL, cfg.Name, cfg.Token = "ws://"+c.front, name, config.Secret(token)
	client, err := agent.New(cfg, agent.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	messages := []agent.Message{
		{Type: "x" + c.word(), Kind: c.word(), Body: map[string]any{c.word(): 1}},
		{Type: "system_metrics", Kind: "load", Node: c.word(), Body: map[string]any{"load1": 1.0, "load5": 1.0, "load15": 1.0, c.word(): 2}},
		{Type: "networking_metrics", Kind: "latency", Body: map[string]any{"milliseconds": c.word()}},
	}
	c.frames += 3
	c.letters += 2
	c.work.Go(func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
		defer cancel()
		run, stop := context.WithCancel(ctx)
		var running errgroup.Group
		running.Go(func() error { return client.Run(run) })
		for _, m := range messages {
			if err := client.Send(ctx, m); err != nil {
				stop()
				return fmt.Errorf("send: %w", err)
			}
		}
		err := client.Flush(ctx)
		stop()
		if err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		return running.Wait()
	})
}

func (c *crowd) wait() {
	c.t.Helper()
	if err := c.work.Wait(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crowd) post(path, token, body string, headers ...string) int {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://"+c.front+path, strings.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// sum adds up the series of a metric.
func sum(text, name string) float64 {
	total := 0.0
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == '{' || rest[0] == ' ') {
			v, _ := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			total += v
		}
	}
	return total
}

// await waits until ok, and fails the test after a minute.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
		<-tick.C
	}
}
