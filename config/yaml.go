package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits of a file, far above any configuration. A few lines of aliases can
// stand for more values than memory holds; they are counted as they expand.
const (
	maxFile   = 1 << 20 // bytes
	maxValues = 20_000
	maxDepth  = 32
)

// document turns a YAML file into the tree that koanf merges. It reads nodes and
// not maps, for a map has neither lines nor the text as it was written.
type document struct {
	name     string
	lines    map[string]int  // by joined path: where each key stands
	nulls    map[string]bool // keys without a value
	problems []Problem
	count    int
	broken   bool // no YAML, or beyond a limit: nothing in it counts
}

// newDocument reads the file called name from b. Its tree is usable whatever
// problems there are, unless the document is broken.
func newDocument(name string, b []byte) (*document, map[string]any) {
	d := &document{name: name, lines: map[string]int{}, nulls: map[string]bool{}}
	root, err := d.parse(b)
	if err != nil {
		d.syntax(err, b)
		return d, nil
	}
	if root == nil {
		return d, nil
	}
	switch {
	case root.Kind == yaml.MappingNode:
		return d, d.mapping(root, nil, 0)
	case root.ShortTag() == "!!null":
	default:
		d.fault(root.Line, nil, "got "+describe(root)+", wanted a mapping of settings")
	}
	return d, nil
}

// parse returns the root of the only document in b, or nil if it is empty.
func (d *document) parse(b []byte) (root *yaml.Node, err error) {
	// yaml.v3 has panicked on malformed input before; a configuration file must
	// not be able to do that to a process.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	if !utf8.Valid(b) {
		return nil, errors.New("yaml: not UTF-8")
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, next yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	switch err := dec.Decode(&next); {
	case err == nil:
		d.fault(next.Line, nil, "a second document begins here, wanted one")
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	if len(doc.Content) != 1 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// These find the line in the messages of yaml.v3, or what to look for.
var (
	lineOf   = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	anchorOf = regexp.MustCompile(`^unknown anchor '(.+)' referenced`)
)

// syntax reports that the file is no YAML.
func (d *document) syntax(err error, b []byte) {
	text, line := err.Error(), 0
	if m := lineOf.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	if strings.HasPrefix(text, "did not find expected") {
		// The parser, unlike the scanner, counts lines from 0, and may name the one
		// where the list or mapping that has no end begins.
		line++
		text += " in this line or what begins in it"
	}
	if m := anchorOf.FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(b, []byte("*"+m[1]))
		line = bytes.Count(before, []byte("\n")) + 1
	}
	d.broken = true
	d.fault(line, nil, "not YAML: "+printable(text))
}

func (d *document) fault(line int, path []string, text string) {
	d.problems = append(d.problems, origin{Source: fromFile, Name: d.name, Line: line}.problem(path, text))
}

// enter counts a value and reports whether it still fits.
func (d *document) enter(n *yaml.Node, path []string, depth int) bool {
	if d.broken {
		return false
	}
	d.count++
	if len(path) > 0 {
		// Where an alias contains itself the indexes go on and on.
		path = slices.Clone(path)
		path[len(path)-1], _, _ = strings.Cut(path[len(path)-1], "[")
	}
	switch {
	case d.count > maxValues:
		d.fault(n.Line, path, fmt.Sprintf("more than %d values once aliases are expanded", maxValues))
	case depth > maxDepth:
		d.fault(n.Line, path, fmt.Sprintf("nested deeper than %d, or an alias that contains itself", maxDepth))
	default:
		return true
	}
	d.broken = true
	return false
}

// mapping reads a mapping. Of a key given twice the first counts; keys merged
// with << give way to those beside them.
func (d *document) mapping(n *yaml.Node, path []string, depth int) map[string]any {
	out := map[string]any{}
	seen := map[string]int{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), n.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		switch {
		case k.Kind != yaml.ScalarNode:
			d.fault(n.Content[i].Line, path, "got "+describe(k)+" as a key, wanted a name")
			continue
		case k.Value == "" || strings.ContainsFunc(k.Value, unicode.IsControl):
			d.fault(n.Content[i].Line, path, fmt.Sprintf("%.60q is no name", k.Value))
			continue
		}
		at := append(slices.Clone(path), k.Value)
		if first, ok := seen[k.Value]; ok {
			d.fault(n.Content[i].Line, at, fmt.Sprintf("given twice, first in line %d", first))
			continue
		}
		seen[k.Value] = n.Content[i].Line
		if !d.enter(v, at, depth) {
			return out
		}
		id := join(at)
		d.lines[id] = n.Content[i].Line
		delete(d.nulls, id)
		out[k.Value] = d.any(v, at, depth+1)
	}
	for _, m := range merges {
		d.merge(out, m, path, depth+1)
	}
	return out
}

