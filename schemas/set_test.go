package schemas

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFingerprints pins the fingerprints to those of Java's Avro 1.12.0:
//
//	mvn dependency:copy-dependencies -DoutputDirectory=lib   # org.apache.avro:avro:1.12.0
//	java -cp 'lib/*' FP.java *.avsc testdata/*.avsc
//
// where FP prints SchemaNormalization.parsingFingerprint64(new Schema.Parser().parse(file)).
// A fingerprint that changes is a new version of a type: see testdata/versions.
func TestFingerprints(t *testing.T) {
	set := mustLoad(t)
	for name, want := range map[string]uint64{
		"ethereum_metrics": 0x0e6329a35753bd40, "networking_metrics": 0xd332976c0d45cb62, "system_metrics": 0x03f83bda6b2414d8,
	} {
		if got := set.Type(name).Fingerprint; got != want {
			t.Errorf("%s: got %016x, want %016x", name, got, want)
		}
	}
	fixed, err := os.ReadFile("testdata/fixed.avsc")
	if err != nil {
		t.Fatal(err)
	}
	typ := mustLoad(t, "fixed", string(fixed)).Type("fixed")
	if want := uint64(0x3e08239a6928e415); typ.Fingerprint != want {
		t.Errorf("fixed: got %016x, want %016x", typ.Fingerprint, want)
	}
	key, value := typ.Record()
	if string(key) != "3e08239a6928e415" || string(value) != typ.Schema {
		t.Errorf("record: got %s, %s", key, value)
	}
}

func TestLoad(t *testing.T) {
	set := mustLoad(t, "test_type", testType)
	want := []string{"ethereum_metrics", "networking_metrics", "system_metrics", "test_type"}
	if got := set.Names(); !slices.Equal(got, want) {
		t.Errorf("names: got %v, want %v", got, want)
	}
	for name, want := range map[string][]string{
		"ethereum_metrics":   {"information", "block", "pending", "statistics", "reorg", "payload"},
		"networking_metrics": {"latency", "connected", "alive", "disconnected", "refused"},
		"system_metrics":     {"cpu", "memory", "disk", "load", "network", "statistics"},
		"test_type":          {"all", "defaults"},
	} {
		typ := set.Type(name)
		if typ == nil || typ.Name != name || !slices.Equal(typ.Kinds, want) {
			t.Errorf("%s: got %+v, want the kinds %v", name, typ, want)
		}
	}
	if got := set.Type("weather"); got != nil {
		t.Errorf("an unknown type: got %v, want nil", got)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that is not there: got no error")
	}
}

// schemaOf returns a schema of a type with a body.
func schemaOf(name, body string) string {
	fields := make([]string, 0, len(head)+1)
	for _, h := range head {
		def := ""
		if h.typ[0] == '[' {
			def = `,"default":null`
		}
		fields = append(fields, fmt.Sprintf(`{"name":%q,"type":%s%s}`, h.name, h.typ, def))
	}
	fields = append(fields, `{"name":"body","type":`+body+`}`)
	return fmt.Sprintf(`{"type":"record","name":%q,"namespace":"sluice.%s","fields":[%s]}`, name, name, strings.Join(fields, ","))
}

// fieldOf returns a schema with one kind with one field.
func fieldOf(field string) string {
	return schemaOf("t", `[{"type":"record","name":"k","fields":[`+field+`]}]`)
}

