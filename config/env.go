package config

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	envPrefix = "SLUICE_"
	envFile   = "_FILE"
)

// variable is an environment variable that sets something.
type variable struct {
	name string
	path []string
	t    reflect.Type
	doc  string
	def  *yaml.Node
}

// file reports whether the variable's value may come from a file.
func (v variable) file() bool { return isText(v.t) }

// setting is what a variable that is set sets.
type setting struct {
	path  []string
	value value
}

// envName returns the variable of path: SLUICE_A__B. What a variable cannot
// hold, such as the dash in a sink's name, becomes an underscore.
func envName(path []string) string {
	return envPrefix + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '<', r == '>':
			return r
		default:
			return '_'
		}
	}, strings.Join(path, "__"))
}

// variables lists the variables of everything bound below n, and one for each
// entry of a map that tree or the default holds.
func variables(n *node, tree map[string]any) []variable {
	var out []variable
	n.walk(func(n *node) {
		if len(n.fields) == 0 {
			return
		}
		f := n.fields[0]
		out = append(out, variable{envName(n.path), n.path, f.v.Type(), n.doc, f.def})
		if !n.isMap() {
			return
		}
		defs := map[string]*yaml.Node{}
		if m, ok := lookup(tree, n.path).(map[string]any); ok {
			for k := range m {
				defs[k] = nil
			}
		}
		for i := 0; i+1 < len(f.def.Content); i += 2 {
			defs[f.def.Content[i].Value] = f.def.Content[i+1]
		}
		for _, k := range slices.Sorted(maps.Keys(defs)) {
			path := append(slices.Clone(n.path), k)
			out = append(out, variable{envName(path), path, f.v.Type().Elem(), n.doc, defs[k]})
		}
	})
	return out
}

// getenv returns the last value of a variable.
func (l *Loader) getenv(name string) string {
	for _, kv := range slices.Backward(l.src.Environ) {
		if n, v, ok := strings.Cut(kv, "="); ok && n == name {
			return v
		}
	}
	return ""
}

// environment finds out which variable sets what, given the layers below. An
// empty variable is as good as none, for that is how compose files pass on what
// is not set.
func (l *Loader) environment(tree map[string]any) map[string]setting {
	byName := map[string][]variable{}
	var known []string
	for _, v := range variables(l.root, tree) {
		byName[v.name] = append(byName[v.name], v)
		known = append(known, v.name)
	}
	given := map[string]string{}
	for _, kv := range l.src.Environ {
		if name, text, _ := strings.Cut(kv, "="); strings.HasPrefix(name, envPrefix) && text != "" {
			given[name] = text
		}
	}
	fault := func(name string, path []string, format string, args ...any) {
		o := origin{Source: fromEnv, Name: name}
		l.merged = append(l.merged, o.problem(path, fmt.Sprintf(format, args...)))
	}
	set := map[string]setting{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		text := given[name]
		owners, fromFile := byName[name], false
		if len(owners) == 0 {
			if base, ok := strings.CutSuffix(name, envFile); ok {
				owners = slices.DeleteFunc(slices.Clone(byName[base]), func(v variable) bool { return !v.file() })
				if fromFile = len(owners) > 0; fromFile && given[base] != "" {
					fault(name, owners[0].path, "%s is set too, wanted one of them", base)
					continue
				}
			}
		}
		switch {
		case len(owners) == 0:
			if name != "SLUICE_CONFIG" && !strings.HasPrefix(name, "SLUICE_TEST_") {
				l.warnings = append(l.warnings, printable(name)+": no such setting"+suggest(name, known))
			}
			continue
		case len(owners) > 1:
			fault(name, nil, "stands for both %s and %s, set them in the file", display(owners[0].path), display(owners[1].path))
			continue
		}
		path := owners[0].path
		if fromFile {
			b, err := readFile(text)
			if err != nil {
				fault(name, path, "%s: %v", printable(text), err)
				continue
			}
			text = strings.TrimRight(string(b), "\r\n")
		}
		if !utf8.ValidString(text) {
			fault(name, path, "not UTF-8")
			continue
		}
		set[name] = setting{path, value{Text: text, Tag: textTag, From: origin{Source: fromEnv, Name: name}}}
	}
	// A map as a whole and one of its entries: which counts would be a guess.
	for _, name := range slices.Sorted(maps.Keys(set)) {
		path := set[name].path
		for other, s := range set {
			if len(path) == len(s.path)+1 && slices.Equal(path[:len(s.path)], s.path) {
				fault(name, path, "%s is set too, wanted one of them", other)
				delete(set, name)
				break
			}
		}
	}
	return set
}

// Env writes every variable that sets something bound: its name, kind, default
// and meaning. <NAME> stands for a name that the file gives.
func (l *Loader) Env(w io.Writer) error {
	list := variables(l.root, l.known())
	for _, p := range l.plugins {
		for _, plugin := range slices.Sorted(maps.Keys(p.kinds)) {
			for _, v := range variables(p.node(l, plugin), nil) {
				if !slices.ContainsFunc(list, func(have variable) bool { return have.name == v.name }) {
					list = append(list, v)
				}
			}
		}
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tKIND\tDEFAULT\tMEANING")
	for _, v := range list {
		def := v.def
		if below, ok := lookup(l.defaults, v.path).(value); ok {
			def = below.node(v.t == secretType)
		}
		name := v.name
		if v.file() {
			name += "[" + envFile + "]"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", name, kindName(v.t), oneLine(def), v.doc)
	}
	return tw.Flush()
}

// oneLine returns the default as the variable would hold it.
func oneLine(n *yaml.Node) string {
	switch {
	case n == nil:
		return ""
	case n.Kind == yaml.ScalarNode:
		return printable(n.Value)
	}
	var parts []string
	for i, c := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode:
			parts = append(parts, oneLine(c))
		case i%2 == 1 && c.Kind == yaml.ScalarNode:
			parts = append(parts, printable(n.Content[i-1].Value)+"="+oneLine(c))
		}
	}
	return strings.Join(parts, ",")
}

// node returns the value as YAML, masked if it is secret.
func (v value) node(secret bool) *yaml.Node {
	n := encode(reflect.ValueOf(v.Text))
	if secret {
		n = encode(reflect.ValueOf(Secret(v.Text)))
	}
	if v.Tag == listTag {
		n = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, e := range v.List {
			n.Content = append(n.Content, e.node(secret))
		}
	}
	return n
}
