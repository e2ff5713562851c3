package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// value is one setting as it was given. The merged tree is nested maps with
// these at the ends; each carries its own origin, so that merging cannot
// separate the two.
type value struct {
	Text string
	// Tag is YAML's short tag of Text, listTag or textTag.
	Tag  string
	List []value
	From origin
}

const (
	listTag = "!!seq"
	// textTag marks text of the environment and of flags, which has no kind of
	// its own.
	textTag = "text"
	// mapTag marks a mapping within a list, which no setting takes.
	mapTag = "!!map"
)

// String says what was given, as messages do.
func (v value) String() string {
	switch v.Tag {
	case listTag:
		return "a list"
	case mapTag:
		return "a mapping"
	case "!!null":
		return "no value"
	case "!!int", "!!float", "!!bool":
		return printable(v.Text)
	default:
		s := v.Text
		if len(s) > 60 {
			s = s[:60] + "…"
		}
		return strconv.Quote(strings.ToValidUTF8(s, "?"))
	}
}

// shapeless reports whether v is nothing a scalar can be read from.
func (v value) shapeless() bool {
	return v.Tag == listTag || v.Tag == mapTag || v.Tag == "!!null"
}

var (
	durationType    = reflect.TypeFor[time.Duration]()
	sizeType        = reflect.TypeFor[Size]()
	secretType      = reflect.TypeFor[Secret]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isLeaf reports whether t is a kind of setting: a scalar, a type that reads
// itself from text, or a list of these.
func isLeaf(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return t.Kind() != reflect.Pointer
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Slice:
		return t.Elem().Kind() != reflect.Slice && isLeaf(t.Elem())
	default:
		return false
	}
}

// isList reports whether t is set by a list.
func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && !reflect.PointerTo(t).Implements(textUnmarshaler)
}

// isText reports whether t is a string of any sort, a secret included.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String && !reflect.PointerTo(t).Implements(textUnmarshaler)
}

// rules are what tags demand of a value beyond its kind.
type rules struct {
	oneOf    []string
	min, max string
	lo, hi   reflect.Value
}

// newRules reads the tags oneof (comma separated), min and max. Durations and
// sizes have a min of 0 unless they say otherwise. The rules of a list or map
// are those of its values.
func newRules(t reflect.Type, tag reflect.StructTag) (rules, error) {
	for t.Kind() == reflect.Map || isList(t) {
		t = t.Elem()
	}
	r := rules{min: tag.Get("min"), max: tag.Get("max")}
	if s := tag.Get("oneof"); s != "" {
		if r.oneOf = strings.Split(s, ","); !isText(t) || t == secretType {
			return r, fmt.Errorf("oneof is for text, not %s", t)
		}
	}
	if r.min == "" && (t == durationType || t == sizeType) {
		r.min = "0"
	}
	for _, b := range []struct {
		text string
		to   *reflect.Value
	}{{r.min, &r.lo}, {r.max, &r.hi}} {
		if b.text == "" {
			continue
		}
		v, err := scalar(value{Text: b.text, Tag: textTag}, t, rules{})
		if err != nil || !v.CanInt() && !v.CanUint() && !v.CanFloat() {
			return r, fmt.Errorf("%q is no bound of a %s", b.text, t)
		}
		*b.to = v
	}
	return r, nil
}

// allow reports whether v keeps the rules.
func (r rules) allow(v reflect.Value) bool {
	if len(r.oneOf) > 0 {
		for _, s := range r.oneOf {
			if v.Kind() == reflect.String && v.String() == s {
				return true
			}
		}
		return false
	}
	return (!r.lo.IsValid() || !less(v, r.lo)) && (!r.hi.IsValid() || !less(r.hi, v))
}

func less(a, b reflect.Value) bool {
	switch {
	case a.CanInt():
		return a.Int() < b.Int()
	case a.CanUint():
		return a.Uint() < b.Uint()
	default:
		return a.Float() < b.Float()
	}
}

