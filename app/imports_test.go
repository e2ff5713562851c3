package app

import (
	"os/exec"
	"strings"
	"testing"
)

// allowed says, for each part of the tree, which parts it may import: one way,
// main → app → plugins → stages → schemas, config, internal → message. A part
// may import what lies below itself.
var allowed = map[string][]string{
	"sluice":                          {"sluice/app"},
	"sluice/app":                      {"sluice/"},
	"sluice/message":                  {},
	"sluice/config":                   {"sluice/message"},
	"sluice/internal/wire":            {"sluice/message"},
	"sluice/internal/wire/wiretest":   {},
	"sluice/internal/kafka":           {"sluice/message", "sluice/config"},
	"sluice/internal/kafka/kafkatest": {"sluice/message", "sluice/internal/kafka"},
	"sluice/internal/telemetry":       {"sluice/message", "sluice/config"},
	"sluice/schemas":                  {"sluice/message", "sluice/internal/wire", "sluice/internal/kafka"},
	"sluice/agent":                    {"sluice/message", "sluice/config"},
	"sluice/gateway":                  {"sluice/message", "sluice/config", "sluice/internal/", "sluice/schemas"},
	"sluice/normalizer":               {"sluice/message", "sluice/config", "sluice/internal/", "sluice/schemas", "sluice/normalizer/decode"},
	"sluice/normalizer/decode":        {"sluice/message", "sluice/internal/wire"},
	"sluice/sinks":                    {"sluice/message", "sluice/config", "sluice/internal/", "sluice/schemas"},
	"sluice/gateway/gatewaytest":      {"sluice/message", "sluice/config", "sluice/internal/", "sluice/gateway"},
	// Any other folder of a stage is a plugin.
	"sluice/gateway/":       {"sluice/message", "sluice/config", "sluice/internal/wire", "sluice/schemas", "sluice/gateway"},
	"sluice/sinks/sinktest": {"sluice/message", "sluice/schemas", "sluice/sinks", "sluice/internal/wire"},
	"sluice/sinks/":         {"sluice/message", "sluice/config", "sluice/schemas", "sluice/sinks", "sluice/internal/telemetry"},
	// Tests and measurements look at everything.
	"sluice/test/": {"sluice/"},
}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "sluice/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		pkg, imports := fields[0], fields[1:]
		seen++
		rule, ok := allowed[pkg]
		for parent := pkg; !ok && strings.Contains(parent, "/"); {
			parent = parent[:strings.LastIndexByte(parent, '/')]
			rule, ok = allowed[parent+"/"]
		}
		if !ok {
			t.Errorf("%s is a part that DESIGN does not name: it needs an ADR and a rule here", pkg)
		}
		for _, imported := range imports {
			// test/services asks a Kafka that it started whether it works.
			if strings.HasPrefix(imported, "github.com/twmb/franz-go") && pkg != "sluice/internal/kafka" && pkg != "sluice/test/services" {
				t.Errorf("%s imports %s: only internal/kafka talks to Kafka", pkg, imported)
			}
			if strings.HasPrefix(imported, "sluice") && !permits(rule, pkg, imported) {
				t.Errorf("%s imports %s, which points the wrong way", pkg, imported)
			}
		}
	}
	if seen < 15 {
		t.Errorf("looked at %d packages only", seen)
	}
}

func permits(rule []string, pkg, imported string) bool {
	if strings.HasPrefix(imported, pkg+"/") && !strings.HasPrefix(imported, "sluice/sinks/") && !strings.HasPrefix(imported, "sluice/gateway/") {
		return true
	}
	for _, r := range rule {
		if imported == r || (strings.HasSuffix(r, "/") && strings.HasPrefix(imported, r)) {
			return true
		}
	}
	// A plugin may have folders of its own.
	parts := strings.Split(pkg, "/")
	return len(parts) >= 3 && (parts[1] == "sinks" || parts[1] == "gateway") && strings.HasPrefix(imported, strings.Join(parts[:3], "/"))
}
