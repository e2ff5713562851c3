package schemas

import (
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/linkedin/goavro/v2"
	"github.com/twmb/avro"

	"sluice/message"
)

//go:embed *.avsc
var builtin embed.FS

// Set is the data types of a process. It does not change once loaded and is
// safe for concurrent use.
type Set struct {
	types map[string]*Type
	names []string
}

// Type is one data type in one version. It is safe for concurrent use.
type Type struct {
	// Name is the data type, such as ethereum_metrics.
	Name string
	// Schema is the schema as JSON without white space.
	Schema string
	// Fingerprint is the CRC-64-AVRO of the schema's Parsing Canonical Form.
	Fingerprint uint64
	// Kinds are the branches of the body in the order of the schema.
	Kinds []string

	header []byte    // what a record starts with: the framing
	kinds  []*record // by index in the union
	index  map[string]int
	body   *goavro.Codec // of a record that has only the body
}

// Load returns the built-in data types and those of the *.avsc files in dir; no
// directory is read when dir is empty. The error joins all problems, each
// "file: path: problem".
func Load(dir string) (*Set, error) {
	s := &Set{types: make(map[string]*Type)}
	entries, err := builtin.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("read built-in schemas: %w", err)
	}
	var problems []error
	for _, e := range entries {
		b, err := builtin.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("read built-in schema: %w", err)
		}
		problems = append(problems, s.add(e.Name(), b)...)
	}
	if dir != "" {
		more, err := s.addDir(dir)
		if err != nil {
			return nil, err
		}
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	s.names = slices.Sorted(maps.Keys(s.types))
	return s, nil
}

func (s *Set) addDir(dir string) (problems []error, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read schema directory: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".avsc") {
			continue
		}
		file := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(file)
		if err != nil {
			problems = append(problems, fmt.Errorf("read schema: %w", err))
			continue
		}
		problems = append(problems, s.add(file, b)...)
	}
	return problems, nil
}

func (s *Set) add(file string, schema []byte) []error {
	name := strings.TrimSuffix(filepath.Base(file), ".avsc")
	if s.types[name] != nil {
		return []error{fmt.Errorf("%s: %s is a built-in data type", file, name)}
	}
	t, problems := compile(file, schema)
	if t != nil && t.Name != name {
		return []error{fmt.Errorf("%s: name: want %q as the file is called, got %q", file, name, t.Name)}
	}
	if t != nil {
		s.types[name] = t
	}
	return problems
}

// Type returns the data type called name, nil where there is none.
func (s *Set) Type(name string) *Type { return s.types[name] }

// Names returns the data types in alphabetical order. The caller must not
// change it.
func (s *Set) Names() []string { return s.names }

// confluent returns the set with the framing of these IDs, one for each name.
func (s *Set) confluent(ids map[string]uint32) *Set {
	c := &Set{types: make(map[string]*Type, len(s.types)), names: s.names}
	for name, t := range s.types {
		c.types[name] = t.Confluent(ids[name])
	}
	return c
}

// compile makes a Type of a schema; without one there are problems.
func compile(file string, schema []byte) (*Type, []error) {
	p := &parser{file: file, named: make(map[string]*node)}
	t := p.dataType(schema)
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	fail := func(err error) (*Type, []error) {
		return nil, []error{fmt.Errorf("%s: %s", file, message.Printable(err.Error(), message.MaxReason))}
	}
	compact := jsontext.Value(slices.Clone(schema))
	if err := compact.Compact(); err != nil {
		return fail(err)
	}
	t.Schema = string(compact)
	// The two libraries judge what the parser does not look at, such as the
	// symbols of an enum.
	if _, err := goavro.NewCodec(t.Schema); err != nil {
		return fail(err)
	}
	body, err := goavro.NewCodec(p.bodySchema)
	if err != nil {
		return fail(err)
	}
	t.body = body
	// goavro's own fingerprint is wrong where a schema has logical types.
	parsed, err := avro.Parse(t.Schema)
	if err != nil {
		return fail(err)
	}
	t.Fingerprint = binary.BigEndian.Uint64(parsed.Fingerprint(avro.NewRabin()))
	t.header = binary.LittleEndian.AppendUint64([]byte{0xC3, 0x01}, t.Fingerprint)
	return t, nil
}

// Record returns the record that makes the schema known on the schemas topic:
// the key is the fingerprint in 16 hexadecimal digits, the value the schema.
func (t *Type) Record() (key, value []byte) {
	return fmt.Appendf(nil, "%016x", t.Fingerprint), []byte(t.Schema)
}

// RecordID returns the record that makes the ID of the schema in a Confluent
// registry known on the schemas topic: the key is "id-" and the number, the value
// the schema. Readers without a registry learn it there.
func (t *Type) RecordID(id uint32) (key, value []byte) {
	return []byte(idKey(id)), []byte(t.Schema)
}

const idPrefix = "id-"

func idKey(id uint32) string { return idPrefix + strconv.FormatUint(uint64(id), 10) }

// keyID returns the ID that the key of a record on the schemas topic names.
func keyID(key []byte) (uint32, bool) {
	digits, ok := strings.CutPrefix(string(key), idPrefix)
	id, err := strconv.ParseUint(digits, 10, 32)
	return uint32(id), ok && err == nil
}

// Confluent returns the same type with the framing of Confluent's registry
// instead of Avro's: Append writes a zero byte and the schema's ID there.
func (t *Type) Confluent(id uint32) *Type {
	c := *t
	c.header = binary.BigEndian.AppendUint32([]byte{0}, id)
	return &c
}
