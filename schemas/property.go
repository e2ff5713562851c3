package schemas

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// from ties a field to the flag it is filled from.
func (p *parser) from(r *record, from string, i int, path string) {
	if from == "" {
		return
	}
	flag, m, _ := strings.Cut(from, ".")
	j, ok := r.index[flag]
	if !ok || m == "" || j >= len(r.fields) || !r.fields[j].node.flag {
		p.problem(path+`["sluice.from"]`, "%q is not a field with sluice.flag, a dot and a member", from)
		return
	}
	r.fields[j].members = append(r.fields[j].members, member{m, i})
}

// setDefault encodes the default with the converter itself.
func (p *parser) setDefault(f *field, def jsontext.Value, path string) {
	n := *f.node
	switch {
	case n.optional && string(def) != "null":
		p.problem(path+".default", "want null")
	case n.optional:
		f.def, f.defJSON = []byte{0}, jsontext.Value("null")
	case def == nil:
	case n.kind == kindBytes || n.kind == kindFixed:
		p.problem(path+".default", "a default of bytes is not supported")
	default:
		n.number, n.text, n.flag, n.member = false, false, false, ""
		var s state
		s.c.reset(def, false)
		if fault := s.value(&n); fault != nil {
			p.problem(path+".default", "%s", fault)
			return
		}
		f.def, f.defJSON = s.out, slices.Clone(def)
	}
}

// properties sets those of the field on a type and checks that they fit it.
func (p *parser) properties(n *node, path string, f *fieldJSON) *node {
	n.number, n.text, n.flag, n.member = f.Number, f.Text, f.Flag, ""
	numeric := n.kind >= kindInt && n.kind <= kindDouble
	inner := n.kind == kindArray || n.kind == kindMap
	switch {
	case f.Number && !numeric && n.kind != kindString && !inner:
		p.problem(path, "sluice.number is for numbers and strings")
	case f.Text && n.kind != kindString && !inner:
		p.problem(path, "sluice.text is for strings")
	case f.Flag && n.kind != kindBoolean:
		p.problem(path, "sluice.flag is for booleans")
	case f.Member != "" && n.kind == kindArray:
		if n.member = f.Member; n.elem.kind != kindString || n.elem.optional {
			p.problem(path, "sluice.member is for arrays of strings")
		}
	}
	return n
}