// merge adds to out what << names and out does not have.
func (d *document) merge(out map[string]any, n *yaml.Node, path []string, depth int) {
	if !d.enter(n, path, depth) {
		return
	}
	switch r := resolve(n); r.Kind {
	case yaml.MappingNode:
		// The keys below belong to out only where out has none of that name, so
		// they are read for themselves and their lines kept for those.
		sub := &document{name: d.name, lines: map[string]int{}, nulls: map[string]bool{}, count: d.count}
		got := sub.mapping(r, path, depth)
		d.count, d.broken = sub.count, sub.broken
		d.problems = append(d.problems, sub.problems...)
		taken := func(id string) bool {
			name, _, _ := strings.Cut(strings.TrimPrefix(id, join(path)+delim), delim)
			if len(path) == 0 {
				name, _, _ = strings.Cut(id, delim)
			}
			_, ok := out[name]
			return ok
		}
		for id, line := range sub.lines {
			if !taken(id) {
				d.lines[id] = line
			}
		}
		for id := range sub.nulls {
			if !taken(id) {
				d.nulls[id] = true
			}
		}
		for name, v := range got {
			if _, ok := out[name]; !ok {
				out[name] = v
			}
		}
	case yaml.SequenceNode:
		for _, e := range r.Content {
			d.merge(out, e, path, depth+1)
		}
	default:
		d.fault(n.Line, path, "got "+describe(r)+" after <<, wanted a mapping")
	}
}

// any reads a value. One without text becomes an empty mapping, which merges
// with whatever the layers below hold, and is remembered in nulls.
func (d *document) any(n *yaml.Node, path []string, depth int) any {
	n = resolve(n)
	if n.Kind == yaml.MappingNode {
		return d.mapping(n, path, depth)
	}
	v := d.leaf(n, path, depth)
	if v.Tag == "!!null" {
		d.nulls[join(path)] = true
		return map[string]any{}
	}
	return v
}

// leaf reads a scalar or a list.
func (d *document) leaf(n *yaml.Node, path []string, depth int) value {
	line := n.Line
	n = resolve(n)
	v := value{Text: n.Value, Tag: n.ShortTag(), From: origin{Source: fromFile, Name: d.name, Line: line}}
	switch n.Kind {
	case yaml.SequenceNode:
		v.Tag = listTag
		for i, e := range n.Content {
			at := slices.Clone(path)
			at[len(at)-1] += "[" + strconv.Itoa(i) + "]"
			if !d.enter(e, at, depth) {
				break
			}
			v.List = append(v.List, d.leaf(e, at, depth+1))
		}
	case yaml.MappingNode:
		v.Tag = mapTag
	default:
		switch v.Tag {
		case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp":
		default:
			d.fault(line, path, "unknown tag "+printable(v.Tag))
			v.Tag = "!!str"
		}
	}
	return v
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && n.Alias != nil && i < maxDepth; i++ {
		n = n.Alias
	}
	return n
}

// describe says what sort of node n is.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a plain value"
	}
}

// delim joins paths for koanf and for lookups. No key holds it.
const delim = "\x00"

func join(path []string) string { return strings.Join(path, delim) }
