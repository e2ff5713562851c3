package schemas

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sluice/message"
)

// typeJSON is a type of a schema that is written as an object.
type typeJSON struct {
	Type        jsontext.Value `json:"type"`
	Name        string         `json:"name"`
	Namespace   string         `json:"namespace"`
	Fields      []fieldJSON    `json:"fields"`
	Symbols     []string       `json:"symbols"`
	Items       jsontext.Value `json:"items"`
	Values      jsontext.Value `json:"values"`
	Size        int            `json:"size"`
	LogicalType string         `json:"logicalType"`
}

type fieldJSON struct {
	Name    string         `json:"name"`
	Type    jsontext.Value `json:"type"`
	Default jsontext.Value `json:"default"`
	Aliases []string       `json:"aliases"`
	Number  bool           `json:"sluice.number"`
	Text    bool           `json:"sluice.text"`
	Flag    bool           `json:"sluice.flag"`
	Member  string         `json:"sluice.member"`
	From    string         `json:"sluice.from"`

	Rest map[string]jsontext.Value `json:",embed"`
}

// head is the fields that every record starts with, in this order, and their
// types without white space.
var head = [...]struct{ name, typ string }{
	{"id", `"string"`},
	{"agent", `"string"`},
	{"node", `"string"`},
	{"network", `["null","string"]`},
	{"genesis", `["null","string"]`},
	{"received_at", `{"type":"long","logicalType":"timestamp-millis"}`},
	{"observed_at", `["null",{"type":"long","logicalType":"timestamp-millis"}]`},
}

