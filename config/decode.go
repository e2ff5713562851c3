package config

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Decode fills everything bound and returns every problem found as an *Error, or
// nil. A setting with a problem keeps its default.
func (l *Loader) Decode() error {
	l.checkPlugins()
	tree := l.merge()
	l.found, l.faulty, l.secrets, l.origins = nil, nil, nil, map[string]origin{}
	l.decode(l.root, tree)
	l.root.walk(l.validate)
	return l.Err()
}

// fault adds a problem at o.
func (l *Loader) fault(o origin, path []string, text string) {
	l.found = append(l.found, o.problem(path, text))
	l.faulty = append(l.faulty, join(path))
}

// decode fills n, a section or a setting, with got.
func (l *Loader) decode(n *node, got any) {
	switch {
	case len(n.fields) > 0 && len(n.kids) > 0:
		l.fault(l.at(n.path), n.path, "this name is that of a setting and of a section, choose another")
	case len(n.fields) > 0:
		for _, f := range n.fields {
			l.field(n, f, got)
		}
	default:
		l.section(n, got)
	}
}

// section fills what is below n and reports what nobody knows.
func (l *Loader) section(n *node, got any) {
	m, ok := got.(map[string]any)
	if !ok {
		if v, ok := got.(value); ok && !n.skip {
			given := v.String()
			if v.Tag != listTag {
				given = "a plain value"
			}
			l.fault(v.From, n.path, "got "+given+", wanted a mapping of settings")
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if k := n.child(name); k != nil {
			l.decode(k, m[name])
			continue
		}
		path := append(slices.Clone(n.path), name)
		if !n.skip && !l.reported(path) {
			l.fault(l.first(path, m[name]), path, "unknown key"+suggest(name, n.names()))
		}
	}
}

// first returns where path stands, or where the first thing below it does if it
// came from no file.
func (l *Loader) first(path []string, got any) origin {
	m, ok := got.(map[string]any)
	if _, inFile := l.lineOf(path); !ok || inFile {
		return l.at(path)
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		return l.first(append(slices.Clone(path), name), m[name])
	}
	return l.at(path)
}

func (l *Loader) lineOf(path []string) (int, bool) {
	if l.doc == nil {
		return 0, false
	}
	line, ok := l.doc.lines[join(path)]
	return line, ok
}

// reported reports whether a caller's problem already covers path.
func (l *Loader) reported(path []string) bool {
	return slices.ContainsFunc(l.own, func(c complaint) bool {
		return len(c.path) >= len(path) && slices.Equal(c.path[:len(path)], path)
	})
}

// field sets one struct field or map.
func (l *Loader) field(n *node, f field, got any) {
	t := f.v.Type()
	if t.Kind() == reflect.Map {
		l.mapping(n, f, got)
		return
	}
	v, ok := got.(value)
	if !ok {
		v = l.shape(n.path, got)
	}
	if out, ok := l.leaf(n.path, v, t, f.rules); ok {
		f.v.Set(out)
		l.origins[join(n.path)] = v.From
	}
}

// shape stands for a mapping where a value was wanted: it is an empty one if
// nothing was given at all.
func (l *Loader) shape(path []string, got any) value {
	v := value{Tag: mapTag, From: l.first(path, got)}
	if m, _ := got.(map[string]any); len(m) == 0 && l.doc != nil && l.doc.nulls[join(path)] {
		v.Tag = "!!null"
	}
	return v
}

// mapping sets a map: entries of the layers above are put over its default, and
// one text of a variable or flag takes the place of all.
func (l *Loader) mapping(n *node, f field, got any) {
	t, below := f.v.Type(), f.v
	entries, ok := got.(map[string]any)
	if !ok {
		v, _ := got.(value)
		if v.Tag != textTag || isList(t.Elem()) {
			l.fault(v.From, n.path, "got "+given(v, t)+", wanted "+f.rules.want(t))
			return
		}
		entries = map[string]any{}
		for _, s := range list(v.Text) {
			key, text, ok := strings.Cut(s, "=")
			if key = strings.TrimSpace(key); !ok || key == "" {
				l.fault(v.From, n.path, "wanted name=value, separated by commas")
				return
			}
			entries[key] = value{Text: strings.TrimSpace(text), Tag: textTag, From: v.From}
		}
		below = reflect.Zero(t)
	}
	out := reflect.MakeMap(t)
	for it := below.MapRange(); it.Next(); {
		out.SetMapIndex(it.Key(), it.Value())
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		path := append(slices.Clone(n.path), name)
		v, ok := entries[name].(value)
		if !ok {
			v = l.shape(path, entries[name])
		}
		if e, ok := l.leaf(path, v, t.Elem(), f.rules); ok {
			out.SetMapIndex(reflect.ValueOf(name).Convert(t.Key()), e)
			l.origins[join(path)] = v.From
		}
	}
	f.v.Set(out)
}

// given is v.String, masked where t holds secrets.
func given(v value, t reflect.Type) string {
	if t.Kind() == reflect.Map && t.Elem() == secretType && !v.shapeless() {
		return mask
	}
	return v.String()
}

// leaf reads v as a t. It reports whether that went well.
func (l *Loader) leaf(path []string, v value, t reflect.Type, r rules) (reflect.Value, bool) {
	if !isList(t) {
		if t == secretType && v.Text != "" && v.Text != mask {
			l.secrets = append(l.secrets, v.Text)
		}
		out, err := scalar(v, t, r)
		if err != nil {
			l.fault(v.From, path, err.Error())
		}
		return out, err == nil
	}
	items := v.List
	switch v.Tag {
	case listTag:
	case textTag:
		for _, s := range list(v.Text) {
			items = append(items, value{Text: s, Tag: textTag, From: v.From})
		}
	default:
		given := v.String()
		if t.Elem() == secretType && !v.shapeless() {
			given = mask
		}
		l.fault(v.From, path, "got "+given+", wanted a list, such as [a, b]")
		return reflect.Value{}, false
	}
	// An empty list is nil, so that what Print writes reads back the same.
	out, good := reflect.Zero(t), true
	for i, item := range items {
		at := slices.Clone(path)
		at[len(at)-1] += "[" + strconv.Itoa(i) + "]"
		e, ok := l.leaf(at, item, t.Elem(), r)
		good = good && ok
		out = reflect.Append(out, e)
	}
	return out, good
}

// list cuts the text of a variable or flag at its commas.
func list(s string) []string {
	var out []string
	for p := range strings.SplitSeq(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// index takes the [n] off the last part of path.
func index(path []string) ([]string, int, bool) {
	if len(path) == 0 {
		return nil, 0, false
	}
	last := path[len(path)-1]
	open := strings.LastIndexByte(last, '[')
	if open <= 0 || !strings.HasSuffix(last, "]") {
		return nil, 0, false
	}
	i, err := strconv.ParseUint(last[open+1:len(last)-1], 10, 31)
	if err != nil {
		return nil, 0, false
	}
	return append(slices.Clone(path[:len(path)-1]), last[:open]), int(i), true
}

// validate asks the Validate methods of n. What concerns a setting that could
// not be read is left out: it speaks of the default.
func (l *Loader) validate(n *node) {
	for _, check := range n.checks {
		for _, text := range flatten(check()) {
			path := n.path
			if key, rest, ok := strings.Cut(text, ": "); ok && n.known(key) {
				path, text = append(slices.Clone(n.path), split(key)...), rest
				id := join(path)
				if slices.ContainsFunc(l.faulty, func(f string) bool {
					return f == id || strings.HasPrefix(f, id+delim) || strings.HasPrefix(f, id+"[")
				}) {
					continue
				}
			}
			l.found = append(l.found, l.at(path).problem(path, l.scrub(text)))
		}
	}
}

// known reports whether key, relative to n, is a setting or a section.
func (n *node) known(key string) bool {
	path := split(key)
	if list, _, ok := index(path); ok {
		path = list
	}
	return len(path) > 0 && n.find(path) != nil
}

// flatten returns the messages of joined errors, each in one line.
func flatten(err error) []string {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []string
		for _, e := range many.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []string{strings.ReplaceAll(err.Error(), "\n", "; ")}
}

// scrub masks the secrets in a message that others wrote. Those below four bytes
// are left: masking each of their letters would hide the message.
func (l *Loader) scrub(text string) string {
	for _, s := range l.secrets {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s, mask)
		}
	}
	return text
}
