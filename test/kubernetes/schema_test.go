package kubernetes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"
)

// newer are the kinds that came after the release of Kubernetes whose schema
// kustomize has in it (1.21). They are held to Kubernetes' types only.
var newer = map[string]bool{"autoscaling/v2/HorizontalPodAutoscaler": true}

// schemas are those of Kubernetes' OpenAPI description: which fields must be
// there, and of which type they are.
type schemas struct {
	compiler *jsonschema.Compiler
	byKind   map[string]string // location in the description
}

func newSchemas(t testing.TB) *schemas {
	t.Helper()
	b, err := json.Marshal(openapi.Schema())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	description := doc.(map[string]any)
	description["$schema"] = "http://json-schema.org/draft-04/schema#"
	s := &schemas{jsonschema.NewCompiler(), map[string]string{}}
	for name, v := range description["definitions"].(map[string]any) {
		definition := v.(map[string]any)
		// OpenAPI calls text what may be a number too.
		if strings.HasSuffix(name, ".IntOrString") || strings.HasSuffix(name, ".Quantity") {
			definition["type"] = []any{"string", "number"}
		}
		gvks, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, v := range gvks {
			gvk := v.(map[string]any)
			kind := strings.TrimPrefix(fmt.Sprintf("%s/%s/%s", gvk["group"], gvk["version"], gvk["kind"]), "/")
			s.byKind[kind] = "kubernetes.json#/definitions/" + name
		}
	}
	if err := s.compiler.AddResource("kubernetes.json", doc); err != nil {
		t.Fatal(err)
	}
	return s
}

// check returns what the schemas say is wrong with the objects.
func (s *schemas) check(objects []object) []string {
	var problems []string
	for _, o := range objects {
		if newer[o.kind] {
			continue
		}
		location, ok := s.byKind[o.kind]
		if !ok {
			problems = append(problems, fmt.Sprintf("%s: no schema for %s", o, o.kind))
			continue
		}
		schema, err := s.compiler.Compile(location)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", o, err))
			continue
		}
		b, err := yaml.YAMLToJSON(o.raw)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", o, err))
			continue
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", o, err))
		}
	}
	return problems
}
