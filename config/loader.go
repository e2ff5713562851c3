package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// Sources are the layers above the defaults, from the lowest.
type Sources struct {
	File    string            // path of the YAML file; "" = none
	Environ []string          // as os.Environ returns it
	Flags   map[string]string // path to text, for the flags that were given
}

// Loader merges the layers and fills what is bound. The order of use is Default
// and Read, then Keys, String and Bind as far as the sections depend on what is
// configured, then Decode. It is not for concurrent use.
type Loader struct {
	src      Sources
	defaults map[string]any
	file     map[string]any
	doc      *document
	root     *node
	plugins  []plugins

	base     map[string]any // all layers but the environment, for what must be known to bind
	stale    bool           // tree is older than what is bound
	tree     map[string]any
	merged   []Problem // found by merging: the environment
	warnings []string

	found   []Problem         // found by decoding
	faulty  []string          // joined paths of these
	origins map[string]origin // by joined path
	secrets []string
	own     []complaint
}

// complaint is a problem whose position is looked up when it is reported.
type complaint struct {
	path []string
	text string
}

// New returns a loader of src. It reads nothing yet.
func New(src Sources) *Loader {
	return &Loader{src: src, defaults: map[string]any{}, root: &node{}, stale: true}
}

// Default puts a value below everything but what structs come with: text, a
// number, a duration, a list or nested maps of these with text keys. It panics
// for anything else.
func (l *Loader) Default(path string, v any) {
	sub := layer(reflect.ValueOf(v))
	parts := split(path)
	for _, name := range slices.Backward(parts) {
		sub = map[string]any{name: sub}
	}
	tree, ok := sub.(map[string]any)
	if !ok {
		panic(fmt.Sprintf("config: default %q: %T is no mapping", path, v))
	}
	overlay(l.defaults, tree)
	l.base, l.stale = nil, true
}

// overlay puts src over dst.
func overlay(dst, src map[string]any) {
	for name, v := range src {
		below, isMap := dst[name].(map[string]any)
		if above, ok := v.(map[string]any); ok && isMap {
			overlay(below, above)
			continue
		}
		dst[name] = v
	}
}

// layer makes the tree of a Go value.
func layer(v reflect.Value) any {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	from := origin{Source: fromDefault}
	switch {
	case v.IsValid() && v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = layer(it.Value())
		}
		return out
	case v.IsValid() && v.Type() == secretType:
		return value{Text: v.String(), Tag: textTag, From: from}
	case v.IsValid() && v.Kind() == reflect.Slice:
		out := value{Tag: listTag, From: from}
		for i := range v.Len() {
			e, ok := layer(v.Index(i)).(value)
			if !ok {
				panic("config: default: a list holds a mapping")
			}
			out.List = append(out.List, e)
		}
		return out
	case v.IsValid() && isLeaf(v.Type()):
		return value{Text: encode(v).Value, Tag: textTag, From: from}
	default:
		panic(fmt.Sprintf("config: default: %v is no setting", v))
	}
}

// Read reads the file and merges. Its error is an *Error that says why the file
// cannot be read at all; what is wrong within is left to Decode.
func (l *Loader) Read() error {
	l.base, l.stale = nil, true
	if l.src.File == "" {
		return nil
	}
	b, err := readFile(l.src.File)
	if err != nil {
		l.doc = &document{name: l.src.File, broken: true}
		l.doc.fault(0, nil, err.Error())
	} else {
		l.doc, l.file = newDocument(l.src.File, b)
	}
	if l.doc.broken {
		l.file = nil
		return asError(l.doc.problems)
	}
	return nil
}

// readFile reads at most maxFile bytes. Its error does not repeat the name.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, withoutName(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, withoutName(err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("larger than %s", Size(maxFile))
	}
	return b, nil
}

func withoutName(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}

// below returns what the layers under the flags give, the environment left out
// unless set says what each variable sets.
func (l *Loader) below(set map[string]setting) *koanf.Koanf {
	k := koanf.New(delim)
	l.load(k, confmap.Provider(l.defaults, ""))
	l.load(k, confmap.Provider(l.file, ""))
	l.load(k, env.Provider(delim, env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return l.src.Environ },
		TransformFunc: func(name, _ string) (string, any) {
			s, ok := set[name]
			if !ok {
				return "", nil
			}
			return join(s.path), s.value
		},
	}))
	return k
}