// want says what a setting of type t takes.
func (r rules) want(t reflect.Type) string {
	lo, hi := r.min, r.max
	if w, ok := widths[t.Kind()]; ok && t != durationType && t != sizeType {
		lo, hi = cmp.Or(lo, w[0]), cmp.Or(hi, w[1])
	}
	span, bounds := "", ""
	if lo != "" {
		span, bounds = " from "+lo, " of at least "+lo
	}
	if hi != "" {
		span += " to " + hi
		bounds += " of at most " + hi
	}
	if t == durationType || t == sizeType {
		switch r.min {
		case "0":
			bounds = strings.TrimPrefix(bounds, " of at least 0")
		case "-1":
			bounds = strings.Replace(bounds, " of at least -1", ", or -1", 1)
		}
	}
	switch {
	case t.Kind() == reflect.Map && isList(t.Elem()):
		return "a mapping of names to lists"
	case t.Kind() == reflect.Map:
		return "a mapping of names, each to " + r.want(t.Elem())
	case isList(t):
		return "a list"
	case len(r.oneOf) > 0:
		return "one of " + strings.Join(r.oneOf, ", ")
	case t == durationType:
		return "a duration with its unit, such as 500ms, 5s or 2d" + comma(bounds)
	case t == sizeType:
		return "a size in bytes, such as 64MiB or 512 MB" + comma(bounds)
	case isText(t):
		return "text"
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return strings.ToLower(t.Name())
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number" + span
	default:
		return "a whole number" + span
	}
}

// comma sets bounds off from what stands before them.
func comma(bounds string) string {
	if bounds == "" || bounds[0] == ',' {
		return bounds
	}
	return "," + bounds
}

// widths says what the kinds of integers hold where that is worth saying.
var widths = map[reflect.Kind][2]string{
	reflect.Int8: {"-128", "127"}, reflect.Int16: {"-32768", "32767"},
	reflect.Int32: {"-2147483648", "2147483647"},
	reflect.Uint8: {"0", "255"}, reflect.Uint16: {"0", "65535"},
	reflect.Uint32: {"0", "4294967295"}, reflect.Uint64: {"0", ""}, reflect.Uint: {"0", ""},
}

// kindName names the kind of setting in the list of variables.
func kindName(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Map:
		return "map of " + kindName(t.Elem())
	case isList(t):
		return "list of " + kindName(t.Elem())
	case t == durationType:
		return "duration"
	case t == sizeType:
		return "size"
	case t == secretType:
		return "secret"
	case isText(t):
		return "text"
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return strings.ToLower(t.Name())
	}
	switch t.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Float32, reflect.Float64:
		return "number"
	default:
		return "integer"
	}
}

// scalar reads v as a t, which is no list. Its error says what was given and
// what was wanted. It never holds a secret: any text is one.
func scalar(v value, t reflect.Type, r rules) (reflect.Value, error) {
	out := reflect.New(t).Elem()
	fault := func() (reflect.Value, error) {
		hint := ""
		if len(r.oneOf) > 0 {
			hint = suggest(v.Text, r.oneOf)
		}
		return out, fmt.Errorf("got %s, wanted %s%s", v, r.want(t), hint)
	}
	if v.shapeless() {
		return fault()
	}
	text := v.Tag == textTag
	var err error
	switch {
	case t == durationType:
		if v.Tag == "!!float" {
			return fault()
		}
		var d time.Duration
		d, err = ParseDuration(v.Text)
		out.SetInt(int64(d))
	case t == sizeType:
		var s Size
		s, err = ParseSize(v.Text)
		out.SetInt(int64(s))
	case t == secretType && v.Text == mask:
		return out, errors.New("got ***, which is what print shows in place of a secret, wanted the secret")
	case isText(t):
		// What YAML takes for a number is taken as it is written: 007 stays 007.
		out.SetString(v.Text)
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		if err := out.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(v.Text)); err != nil {
			return out, fmt.Errorf("got %s, wanted a %s: %s", v, r.want(t), printable(err.Error()))
		}
	case t.Kind() == reflect.Bool:
		if !text && v.Tag != "!!bool" {
			return fault()
		}
		var b bool
		b, err = strconv.ParseBool(v.Text)
		out.SetBool(b)
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		if !text && v.Tag != "!!float" && v.Tag != "!!int" {
			return fault()
		}
		var f float64
		f, err = strconv.ParseFloat(v.Text, t.Bits())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return fault()
		}
		out.SetFloat(f)
	default:
		if !text && v.Tag != "!!int" {
			return fault()
		}
		err = setInt(out, v.Text)
	}
	if err != nil || !r.allow(out) {
		return fault()
	}
	return out, nil
}

// setInt reads a whole number, 0x, 0o and 0b and _ between digits included. A
// leading zero is refused: YAML and people read it differently.
func setInt(out reflect.Value, s string) error {
	if d := strings.TrimLeft(s, "+-"); len(d) > 1 && d[0] == '0' && (d[1] >= '0' && d[1] <= '9' || d[1] == '_') {
		return strconv.ErrSyntax
	}
	if out.CanUint() {
		n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 0, out.Type().Bits())
		out.SetUint(n)
		return err
	}
	n, err := strconv.ParseInt(s, 0, out.Type().Bits())
	out.SetInt(n)
	return err
}