func TestLoadProblems(t *testing.T) {
	for _, tc := range []struct {
		name, file, schema string
		want               []string // without the file
	}{
		{"not JSON", "t", `{`, []string{`jsontext: unexpected EOF after offset 1`}},
		{"twice in JSON", "t", `{"type":"record","type":"record"}`, []string{`jsontext: duplicate object member name "type"`}},
		{"not a record", "t", `{"type":"enum","name":"t","symbols":["a"]}`, []string{`type: want "record"`}},
		{"file name", "u", fieldOf(`{"name":"x","type":"int"}`), []string{`name: want "u" as the file is called, got "t"`}},
		{"reserved", "ingest", schemaOf("ingest", `[{"type":"record","name":"k","fields":[{"name":"x","type":"int"}]}]`), []string{`name: "ingest" is reserved or not [a-z][a-z0-9_]{0,63}`}},
		{"capitals", "Weather", schemaOf("Weather", `[{"type":"record","name":"k","fields":[{"name":"x","type":"int"}]}]`), []string{`name: "Weather" is reserved or not [a-z][a-z0-9_]{0,63}`}},
		{"shadows a built-in", "system_metrics", fieldOf(`{"name":"x","type":"int"}`), []string{`system_metrics is a built-in data type`}},
		{"no head", "t", `{"type":"record","name":"t","fields":[{"name":"x","type":"int"}]}`, []string{`fields: want 8 fields, the head and the body, got 1`}},
		{"order of the head", "t", strings.Replace(fieldOf(`{"name":"x","type":"int"}`), `"name":"agent"`, `"name":"node"`, 1), []string{`fields[1]: want the field "agent", got "node"`}},
		{"type in the head", "t", strings.Replace(fieldOf(`{"name":"x","type":"int"}`), `"name":"id","type":"string"`, `"name":"id","type":"bytes"`, 1), []string{`fields[0].type: want "string", got "bytes"`}},
		{"default in the head", "t", strings.Replace(fieldOf(`{"name":"x","type":"int"}`), `,"default":null`, ``, 1), []string{`fields[3].default: want null`}},
		{"body is a record", "t", schemaOf("t", `{"type":"record","name":"k","fields":[{"name":"x","type":"int"}]}`), []string{`fields[7].type: want a union of records, one for each kind`}},
		{"no kinds", "t", schemaOf("t", `[]`), []string{`fields[7].type: want a union of records, one for each kind`}},
		{"kind is no record", "t", schemaOf("t", `["string"]`), []string{`fields[7].type[0]: want a record, got "string"`}},
		{"name of a kind", "t", schemaOf("t", `[{"type":"record","name":"Kind","fields":[{"name":"x","type":"int"}]}]`), []string{`fields[7].type[0].name: "Kind" is not [a-z][a-z0-9_]{0,63}`}},
		{"kind twice", "t", schemaOf("t", `[{"type":"record","name":"k","fields":[{"name":"x","type":"int"}]},{"type":"record","name":"k","fields":[{"name":"x","type":"int"}]}]`), []string{
			`fields[7].type[1].name: the type "sluice.t.k" is there twice`, `fields[7].type[1].name: the kind "k" is there twice`,
		}},
		{"several problems", "t", fieldOf(`{"name":"x","type":["int","null"]},{"name":"y","type":"text"},{"name":"z","type":"null"}`), []string{
			`fields[7].type[0].x: a union other than ["null", X]`, `fields[7].type[0].y: there is no type "text" before this`, `fields[7].type[0].z: null stands only in ["null", X]`,
		}},
		{"union of three", "t", fieldOf(`{"name":"x","type":["null","int","string"],"default":null}`), []string{`fields[7].type[0].x: a union other than ["null", X]`}},
		{"no default", "t", fieldOf(`{"name":"x","type":["null","int"]}`), []string{`fields[7].type[0].x.default: want null`}},
		{"string null for a default", "t", fieldOf(`{"name":"x","type":["null","int"],"default":"null"}`), []string{`fields[7].type[0].x.default: want null`}},
		{"wrong default", "t", fieldOf(`{"name":"x","type":"int","default":"7"}`), []string{`fields[7].type[0].x.default: want an integer, got a string`}},
		{"default of bytes", "t", fieldOf(`{"name":"x","type":"bytes","default":"a"}`), []string{`fields[7].type[0].x.default: a default of bytes is not supported`}},
		{"holds itself", "t", fieldOf(`{"name":"x","type":["null","k"],"default":null}`), []string{`fields[7].type[0].x[1]: the type "k" holds itself`}},
		{"empty record", "t", schemaOf("t", `[{"type":"record","name":"k","fields":[]}]`), []string{`fields[7].type[0].fields: want at least one`}},
		{"empty fixed", "t", fieldOf(`{"name":"x","type":{"type":"fixed","name":"f","size":0}}`), []string{`fields[7].type[0].x.size: want at least 1`}},
		{"empty enum", "t", fieldOf(`{"name":"x","type":{"type":"enum","name":"f","symbols":[]}}`), []string{`fields[7].type[0].x.symbols: want at least one`}},
		{"decimal", "t", fieldOf(`{"name":"x","type":{"type":"bytes","logicalType":"decimal","precision":4}}`), []string{`fields[7].type[0].x.logicalType: "decimal" is not supported; a long may be timestamp-millis or timestamp-micros`}},
		{"items", "t", fieldOf(`{"name":"x","type":{"type":"array"}}`), []string{`fields[7].type[0].x.items: want a type`}},
		{"field twice", "t", fieldOf(`{"name":"x","type":"int"},{"name":"x","type":"int"}`), []string{`fields[7].type[0].x: the name "x" is there twice`}},
		{"alias of another", "t", fieldOf(`{"name":"x","type":"int"},{"name":"y","type":"int","aliases":["x"]}`), []string{`fields[7].type[0].y.aliases: the name "x" is there twice`}},
		{"number of a boolean", "t", fieldOf(`{"name":"x","type":"boolean","sluice.number":true}`), []string{`fields[7].type[0].x: sluice.number is for numbers and strings`}},
		{"text of a long", "t", fieldOf(`{"name":"x","type":"long","sluice.text":true}`), []string{`fields[7].type[0].x: sluice.text is for strings`}},
		{"flag of a long", "t", fieldOf(`{"name":"x","type":"long","sluice.flag":true}`), []string{`fields[7].type[0].x: sluice.flag is for booleans`}},
		{"member of longs", "t", fieldOf(`{"name":"x","type":{"type":"array","items":"long"},"sluice.member":"a"}`), []string{`fields[7].type[0].x: sluice.member is for arrays of strings`}},
		{"member of a string", "t", fieldOf(`{"name":"x","type":"string","sluice.member":"a"}`), []string{`fields[7].type[0].x: sluice.member is for arrays of strings`}},
		{"property misspelt", "t", fieldOf(`{"name":"x","type":"long","unit":"s","sluice.numbers":true}`), []string{`fields[7].type[0].x: there is no property "sluice.numbers"`}},
		{"from what is no flag", "t", fieldOf(`{"name":"x","type":"boolean"},{"name":"y","type":"int","sluice.from":"x.y"}`), []string{`fields[7].type[0].y["sluice.from"]: "x.y" is not a field with sluice.flag, a dot and a member`}},
		{"name of a field", "t", fieldOf(`{"name":"a b","type":"int"}`), []string{`fields[7].type[0].a b: "a b" is not [A-Za-z_][A-Za-z0-9_]*`}},
		{"the libraries judge the rest", "t", fieldOf(`{"name":"x","type":{"type":"enum","name":"e","symbols":["a","a"]}}`), []string{
			`invalid record field: invalid union: invalid record field: duplicate enum symbol "a"`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, tc.file+".avsc")
			if err := os.WriteFile(file, []byte(tc.schema), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(dir)
			if err == nil {
				t.Fatal("got no error")
			}
			got := strings.Split(err.Error(), "\n")
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], file+": ")
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}
