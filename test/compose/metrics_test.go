package compose

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"sluice/test/process"
)

// query is one expression of the board or the rules.
type query struct {
	where, expr string
	// labels are those that its texts show.
	labels []string
}

var (
	inLegend     = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)
	inAnnotation = regexp.MustCompile(`\$labels\.(\w+)`)
)

func names(re *regexp.Regexp, text string) []string {
	var out []string
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// rules returns the expressions of the alerts, each of which must say what is
// wrong and what to look at.
func rules(t *testing.T) []query {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         model.Duration    `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	read(t, "compose/prometheus/rules.yaml", yaml.Unmarshal, &file)
	var out []query
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.For == 0 || r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 60 {
				t.Errorf("alert %q of %s: want a name, a time, a summary and a description that says what to do", r.Alert, g.Name)
			}
			if !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) {
				t.Errorf("alert %s: severity is %q", r.Alert, r.Labels["severity"])
			}
			shown := names(inAnnotation, r.Annotations["summary"]+r.Annotations["description"])
			out = append(out, query{"alert " + r.Alert, r.Expr, shown})
		}
	}
	return out
}

// board returns the expressions of the Grafana board: panels, variables and
// annotations.
func board(t *testing.T) []query {
	t.Helper()
	var file struct {
		Panels []struct {
			ID      int    `json:"id"`
			Type    string `json:"type"`
			Title   string `json:"title"`
			GridPos struct{ X, Y, W, H int }
			Targets []struct {
				Expr         string `json:"expr"`
				LegendFormat string `json:"legendFormat"`
			} `json:"targets"`
			Description string `json:"description"`
		} `json:"panels"`
		Templating struct {
			List []struct {
				Name, Type, Definition string
			} `json:"list"`
		} `json:"templating"`
		Annotations struct {
			List []struct{ Name, Expr string } `json:"list"`
		} `json:"annotations"`
	}
	read(t, "compose/grafana/sluice.json", json.Unmarshal, &file)
	var out []query
	ids := map[int]bool{}
	for _, p := range file.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q: id %d again, or wider than the board", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (len(p.Targets) == 0 || p.Description == "") {
			t.Errorf("panel %q shows nothing or does not say what", p.Title)
		}
		for _, target := range p.Targets {
			// Grafana puts these in; any duration and any name will do here.
			expr := strings.NewReplacer("$__rate_interval", "1m", "$sink", "x", "$topic", "x").Replace(target.Expr)
			out = append(out, query{"panel " + p.Title, expr, names(inLegend, target.LegendFormat)})
		}
	}
	values := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, v := range file.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := values.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("variable %s: cannot read %q", v.Name, v.Definition)
			continue
		}
		out = append(out, query{"variable " + v.Name, m[1], m[2:]})
	}
	for _, a := range file.Annotations.List {
		out = append(out, query{"annotation " + a.Name, a.Expr, nil})
	}
	return out
}

func read(t *testing.T, name string, unmarshal func([]byte, any) error, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err == nil {
		err = unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// metric is one name with all labels that it can have.
type metric struct {
	labels []string
	// seen says that a running sluice showed it; else it stands in the source.
	seen bool
}

// fromPrometheus are the metrics and labels that sluice does not make.
var (
	fromPrometheus = map[string]metric{
		"up":     {seen: true},
		"ALERTS": {labels: []string{"alertname", "alertstate", "severity"}, seen: true},
	}
	ofTargets = []string{"job", "instance", "service"}
)

// check returns what is wrong with a query.
func check(q query, known map[string]metric) []string {
	var out []string
	bad := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: ", q.where)+fmt.Sprintf(format, args...))
	}
	e, err := metricsql.Parse(q.expr)
	if err != nil {
		bad("%v in %s", err, q.expr)
		return out
	}
	there := slices.Clone(ofTargets) // labels of the metrics in the expression
	var by []string                  // labels that aggregations leave
	aggregated, metrics := false, 0
	metricsql.VisitAll(e, func(e metricsql.Expr) {
		m, ok := e.(*metricsql.MetricExpr)
		if !ok {
			return
		}
		for _, filters := range m.LabelFilterss {
			if len(filters) == 0 || filters[0].Label != "__name__" {
				bad("a selector without a name in %s", q.expr)
				continue
			}
			metrics++
			name := filters[0].Value
			k, ok := known[name]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, cut := strings.CutSuffix(name, suffix); !ok && cut {
					if k, ok = known[base]; ok && suffix == "_bucket" {
						k.labels = append(slices.Clone(k.labels), "le")
					}
				}
			}
			if !ok {
				bad("no metric %s", name)
				continue
			}
			there = append(there, k.labels...)
			for _, f := range filters[1:] {
				if !slices.Contains(k.labels, f.Label) && !slices.Contains(ofTargets, f.Label) {
					bad("%s has no label %s", name, f.Label)
				}
			}
		}
	})
	if metrics == 0 {
		bad("no metric in %s", q.expr)
	}
	want := func(label, what string) {
		if !slices.Contains(there, label) {
			bad("%s: none of its metrics has the label %s", what, label)
		}
	}
	metricsql.VisitAll(e, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.AggrFuncExpr:
			aggregated = true
			for _, label := range e.Modifier.Args {
				want(label, e.Modifier.Op)
				by = append(by, label)
			}
		case *metricsql.BinaryOpExpr:
			for _, label := range slices.Concat(e.GroupModifier.Args, e.JoinModifier.Args) {
				want(label, e.Op)
			}
		}
	})
	for _, label := range q.labels {
		if want(label, "text"); aggregated && !slices.Contains(by, label) {
			bad("text: the label %s is summed away", label)
		}
	}
	return out
}

// TestMetricsAreThere holds every expression of the board and the alerts to what a
// running sluice shows. What counts rare faults shows nothing before the first;
// of that the source must have the name and the labels.
func TestMetricsAreThere(t *testing.T) {
	known := declared(t)
	maps.Copy(known, shown(t))
	maps.Copy(known, fromPrometheus)
	queries := append(rules(t), board(t)...)
	if len(queries) < 40 {
		t.Fatalf("got %d expressions, want all of them", len(queries))
	}
	used := map[string]bool{}
	for _, q := range queries {
		for _, problem := range check(q, known) {
			t.Error(problem)
		}
		for name := range known {
			if strings.Contains(q.expr, name) {
				used[name] = true
			}
		}
	}
	var unseen, unused []string
	for name, m := range known {
		if used[name] && !m.seen {
			unseen = append(unseen, name)
		}
		if !used[name] && m.seen && strings.HasPrefix(name, "sluice_") && !strings.HasPrefix(name, "sluice_kafka_") {
			unused = append(unused, name)
		}
	}
	slices.Sort(unseen)
	slices.Sort(unused)
	t.Logf("%d expressions; known by the source alone: %v; on no panel and in no alert: %v", len(queries), unseen, unused)
	if len(unseen) > 8 {
		t.Errorf("%d metrics were not shown by a running sluice: %v", len(unseen), unseen)
	}
}

// TestCheckSees shows the check one mistake at a time.
func TestCheckSees(t *testing.T) {
	known := map[string]metric{"sluice_a_total": {labels: []string{"sink"}}, "sluice_b_seconds": {labels: []string{"sink"}}, "up": {}}
	for _, tt := range []struct {
		expr   string
		labels []string
		good   bool
	}{
		{"sum by (sink) (rate(sluice_a_total[5m])) > 0", []string{"sink"}, true},
		{`histogram_quantile(0.9, sum by (le, sink) (rate(sluice_b_seconds_bucket{service="x"}[1m])))`, []string{"sink"}, true},
		{`absent(up{job="sluice"})`, []string{"job"}, true},
		{"rate(sluice_a_totl[5m])", nil, false},
		{`sluice_a_total{topic="x"}`, nil, false},
		{"sum by (topic) (sluice_a_total)", nil, false},
		{"sluice_b_seconds{le=\"1\"}", nil, false},
		{"sum(sluice_a_total)", []string{"sink"}, false},
		{"sluice_a_total", []string{"topic"}, false},
		{"sum(sluice_a_total", nil, false},
		{"1 + 1", nil, false},
	} {
		if got := check(query{"test", tt.expr, tt.labels}, known); (len(got) == 0) != tt.good {
			t.Errorf("%s with %v: got %v, want good: %v", tt.expr, tt.labels, got, tt.good)
		}
	}
}

// declared returns the metrics in the source: options with a Name, beside a list
// of labels, and descriptions.
func declared(t *testing.T) map[string]metric {
	t.Helper()
	out := map[string]metric{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "test", "node_modules", "sluice-data"}, d.Name()):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if name, labels := metricOf(call); strings.HasPrefix(name, "sluice_") {
					out[name] = metric{labels: labels}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// metricOf returns the name and the labels of the metric that a call makes.
func metricOf(call *ast.CallExpr) (name string, labels []string) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !strings.HasPrefix(fun.Sel.Name, "New") || len(call.Args) == 0 {
		return "", nil
	}
	if fun.Sel.Name == "NewDesc" {
		name = literal(call.Args[0])
	}
	for _, arg := range call.Args {
		c, ok := arg.(*ast.CompositeLit)
		if !ok {
			continue
		}
		for _, e := range c.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Name" {
					name = literal(kv.Value)
				}
			} else if label := literal(e); label != "" {
				labels = append(labels, label)
			}
		}
	}
	return name, labels
}

func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		s, _ := strconv.Unquote(l.Value)
		return s
	}
	return ""
}

// shown runs everything in one process, gives it frames good and bad, and returns
// the metrics that it shows.
func shown(t *testing.T) map[string]metric {
	t.Helper()
	program, err := process.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	gateway, admin, page := process.Addr(t), process.Addr(t), process.Addr(t)
	p := process.New(t, "up", program, process.Options{Admin: admin, Args: []string{
		"up", "--data", data, "--gateway-listen", gateway, "--dashboard-listen", page, "--admin-listen", admin, "--broker-listen", process.Addr(t),
	}})
	p.Start()
	p.AwaitReady()
	token, err := os.ReadFile(filepath.Join(data, "token-a1"))
	if err != nil {
		t.Fatal(err)
	}
	post := func(token, pending string, want int) {
		body := `{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":` + pending + `,"colour":1}}}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+gateway+"/data", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("posting %s: got %s, want %d", pending, resp.Status, want)
		}
	}
	post(strings.TrimSpace(string(token)), "1", http.StatusOK)
	post(strings.TrimSpace(string(token)), `"three"`, http.StatusOK)
	post("none", "1", http.StatusUnauthorized)

	out := map[string]metric{}
	want := []string{"sluice_normalized_total", "sluice_deadletters_total", "sluice_agent_rejected_total", "sluice_unknown_fields_total", "sluice_sink_lag_records", "sluice_client_frames_total"}
	process.Wait(t, "the metrics of what was done", func() bool {
		code, body := process.Get("http://" + admin + "/metrics")
		if code != http.StatusOK {
			t.Fatalf("metrics: got %d %s", code, body)
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range families {
			out[name] = metric{labels: labelsOf(f), seen: true}
		}
		return !slices.ContainsFunc(want, func(name string) bool { return !out[name].seen })
	})
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	return out
}

func labelsOf(f *dto.MetricFamily) []string {
	labels := map[string]bool{}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			labels[l.GetName()] = true
		}
	}
	return slices.Sorted(maps.Keys(labels))
}
