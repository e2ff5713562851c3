package app

import (
	"strings"
	"testing"
)

// TestSchemaRegistrySettings proves that the section is checked like any other
// and that its password is not shown.
func TestSchemaRegistrySettings(t *testing.T) {
	environ := []string{"SLUICE_SCHEMA_REGISTRY__URL=http://registry:8081", "SLUICE_SCHEMA_REGISTRY__USER=u", "SLUICE_SCHEMA_REGISTRY__PASSWORD=canary"}
	code, out, errOut := run(t, environ, "config", "print")
	if code != 0 || !strings.Contains(out, "http://registry:8081") || strings.Contains(out, "canary") {
		t.Errorf("code %d, %s\n%s", code, errOut, out)
	}
	code, _, errOut = run(t, environ, "config", "validate")
	if code != 0 || !strings.Contains(errOut, "warning: schema_registry.url: http shows the password") {
		t.Errorf("code %d, no warning in %s", code, errOut)
	}
	code, _, errOut = run(t, []string{"SLUICE_SCHEMA_REGISTRY__URL=registry:8081"}, "config", "validate")
	if code != 78 || !strings.Contains(errOut, "schema_registry.url") && !strings.Contains(errOut, "SLUICE_SCHEMA_REGISTRY__URL") {
		t.Errorf("code %d, want 78: %s", code, errOut)
	}
}
