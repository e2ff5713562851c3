package config

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func TestPrint(t *testing.T) {
	s, err := load(Sources{
		File: "testdata/sample.yml", Environ: []string{"SLUICE_GATEWAY__DEBUG=1"},
		Flags: map[string]string{"gateway.port": "8"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Print(&b, true); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter") {
		t.Error("a secret is printed")
	}
	golden(t, "testdata/print.golden", b.String())
}

// TestPrintReadsBack loads what Print wrote, with the secrets put back.
func TestPrintReadsBack(t *testing.T) {
	first, err := load(Sources{File: "testdata/sample.yml"})
	if err != nil {
		t.Fatal(err)
	}
	for _, origins := range []bool{false, true} {
		var b bytes.Buffer
		if err := first.Print(&b, origins); err != nil {
			t.Fatal(err)
		}
		file := "printed.yaml"
		t.Chdir(t.TempDir())
		if err := os.WriteFile(file, bytes.ReplaceAll(b.Bytes(), []byte(mask), []byte("hunter9")), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := load(Sources{File: file})
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		want := first.gateway
		want.TLS.Password, want.TLS.Keys = "hunter9", map[string]Secret{"first": "hunter9"}
		if !reflect.DeepEqual(again.gateway, want) || !reflect.DeepEqual(again.routes, first.routes) {
			t.Errorf("got\n%#v\nwant\n%#v", again.gateway, want)
		}
	}
}

func TestEnv(t *testing.T) {
	s, err := load(Sources{File: "testdata/sample.yml"})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Env(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter") {
		t.Error("a secret is printed")
	}
	golden(t, "testdata/env.golden", b.String())
}

func TestSchema(t *testing.T) {
	s, err := newSample(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/schema.golden", string(b))
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(text []byte) error {
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		v, err = jsonschema.UnmarshalJSON(bytes.NewReader(j))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	good, err := os.ReadFile("testdata/sample.yml")
	if err != nil {
		t.Fatal(err)
	}
	// The loader takes 007 for text as it stands; the schema wants the quotes.
	good = bytes.ReplaceAll(good, []byte("cert: 007"), []byte(`cert: "007"`))
	if err := check(good); err != nil {
		t.Errorf("the sample: %v", err)
	}
	printed, err := load(Sources{File: "testdata/sample.yml"})
	if err != nil {
		t.Fatal(err)
	}
	var p bytes.Buffer
	if err := printed.Print(&p, false); err != nil {
		t.Fatal(err)
	}
	if err := check(p.Bytes()); err != nil {
		t.Errorf("what Print wrote: %v", err)
	}
	if err := check([]byte("gateway:\nroutes:\nsinks:\n")); err != nil {
		t.Errorf("empty sections: %v", err)
	}
	for _, name := range []string{
		"unknown_key", "unknown_plugin", "wrong_kind", "bad_value", "bad_name", "section_is_list", "not_a_mapping", "secret", "null_value",
	} {
		b, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.ReplaceAll(b, []byte(".nan"), []byte("x"))
		if check(b) == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