var (
	kindName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// parser reads one schema and gathers its problems.
type parser struct {
	file       string
	named      map[string]*node // by full name; nil while the type is being read
	problems   []error
	bodySchema string
}

func (p *parser) problem(path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	p.problems = append(p.problems, fmt.Errorf("%s: %s", p.file, message.Printable(text, message.MaxReason)))
}

// dataType reads the record at the top.
func (p *parser) dataType(schema []byte) *Type {
	var top typeJSON
	if err := json.Unmarshal(schema, &top); err != nil {
		p.problem("", "%v", err)
		return nil
	}
	if name(top.Type) != "record" {
		p.problem("type", `want "record"`)
		return nil
	}
	if !message.ValidType(top.Name) {
		p.problem("name", "%q is reserved or not [a-z][a-z0-9_]{0,63}", top.Name)
	}
	if len(top.Fields) != len(head)+1 {
		p.problem("fields", "want %d fields, the head and the body, got %d", len(head)+1, len(top.Fields))
		return nil
	}
	for i, want := range head {
		path := fmt.Sprintf("fields[%d]", i)
		f := &top.Fields[i]
		if f.Name != want.name {
			p.problem(path, "want the field %q, got %q", want.name, f.Name)
			continue
		}
		got := slices.Clone(f.Type)
		if err := got.Canonicalize(); err != nil {
			p.problem(path+".type", "%v", err)
			continue
		}
		wanted := jsontext.Value(want.typ)
		_ = wanted.Canonicalize() // a table of valid JSON
		if string(got) != string(wanted) {
			p.problem(path+".type", "want %s, got %s", want.typ, got)
		}
		if want.typ[0] == '[' && string(f.Default) != "null" {
			p.problem(path+".default", "want null")
		}
	}
	if len(p.problems) > 0 {
		return nil
	}
	return p.kinds(&top)
}

// kinds reads the body, a union of records.
func (p *parser) kinds(top *typeJSON) *Type {
	const path = "fields[7]"
	f := &top.Fields[len(head)]
	if f.Name != "body" {
		p.problem(path, "want the field \"body\", got %q", f.Name)
		return nil
	}
	var union []jsontext.Value
	if f.Type.Kind() != '[' || json.Unmarshal(f.Type, &union) != nil || len(union) == 0 {
		p.problem(path+".type", "want a union of records, one for each kind")
		return nil
	}
	t := &Type{Name: top.Name, index: make(map[string]int, len(union))}
	for i, u := range union {
		at := fmt.Sprintf("%s.type[%d]", path, i)
		n := p.parse(u, at, top.Namespace, &fieldJSON{})
		if n == nil {
			continue
		}
		if n.kind != kindRecord {
			p.problem(at, "want a record, got %s", u)
			continue
		}
		kind := n.rec.name
		if !kindName.MatchString(kind) {
			p.problem(at+".name", "%q is not [a-z][a-z0-9_]{0,63}", kind)
		}
		if _, twice := t.index[kind]; twice {
			p.problem(at+".name", "the kind %q is there twice", kind)
		}
		t.index[kind] = len(t.kinds)
		t.kinds = append(t.kinds, n.rec)
		t.Kinds = append(t.Kinds, kind)
	}
	body, err := json.Marshal(map[string]any{
		"type": "record", "name": top.Name, "namespace": top.Namespace,
		"fields": []any{map[string]any{"name": "body", "type": f.Type}},
	})
	if err != nil {
		p.problem(path, "%v", err)
	}
	p.bodySchema = string(body)
	return t
}

// parse reads one type. The properties of f hold for it and for what an array
// or a map of it has inside, not for the fields of a record. It returns nil
// after a problem.
func (p *parser) parse(v jsontext.Value, path, space string, f *fieldJSON) *node {
	switch v.Kind() {
	case '"':
		return p.reference(name(v), path, space, f)
	case '[':
		return p.union(v, path, space, f)
	case '{':
		var t typeJSON
		if err := json.Unmarshal(v, &t); err != nil {
			p.problem(path, "%v", err)
			return nil
		}
		return p.object(&t, path, space, f)
	}
	p.problem(path, "want a type")
	return nil
}

func (p *parser) union(v jsontext.Value, path, space string, f *fieldJSON) *node {
	var branches []jsontext.Value
	if err := json.Unmarshal(v, &branches); err != nil {
		p.problem(path, "%v", err)
		return nil
	}
	if len(branches) != 2 || string(branches[0]) != `"null"` || branches[1].Kind() == '[' {
		p.problem(path, `a union other than ["null", X]`)
		return nil
	}
	n := p.parse(branches[1], path+"[1]", space, f)
	if n != nil {
		n.optional = true
	}
	return n
}

// reference reads a type given by its name: a primitive one, or one defined
// before.
func (p *parser) reference(typ, path, space string, f *fieldJSON) *node {
	if k, ok := kindsByName[typ]; ok {
		return p.properties(&node{kind: k}, path, f)
	}
	if typ == "null" {
		p.problem(path, `null stands only in ["null", X]`)
		return nil
	}
	n, ok := p.named[fullName(typ, space)]
	switch {
	case !ok:
		p.problem(path, "there is no type %q before this", typ)
		return nil
	case n == nil:
		p.problem(path, "the type %q holds itself", typ)
		return nil
	}
	use := *n
	return p.properties(&use, path, f)
}

func (p *parser) object(t *typeJSON, path, space string, f *fieldJSON) *node {
	if t.Namespace == "" {
		t.Namespace = space
	}
	n := &node{}
	switch typ := name(t.Type); typ {
	case "record":
		return p.record(t, path, f)
	case "enum":
		n.kind, n.symbols = kindEnum, t.Symbols
		p.define(t, path, n)
		if len(t.Symbols) == 0 {
			p.problem(path+".symbols", "want at least one")
		}
	case "fixed":
		n.kind, n.size = kindFixed, t.Size
		p.define(t, path, n)
		if t.Size < 1 {
			p.problem(path+".size", "want at least 1")
		}
	case "array":
		if n.kind, n.elem = kindArray, p.parse(t.Items, path+".items", space, f); n.elem == nil {
			return nil
		}
	case "map":
		if n.kind, n.elem = kindMap, p.parse(t.Values, path+".values", space, f); n.elem == nil {
			return nil
		}
	default:
		if n.kind = kindsByName[typ]; n.kind == 0 {
			// {"type": X} where X is an object, a union or a name.
			if t.LogicalType != "" {
				p.problem(path+".logicalType", "%q is not supported here", t.LogicalType)
				return nil
			}
			return p.parse(t.Type, path+".type", space, f)
		}
	}
	switch {
	case t.LogicalType == "":
	case n.kind == kindLong && (t.LogicalType == "timestamp-millis" || t.LogicalType == "timestamp-micros"):
		n.logical = t.LogicalType
	default:
		p.problem(path+".logicalType", "%q is not supported; a long may be timestamp-millis or timestamp-micros", t.LogicalType)
		return nil
	}
	return p.properties(n, path, f)
}

// define makes a named type known and returns its full name.
func (p *parser) define(t *typeJSON, path string, n *node) string {
	full := fullName(t.Name, t.Namespace)
	if _, twice := p.named[full]; twice {
		p.problem(path+".name", "the type %q is there twice", full)
	}
	p.named[full] = n
	return full
}

func (p *parser) record(t *typeJSON, path string, f *fieldJSON) *node {
	full := p.define(t, path, nil)
	if i := strings.LastIndexByte(full, '.'); i >= 0 {
		t.Namespace = full[:i]
	}
	r := &record{name: full[strings.LastIndexByte(full, '.')+1:], index: make(map[string]int)}
	n := &node{kind: kindRecord, rec: r}
	if len(t.Fields) == 0 {
		p.problem(path+".fields", "want at least one")
	}
	bad := len(p.problems)
	for i := range t.Fields {
		fj := &t.Fields[i]
		at := fmt.Sprintf("%s.fields[%d]", path, i)
		if fj.Name != "" {
			at = path + "." + fj.Name
		}
		for rest := range fj.Rest {
			if strings.HasPrefix(rest, "sluice.") {
				p.problem(at, "there is no property %q", rest)
			}
		}
		p.index(r, fj.Name, i, at)
		r.fields = append(r.fields, field{name: fj.Name, node: p.parse(fj.Type, at, t.Namespace, fj)})
		switch fn := r.fields[i].node; {
		case fn == nil:
			r.fields[i].node = new(node) // not used: there is a problem
		case fj.Member != "" && fn.kind != kindArray:
			p.problem(at, "sluice.member is for arrays of strings")
		default:
			p.setDefault(&r.fields[i], fj.Default, at)
		}
	}
	for i := range t.Fields {
		at := path + "." + t.Fields[i].Name
		for _, a := range t.Fields[i].Aliases {
			p.index(r, a, len(t.Fields)+i, at+".aliases")
		}
		p.from(r, t.Fields[i].From, i, at)
	}
	if len(p.problems) > bad {
		return nil
	}
	p.named[full] = n
	use := *n
	return p.properties(&use, path, f)
}

func (p *parser) index(r *record, name string, i int, path string) {
	if !fieldName.MatchString(name) {
		p.problem(path, "%q is not [A-Za-z_][A-Za-z0-9_]*", name)
	}
	if _, twice := r.index[name]; twice {
		p.problem(path, "the name %q is there twice", name)
	}
	r.index[name] = i
}

// name returns the string or literal that v is, without quotes.
func name(v jsontext.Value) string {
	if v.Kind() != '"' {
		return string(v)
	}
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(b)
}

func fullName(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}
