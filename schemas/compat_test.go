package schemas

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sluice/message"
)

var recordAs = flag.String("record", "", "write the schemas and records of this version, such as v1, to testdata/versions")

const versions = "testdata/versions"

// recorded is one record of a released version, a line of <version>/<type>.jsonl.
type recorded struct {
	Kind string         `json:"kind"`
	Avro string         `json:"avro"` // with its framing, in hexadecimal
	Body jsontext.Value `json:"body"` // as it was read when it was recorded
}

// TestVersions reads the recorded bytes of every released version of every
// type with the reader of today, and holds every version to the one before.
// After a schema was changed: go test ./schemas -run TestVersions -record v2.
func TestVersions(t *testing.T) {
	set := mustLoad(t)
	if *recordAs != "" {
		recordVersion(t, set, filepath.Join(versions, *recordAs))
	}
	for _, name := range set.Names() {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(versions, "v*", name+".avsc"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no recorded version: %v", err)
			}
			slices.SortFunc(files, func(a, b string) int { // v10 is after v9
				if len(a) != len(b) {
					return len(a) - len(b)
				}
				return strings.Compare(a, b)
			})
			var last *Type
			for _, file := range files {
				typ := readVersion(t, file)
				if last != nil {
					for _, p := range incompatible(last, typ) {
						t.Errorf("%s: %s", file, p)
					}
				}
				for _, p := range incompatible(typ, set.Type(name)) {
					t.Errorf("the schema of today against %s: %s", file, p)
				}
				readRecords(t, set, typ, strings.TrimSuffix(file, ".avsc")+".jsonl")
				last = typ
			}
			if last.Fingerprint != set.Type(name).Fingerprint {
				t.Errorf("the schema is not that of %s: record a new version", files[len(files)-1])
			}
		})
	}
}

func readVersion(t *testing.T, file string) *Type {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	typ, problems := compile(file, b)
	if problems != nil {
		t.Fatal(problems)
	}
	return typ
}

func readRecords(t *testing.T, set *Set, typ *Type, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(set)
	if err := r.Learn(typ.Schema); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var rec recorded
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		value, err := hex.DecodeString(rec.Avro)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var m message.Message
		if err := r.Read(value, &m, true); err != nil {
			t.Errorf("%s: %s: %v", file, rec.Kind, err)
			continue
		}
		if m.Kind != rec.Kind || m.ID != testHead.ID || m.Agent != testHead.Agent || m.Node != testHead.Node || m.Network != testHead.Network ||
			!m.ReceivedAt.Equal(testTime(testHead.ReceivedAt)) || !m.ObservedAt.Equal(testTime(testHead.ObservedAt)) {
			t.Errorf("%s: %s: got the head %+v", file, rec.Kind, m)
		}
		var want any
		if err := json.Unmarshal(rec.Body, &want); err != nil {
			t.Fatal(err)
		}
		if got := throughJSON(t, m.Body); !within(want, got) {
			t.Errorf("%s: %s: got %v, want %v", file, rec.Kind, got, want)
		}
		seen[rec.Kind] = true
	}
	for _, kind := range typ.Kinds {
		if !seen[kind] {
			t.Errorf("%s: nothing of the kind %s", file, kind)
		}
	}
}

func throughJSON(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// within reports whether got has all that want has; objects may have more.
func within(want, got any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		for name, v := range want {
			g, there := got[name]
			ok = ok && there && within(v, g)
		}
		return ok
	case []any:
		got, ok := got.([]any)
		ok = ok && len(got) == len(want)
		for i := range want {
			ok = ok && within(want[i], got[i])
		}
		return ok
	}
	return reflect.DeepEqual(want, got)
}

