package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keyPattern holds the keys of structs: snake_case, never two underscores, so
// that no variable's name can stand for two of them at different depths.
var keyPattern = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// node is a place in the tree of what is bound: a section, which may have kids,
// or a setting with the fields that take its value (more than one only where two
// structs bound to one path share a key).
type node struct {
	path   []string
	doc    string
	skip   bool // anything below is taken as it is
	kids   []*node
	fields []field
	checks []func() error // the Validate methods of the section
}

// field is one struct field, or one map bound as a whole.
type field struct {
	v     reflect.Value
	rules rules
	def   *yaml.Node // the default it came with, secrets masked
}

// kid returns the child called name, made if there is none.
func (n *node) kid(name string) *node {
	if k := n.child(name); k != nil {
		return k
	}
	k := &node{path: append(slices.Clone(n.path), name)}
	n.kids = append(n.kids, k)
	return k
}

// child returns the child called name, or nil.
func (n *node) child(name string) *node {
	for _, k := range n.kids {
		if k.path[len(k.path)-1] == name {
			return k
		}
	}
	return nil
}

// find returns the node at path, relative to n, or nil. An entry of a map
// setting is found as the map.
func (n *node) find(path []string) *node {
	for _, name := range path {
		if n.isMap() {
			return n
		}
		if n = n.child(name); n == nil {
			return nil
		}
	}
	return n
}

// isMap reports whether n is a setting whose keys are free.
func (n *node) isMap() bool {
	return len(n.fields) > 0 && n.fields[0].v.Kind() == reflect.Map
}

// names returns the keys that n knows.
func (n *node) names() []string {
	names := make([]string, len(n.kids))
	for i, k := range n.kids {
		names[i] = k.path[len(k.path)-1]
	}
	return names
}

// walk calls f for n and everything below, parents first.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, k := range n.kids {
		k.walk(f)
	}
}

// Bind has Decode fill target with the section at path; "" is the whole file.
// Target is a pointer to a struct that holds its defaults, or to a map with text
// keys. Several may be bound to one path, or one below another; each knows its
// own keys. It panics for a target that can hold no configuration, which is the
// programmer's mistake: the package comment says what a struct may hold.
func (l *Loader) Bind(path string, target any) {
	l.bind(l.root.at(split(path)), target)
	l.stale = true
}

func (l *Loader) bind(n *node, target any) {
	v := reflect.ValueOf(target)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("config: bind %q: %T is not a pointer to a struct or map", display(n.path), target))
	}
	if err := n.add(v.Elem(), "", "", true); err != nil {
		panic(fmt.Sprintf("config: bind %q: %v", display(n.path), err))
	}
}

// Skip has Decode take everything below path unread and unchecked, for a
// section about which a Problem says all there is to say.
func (l *Loader) Skip(path string) {
	l.root.at(split(path)).skip = true
}

// at returns the node at path, made with all above it where missing.
func (n *node) at(path []string) *node {
	for _, name := range path {
		n = n.kid(name)
	}
	return n
}

// add hangs what v holds below n.
func (n *node) add(v reflect.Value, doc string, tag reflect.StructTag, bound bool) error {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Struct && !isLeaf(t):
		return n.addStruct(v, doc)
	case t.Kind() == reflect.Map && (t.Key().Kind() != reflect.String || !isLeaf(t.Elem())):
		return fmt.Errorf("%s: a map needs text keys and values of one kind of setting", t)
	case t.Kind() != reflect.Map && (!isLeaf(t) || bound):
		return fmt.Errorf("%s is no kind of setting", t)
	}
	r, err := newRules(t, tag)
	if err != nil {
		return err
	}
	if n.doc == "" {
		n.doc = doc
	}
	n.fields = append(n.fields, field{v: v, rules: r, def: encode(v)})
	return nil
}

func (n *node) addStruct(v reflect.Value, doc string) error {
	t := v.Type()
	if n.doc == "" {
		n.doc = doc
	}
	if c, ok := reflect.TypeAssert[interface{ Validate() error }](v.Addr()); ok {
		n.checks = append(n.checks, c.Validate)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		key, tagged := f.Tag.Lookup("koanf")
		if key == "-" || !tagged && !f.IsExported() {
			continue
		}
		switch {
		case !f.IsExported() || f.Anonymous:
			return fmt.Errorf("%s.%s: only exported, named fields can be settings", t, f.Name)
		case !keyPattern.MatchString(key):
			return fmt.Errorf(`%s.%s: needs a tag koanf:"snake_case_name" or koanf:"-"`, t, f.Name)
		}
		if err := n.kid(key).add(v.Field(i), strings.TrimSpace(f.Tag.Get("doc")), f.Tag, false); err != nil {
			return fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
	}
	return nil
}

// split cuts a path at its dots; "" is the root.
func split(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, ".")
}
