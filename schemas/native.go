package schemas

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// native returns a default as a body holds it. v has been converted to Avro
// before, so it fits.
func (n *node) native(v jsontext.Value) any {
	if n.optional && v.Kind() == 'n' {
		return nil
	}
	switch n.kind {
	case kindBoolean:
		return v.Kind() == 't'
	case kindInt:
		i, _ := strconv.ParseInt(string(v), 10, 32)
		return int32(i)
	case kindLong:
		i, _ := strconv.ParseInt(string(v), 10, 64)
		switch n.logical {
		case "timestamp-millis":
			return time.UnixMilli(i).UTC()
		case "timestamp-micros":
			return time.UnixMicro(i).UTC()
		}
		return i
	case kindFloat:
		f, _ := strconv.ParseFloat(string(v), 32)
		return float32(f)
	case kindDouble:
		f, _ := strconv.ParseFloat(string(v), 64)
		return f
	case kindString, kindEnum:
		return name(v)
	case kindArray:
		var items []jsontext.Value
		_ = json.Unmarshal(v, &items)
		out := make([]any, len(items))
		for i := range items {
			out[i] = n.elem.native(items[i])
		}
		return out
	case kindMap, kindRecord:
		var members map[string]jsontext.Value
		_ = json.Unmarshal(v, &members)
		if n.kind == kindRecord {
			return n.rec.native(members)
		}
		out := make(map[string]any, len(members))
		for name, v := range members {
			out[name] = n.elem.native(v)
		}
		return out
	}
	return nil // bytes and fixed have no defaults
}

func (r *record) native(members map[string]jsontext.Value) map[string]any {
	out := make(map[string]any, len(r.fields))
	for i := range r.fields {
		f := &r.fields[i]
		v, ok := members[f.name]
		if !ok || v.Kind() == 'n' {
			v = f.defJSON
		}
		out[f.name] = f.node.native(v)
	}
	return out
}
