package pipeline

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestGuaranteesAreTested proves that every test which docs/guarantees.md names
// is there.
func TestGuaranteesAreTested(t *testing.T) {
	doc := mustRead(t, "../../docs/guarantees.md")
	out, err := exec.Command("go", "list", "-f", `{{range .TestGoFiles}}{{$.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$.Dir}}/{{.}} {{end}}`, "sluice/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for file := range strings.FieldsSeq(string(out)) {
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(mustRead(t, file), -1) {
			there[string(m[1])] = true
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(doc, -1)
	if len(named) < 30 {
		t.Errorf("docs/guarantees.md names %d tests only", len(named))
	}
	for _, m := range named {
		if !there[string(m[1])] {
			t.Errorf("docs/guarantees.md names %s, which is no test", m[1])
		}
	}
}