func recordVersion(t *testing.T, set *Set, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := NewReader(set)
	for _, name := range set.Names() {
		typ := set.Type(name)
		var out bytes.Buffer
		for _, e := range examples {
			if e.typ != name {
				continue
			}
			value := mustAppend(t, typ, e.kind, e.body)
			var m message.Message
			if err := r.Read(value, &m, true); err != nil {
				t.Fatal(err)
			}
			body, err := json.Marshal(m.Body, json.Deterministic(true))
			if err != nil {
				t.Fatal(err)
			}
			line, err := json.Marshal(recorded{e.kind, hex.EncodeToString(value), body})
			if err != nil {
				t.Fatal(err)
			}
			out.Write(append(line, '\n'))
		}
		schema, err := builtin.ReadFile(name + ".avsc")
		if err != nil {
			t.Fatal(err)
		}
		for ext, b := range map[string][]byte{".avsc": schema, ".jsonl": out.Bytes()} {
			if err := os.WriteFile(filepath.Join(dir, name+ext), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// incompatible returns why records of old are not all readable as records of
// next: a kind or a field that is gone, a type that is not the same or a larger
// one, a field that is new and has no default.
func incompatible(old, next *Type) (problems []string) {
	for i, kind := range old.Kinds {
		j, ok := next.index[kind]
		if !ok {
			problems = append(problems, "the kind "+kind+" is gone")
			continue
		}
		problems = append(problems, incompatibleRecord(kind, old.kinds[i], next.kinds[j])...)
	}
	return problems
}

func incompatibleRecord(path string, old, next *record) (problems []string) {
	for i := range old.fields {
		f := &old.fields[i]
		if n := next.node(f.name); n == nil {
			problems = append(problems, path+"."+f.name+" is gone")
		} else {
			problems = append(problems, incompatibleNode(path+"."+f.name, f.node, n)...)
		}
	}
	for i := range next.fields {
		if f := &next.fields[i]; old.node(f.name) == nil && f.def == nil {
			problems = append(problems, path+"."+f.name+" is new and has no default")
		}
	}
	return problems
}

func incompatibleNode(path string, old, next *node) []string {
	larger := map[kind][]kind{
		kindInt: {kindLong, kindFloat, kindDouble}, kindLong: {kindFloat, kindDouble}, kindFloat: {kindDouble},
		kindString: {kindBytes}, kindBytes: {kindString},
	}
	switch {
	case old.optional && !next.optional:
		return []string{path + " is no longer optional"}
	case old.kind != next.kind:
		if slices.Contains(larger[old.kind], next.kind) {
			return nil
		}
		return []string{fmt.Sprintf("%s was %s", path, old.wants())}
	case old.logical != next.logical:
		return []string{path + " has another logical type"}
	case old.size != next.size:
		return []string{path + " has another size"}
	}
	switch old.kind {
	case kindEnum:
		for _, symbol := range old.symbols {
			if !slices.Contains(next.symbols, symbol) {
				return []string{path + ": the symbol " + symbol + " is gone"}
			}
		}
	case kindArray, kindMap:
		return incompatibleNode(path+"[]", old.elem, next.elem)
	case kindRecord:
		return incompatibleRecord(path, old.rec, next.rec)
	}
	return nil
}

// TestEvolution shows with a test type what a new version may do, and that what
// it may not do is found.
func TestEvolution(t *testing.T) {
	text := make(map[string]string)
	for _, v := range []string{"v1", "v2"} {
		b, err := os.ReadFile("testdata/weather/" + v + ".avsc")
		if err != nil {
			t.Fatal(err)
		}
		text[v] = string(b)
	}
	v1, v2 := mustLoad(t, "weather", text["v1"]), mustLoad(t, "weather", text["v2"])
	if got := incompatible(v1.Type("weather"), v2.Type("weather")); got != nil {
		t.Errorf("v1 to v2: got %v", got)
	}
	old := mustAppend(t, v1.Type("weather"), "air", `{"station":"s","temperature":21.5,"gusts":[{"speed":7}],"sky":"clear"}`)
	fresh := mustAppend(t, v2.Type("weather"), "air", `{"station":"s","temperature":21.5,"gusts":[{"speed":7,"from":"east"}],"sky":"fog","humidity":40}`)

	for _, tc := range []struct {
		name   string
		set    *Set
		learn  string
		value  []byte
		want   map[string]any
		schema string
	}{
		{"written by v1, read by v2", v2, v1.Type("weather").Schema, old, map[string]any{
			"station": "s", "temperature": 21.5, "gusts": []any{map[string]any{"speed": int64(7), "from": "west"}}, "sky": "clear",
			"humidity": nil, "tags": []any{"a", "b"},
		}, v1.Type("weather").Schema},
		{"written by v2, read by v1", v1, v2.Type("weather").Schema, fresh, map[string]any{
			"station": "s", "temperature": 21.5, "gusts": []any{map[string]any{"speed": int64(7), "from": "east"}}, "sky": "fog",
			"humidity": 40.0, "tags": []any{"a", "b"},
		}, v2.Type("weather").Schema},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := NewReader(tc.set)
			if err := r.Learn(tc.learn); err != nil {
				t.Fatal(err)
			}
			var m message.Message
			if err := r.Read(tc.value, &m, true); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m.Body, tc.want) {
				t.Errorf("got\n%v, want\n%v", m.Body, tc.want)
			}
			if m.Schema != tc.schema {
				t.Errorf("got the schema %s, want the writer's", m.Schema)
			}
		})
	}

	for _, tc := range []struct{ name, from, old, new, want string }{
		{"a field removed", "v2", `{"name": "station", "type": "string"},`, ``, "air.station is gone"},
		{"a field renamed", "v2", `"name": "station"`, `"name": "site"`, "air.station is gone, air.site is new and has no default"},
		{"a field without a default", "v2", `, "default": ["a", "b"]`, ``, "air.tags is new and has no default"},
		{"a smaller type", "v2", `"name": "temperature", "type": "double"`, `"name": "temperature", "type": "int"`, "air.temperature was a number"},
		{"another type", "v2", `"name": "station", "type": "string"`, `"name": "station", "type": "boolean"`, "air.station was a string"},
		{"no longer optional", "v1", `"name": "sky", "type": ["null", {"type": "enum", "name": "sky", "symbols": ["clear", "cloudy"]}], "default": null`,
			`"name": "sky", "type": {"type": "enum", "name": "sky", "symbols": ["clear", "cloudy"]}`, "air.sky is no longer optional"},
		{"a symbol removed", "v2", `"clear", "fog"`, `"fog"`, "air.sky: the symbol clear is gone"},
		{"a kind renamed", "v2", `"name": "air"`, `"name": "wind"`, "the kind air is gone"},
		{"a field of a nested record removed", "v2", `{"name": "speed", "type": "long"},`, ``, "air.gusts[].speed is gone"},
		{"a field of a nested record without a default", "v2", `, "default": "west"`, ``, "air.gusts[].from is new and has no default"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(text[tc.from], tc.old) {
				t.Fatalf("%s has no %s", tc.from, tc.old)
			}
			bad := mustLoad(t, "weather", strings.Replace(text[tc.from], tc.old, tc.new, 1))
			if got := strings.Join(incompatible(v1.Type("weather"), bad.Type("weather")), ", "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