// load puts a layer on top of k.
func (l *Loader) load(k *koanf.Koanf, p koanf.Provider) {
	if err := k.Load(p, nil); err != nil {
		l.merged = append(l.merged, origin{}.problem(nil, "merge: "+err.Error()))
	}
}

// flags returns the layer of the flags.
func (l *Loader) flags() koanf.Provider {
	flat := map[string]any{}
	for path, text := range l.src.Flags {
		flat[join(split(path))] = value{Text: text, Tag: textTag, From: origin{Source: fromFlag}}
	}
	return confmap.Provider(flat, delim)
}

// known returns the merged tree without the environment, in which no name can be
// made up.
func (l *Loader) known() map[string]any {
	if l.base == nil {
		k := l.below(nil)
		l.load(k, l.flags())
		l.base = k.Raw()
	}
	return l.base
}

// merge returns the merged tree. The names of variables depend on what is bound,
// so it is made anew after each Bind.
func (l *Loader) merge() map[string]any {
	if l.stale || l.tree == nil {
		l.merged, l.warnings = nil, nil
		k := l.below(l.environment(l.known()))
		l.load(k, l.flags())
		l.tree, l.stale = k.Raw(), false
	}
	return l.tree
}

// namePattern holds the names users give: to sinks, and in routes to data types.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

// Keys returns the keys of the mapping at path in order, such as the names of
// sinks. A key that cannot be a name is left out and becomes a problem.
func (l *Loader) Keys(path string) []string {
	m, _ := lookup(l.known(), split(path)).(map[string]any)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if namePattern.MatchString(name) {
			names = append(names, name)
			continue
		}
		l.own = append(l.own, complaint{append(split(path), name), "a name begins with a to z and has at most 64 of a to z, 0 to 9, _ and -"})
	}
	return names
}

// String returns the merged text of the setting at path, or "" if it is absent
// or no scalar. It needs nothing bound, for it tells what to bind.
func (l *Loader) String(path string) string {
	if s, ok := l.src.Flags[path]; ok {
		return s
	}
	if s := l.getenv(envName(split(path))); s != "" {
		return s
	}
	v, _ := lookup(l.known(), split(path)).(value)
	return v.Text
}

// Defaulted reports whether nobody said anything about the setting at path: its
// value is that of a struct or of Default. It is known once Decode has returned.
func (l *Loader) Defaulted(path string) bool {
	return l.origins[join(split(path))].Source <= fromDefault
}

// lookup returns what stands at path in tree, or nil.
func lookup(tree any, path []string) any {
	for _, name := range path {
		m, ok := tree.(map[string]any)
		if !ok {
			return nil
		}
		tree = m[name]
	}
	return tree
}

// Problem adds a problem that the caller found, to be reported with the others
// where path stands. Path may end in [n] for an entry of a list.
func (l *Loader) Problem(path, format string, args ...any) {
	l.own = append(l.own, complaint{split(path), fmt.Sprintf(format, args...)})
}

// Warnings returns what is odd but stops nothing: variables called SLUICE_* that
// no setting has.
func (l *Loader) Warnings() []string {
	l.merge()
	return slices.Clone(l.warnings)
}

// Err returns every problem known so far as an *Error, or nil. Decode returns
// the same; Err is for problems added after it.
func (l *Loader) Err() error {
	l.merge()
	var all []Problem
	if l.doc != nil {
		if all = append(all, l.doc.problems...); l.doc.broken {
			// What is missing now says nothing.
			return asError(all)
		}
	}
	all = append(append(all, l.merged...), l.found...)
	for _, c := range l.own {
		all = append(all, l.at(c.path).problem(c.path, l.scrub(c.text)))
	}
	return asError(all)
}

// at returns where path stands: its value, else the nearest section above it
// that the file has, else the file.
func (l *Loader) at(path []string) origin {
	if v, ok := lookup(l.merge(), path).(value); ok && v.From.Source > fromDefault {
		return v.From
	}
	if list, i, ok := index(path); ok {
		if v, ok := lookup(l.merge(), list).(value); ok && v.From.Source > fromDefault {
			if i < len(v.List) {
				return v.List[i].From
			}
			return v.From
		}
		path = list
	}
	if l.doc == nil {
		return origin{}
	}
	for i := len(path); i > 0; i-- {
		if line, ok := l.doc.lines[join(path[:i])]; ok {
			return origin{Source: fromFile, Name: l.doc.name, Line: line}
		}
	}
	return origin{Source: fromFile, Name: l.doc.name}
}
