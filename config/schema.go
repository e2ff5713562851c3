package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// plugins says what the entries of a mapping may be.
type plugins struct {
	path  []string
	kinds map[string][]any
}

// Plugins declares that the mapping at path holds named sections, each with a
// key "plugin" that is one of kinds: that of each kind is the list of structs,
// holding their defaults, that the caller binds for it. Decode then reports a
// section without a plugin or with an unknown one, and nothing else in it;
// Schema and Env describe every kind, configured or not. One of the structs has
// the key "plugin" itself.
func (l *Loader) Plugins(path string, kinds map[string][]any) {
	l.root.at(split(path))
	l.plugins = append(l.plugins, plugins{split(path), kinds})
	l.stale = true
}

// node returns a section as one of kind plugin would be, under the name <NAME>.
func (p plugins) node(l *Loader, plugin string) *node {
	n := &node{path: append(slices.Clone(p.path), "<NAME>")}
	for _, target := range p.kinds[plugin] {
		l.bind(n, target)
	}
	return n
}

// checkPlugins reports sections whose plugin is missing or unknown.
func (l *Loader) checkPlugins() {
	for _, p := range l.plugins {
		known := slices.Sorted(maps.Keys(p.kinds))
		path := strings.Join(p.path, ".")
		for _, name := range l.Keys(path) {
			section := path + "." + name
			plugin := l.String(section + ".plugin")
			if _, ok := p.kinds[plugin]; ok || l.reported(split(section)) {
				continue
			}
			_, isSection := lookup(l.known(), split(section)).(map[string]any)
			switch {
			case !isSection:
				l.Problem(section, "got no mapping, wanted one with a plugin, one of %s", strings.Join(known, ", "))
			case plugin == "":
				l.Problem(section, "no plugin named, wanted one of %s", strings.Join(known, ", "))
			default:
				l.Problem(section+".plugin", "unknown plugin %.60q, wanted one of %s%s", plugin, strings.Join(known, ", "), suggest(plugin, known))
			}
			l.Skip(section)
		}
	}
}

// Schema returns the JSON Schema of everything bound and of every plugin
// declared, for editors and for checks without sluice.
func (l *Loader) Schema() ([]byte, error) {
	s := l.schema(l.root)
	s.Version = jsonschema.Version
	s.Title = "sluice"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make schema: %w", err)
	}
	return append(b, '\n'), nil
}

func (l *Loader) schema(n *node) *jsonschema.Schema {
	if len(n.fields) > 0 {
		return n.fields[0].schema(n.doc)
	}
	s := &jsonschema.Schema{
		Type: "object", Description: n.doc,
		Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema,
	}
	if n.skip {
		s.AdditionalProperties = jsonschema.TrueSchema
	}
	for _, p := range l.plugins {
		if slices.Equal(p.path, n.path) {
			// What is bound under a name is one of the kinds below.
			s.AdditionalProperties = l.pluginSchema(p)
			s.PropertyNames = &jsonschema.Schema{Pattern: namePattern.String()}
			return nullable(s)
		}
	}
	for _, k := range n.kids {
		s.Properties.Set(k.path[len(k.path)-1], l.schema(k))
	}
	return nullable(s)
}

// nullable lets a section stand empty, as YAML reads one without keys.
func nullable(s *jsonschema.Schema) *jsonschema.Schema {
	s.Extras = map[string]any{"type": []string{"object", "null"}}
	s.Type = ""
	return s
}

// pluginSchema returns the schema of one entry: its plugin decides on the rest.
func (l *Loader) pluginSchema(p plugins) *jsonschema.Schema {
	kinds := slices.Sorted(maps.Keys(p.kinds))
	choice := &jsonschema.Schema{Description: "which plugin this is"}
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), Required: []string{"plugin"}}
	s.Properties.Set("plugin", choice)
	for _, kind := range kinds {
		choice.Enum = append(choice.Enum, kind)
		when := &jsonschema.Schema{Properties: jsonschema.NewProperties(), Required: []string{"plugin"}}
		when.Properties.Set("plugin", &jsonschema.Schema{Const: kind})
		s.AllOf = append(s.AllOf, &jsonschema.Schema{If: when, Then: l.schema(p.node(l, kind))})
	}
	return s
}

// schema returns the schema of one setting.
func (f field) schema(doc string) *jsonschema.Schema {
	r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true, ExpandedStruct: true, Mapper: leafSchema}
	s := r.ReflectFromType(f.v.Type())
	s.Version, s.Description = "", doc
	if f.v.Type() != secretType {
		var def any
		if err := f.def.Decode(&def); err == nil && !f.v.IsZero() {
			s.Default = def
		}
	}
	// The rules of a list or map are those of its values.
	at := s
	for t := f.v.Type(); t.Kind() == reflect.Map || isList(t); t = t.Elem() {
		if t.Kind() == reflect.Map {
			at = at.AdditionalProperties
		} else {
			at = at.Items
		}
	}
	for _, one := range f.rules.oneOf {
		at.Enum = append(at.Enum, one)
	}
	if at.Type == "integer" || at.Type == "number" {
		at.Minimum, at.Maximum = json.Number(f.rules.min), json.Number(f.rules.max)
	}
	if f.v.Kind() == reflect.Map {
		return nullable(s)
	}
	return s
}

// leafSchema gives the types that reflection would take for integers or structs.
func leafSchema(t reflect.Type) *jsonschema.Schema {
	switch {
	case t == durationType:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "string", Pattern: `^(-1|0|([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*)$`}, {Type: "integer", Minimum: "-1", Maximum: "0"},
		}}
	case t == sizeType:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "string", Pattern: `^\s*-?[0-9.]+\s*([kKmMgGtT]?[iI]?[bB])?\s*$`}, {Type: "integer"},
		}}
	case t == secretType:
		return &jsonschema.Schema{Type: "string", WriteOnly: true}
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return &jsonschema.Schema{Type: "string"}
	case t.Kind() == reflect.Map:
		// Reflection would allow any value.
		r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true, ExpandedStruct: true, Mapper: leafSchema}
		e := r.ReflectFromType(t.Elem())
		e.Version = ""
		return &jsonschema.Schema{Type: "object", AdditionalProperties: e}
	}
	return nil
}
