package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Print writes what is in force after Decode as YAML that reads back to the same
// values, secrets as ***. With origins, a comment says where each came from.
func (l *Loader) Print(w io.Writer, origins bool) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(l.render(l.root, origins)); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return enc.Close()
}

// render returns n as YAML.
func (l *Loader) render(n *node, origins bool) *yaml.Node {
	comment := func(y *yaml.Node, path []string) {
		if origins {
			y.LineComment = "# " + l.origins[join(path)].String()
		}
	}
	out := &yaml.Node{Kind: yaml.MappingNode}
	switch {
	case n.isMap():
		out = encode(n.fields[0].v)
		for i := 0; i+1 < len(out.Content); i += 2 {
			comment(out.Content[i+1], append(slices.Clone(n.path), out.Content[i].Value))
		}
	case len(n.fields) > 0:
		out = encode(n.fields[0].v)
		comment(out, n.path)
	default:
		for _, k := range n.kids {
			if k.skip && len(k.kids)+len(k.fields) == 0 {
				continue
			}
			out.Content = append(out.Content, textNode(k.path[len(k.path)-1]), l.render(k, origins))
		}
	}
	if out.Kind == yaml.MappingNode && len(out.Content) == 0 {
		out.Style = yaml.FlowStyle
		comment(out, n.path)
	}
	return out
}

// encode returns v, whose type isLeaf or is a map of such, as YAML.
func encode(v reflect.Value) *yaml.Node {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			n.Content = append(n.Content, textNode(k.String()), encode(v.MapIndex(k)))
		}
		return n
	case isList(t):
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			n.Content = append(n.Content, encode(v.Index(i)))
		}
		return n
	case t == durationType:
		return unitNode(FormatDuration(time.Duration(v.Int())))
	case t == sizeType:
		return unitNode(Size(v.Int()).String())
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		b, err := m.MarshalText()
		if err != nil {
			b = nil
		}
		return textNode(string(b))
	}
	switch t.Kind() {
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	case reflect.Float32, reflect.Float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: strconv.FormatFloat(v.Float(), 'g', -1, t.Bits())}
	case reflect.String:
		return textNode(v.String())
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v.Interface())}
	}
}

// textNode returns s as a YAML string, quoted wherever a plain one could be read
// as anything else, by readers of YAML 1.1 too.
func textNode(s string) *yaml.Node {
	var n yaml.Node
	if err := n.Encode(s); err != nil || n.Kind != yaml.ScalarNode {
		n = yaml.Node{Kind: yaml.ScalarNode}
	}
	n.Tag, n.Value = "!!str", s
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.TrimSpace(s) != s {
		n.Style = yaml.DoubleQuotedStyle
	}
	return &n
}

// unitNode returns a duration or size, as a number where it has no unit.
func unitNode(s string) *yaml.Node {
	if _, err := strconv.ParseInt(s, 10, 64); err == nil {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: s}
	}
	return textNode(s)
}
