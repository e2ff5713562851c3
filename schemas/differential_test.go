package schemas

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/linkedin/goavro/v2"
	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire"
	"sluice/message"
)

// sample is one random value in every form it has.
type sample struct {
	json, pack []byte
	union      any // as goavro wants it, unions wrapped
	plain      any // as a body holds it
	absent     bool
}

type sampler struct {
	*rand.Rand
}

var texts = []string{"", "a", "plain ascii text of some length", "é", "quote \" and \\ slash", "line\nbreak\ttab", "日本語", "\u2028", "😀", "x\x00y", "1234567\"", "12345678"}

func (r sampler) text() string { return texts[r.IntN(len(texts))] + texts[r.IntN(len(texts))] }

func quoted(s string) []byte {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		panic(err)
	}
	return b
}

func (r sampler) long() int64 {
	edges := []int64{0, 1, -1, 63, 64, -64, -65, 127, 128, 255, 256, 1 << 31, -1 << 31, 1<<53 + 1, math.MaxInt64, math.MinInt64}
	if r.IntN(2) == 0 {
		return edges[r.IntN(len(edges))]
	}
	return int64(r.Uint64()) >> r.IntN(64)
}

func scalar(js []byte, pack []byte, v any) sample {
	return sample{json: js, pack: pack, union: v, plain: v}
}

func (r sampler) value(n *node, space string) sample {
	if n.optional {
		if r.IntN(3) == 0 {
			return sample{json: []byte("null"), pack: msgp.AppendNil(nil), absent: true}
		}
		inner := *n
		inner.optional = false
		s := r.value(&inner, space)
		s.union = goavro.Union(branchName(&inner, space), s.union)
		return s
	}
	switch n.kind {
	case kindBoolean:
		v := r.IntN(2) == 0
		return scalar(strconv.AppendBool(nil, v), msgp.AppendBool(nil, v), v)
	case kindInt:
		v := int32(r.long())
		return scalar(strconv.AppendInt(nil, int64(v), 10), msgp.AppendInt64(nil, int64(v)), v)
	case kindLong:
		v := r.long()
		s := scalar(strconv.AppendInt(nil, v, 10), msgp.AppendInt64(nil, v), v)
		if v > 0 && r.IntN(2) == 0 {
			s.pack = msgp.AppendUint64(nil, uint64(v))
		}
		switch n.logical {
		case "timestamp-millis":
			v %= 1 << 45
			s = scalar(strconv.AppendInt(nil, v, 10), msgp.AppendInt64(nil, v), time.UnixMilli(v).UTC())
		case "timestamp-micros":
			v %= 1 << 54
			s = scalar(strconv.AppendInt(nil, v, 10), msgp.AppendInt64(nil, v), time.UnixMicro(v).UTC())
		}
		return s
	case kindFloat:
		v := float32(r.NormFloat64() * math.Pow(10, float64(r.IntN(60)-30)))
		return scalar(strconv.AppendFloat(nil, float64(v), 'g', -1, 64), msgp.AppendFloat32(nil, v), v)
	case kindDouble:
		v := r.NormFloat64() * math.Pow(10, float64(r.IntN(400)-200))
		if r.IntN(4) == 0 {
			v = float64(r.IntN(1000) - 500)
		}
		return scalar(strconv.AppendFloat(nil, v, 'g', -1, 64), msgp.AppendFloat64(nil, v), v)
	case kindString:
		v := r.text()
		if n.number {
			v = strconv.FormatUint(r.Uint64()>>r.IntN(64), 10) + []string{"", "00000000000000000001"}[r.IntN(2)]
			v = "1" + v
			if r.IntN(2) == 0 {
				return scalar([]byte(v), msgp.AppendString(nil, v), v)
			}
		}
		return scalar(quoted(v), msgp.AppendString(nil, v), v)
	case kindBytes, kindFixed:
		v := make([]byte, n.size)
		if n.kind == kindBytes {
			v = make([]byte, r.IntN(100))
		}
		for i := range v {
			v[i] = byte(r.Uint64())
		}
		return scalar(quoted(base64.StdEncoding.EncodeToString(v)), msgp.AppendBytes(nil, v), v)
	case kindEnum:
		v := n.symbols[r.IntN(len(n.symbols))]
		return scalar(quoted(v), msgp.AppendString(nil, v), v)
	case kindArray:
		count := []int{0, 1, 2, 3, 63, 64, 70}[r.IntN(7)]
		s := sample{json: []byte("["), pack: msgp.AppendArrayHeader(nil, uint32(count))}
		union, plain := make([]any, count), make([]any, count)
		for i := range count {
			item := r.value(n.elem, space)
			if i > 0 {
				s.json = append(s.json, ", "...)
			}
			s.json, s.pack = append(s.json, item.json...), append(s.pack, item.pack...)
			union[i], plain[i] = item.union, item.plain
		}
		s.json, s.union, s.plain = append(s.json, ']'), union, plain
		return s
	case kindMap: // of at most one: goavro writes a map in random order
		count := r.IntN(2)
		s := sample{json: []byte("{"), pack: msgp.AppendMapHeader(nil, uint32(count))}
		union, plain := make(map[string]any), make(map[string]any)
		if count == 1 {
			name, item := r.text(), r.value(n.elem, space)
			s.json = append(append(append(s.json, quoted(name)...), ':'), item.json...)
			s.pack = append(msgp.AppendString(s.pack, name), item.pack...)
			union[name], plain[name] = item.union, item.plain
		}
		s.json, s.union, s.plain = append(s.json, '}'), union, plain
		return s
	default:
		return r.record(n.rec, space)
	}
}

// record gives the fields in the schema's order or another, absent ones mostly
// left out, with names that no schema has between them.
func (r sampler) record(rec *record, space string) sample {
	var s sample
	union, plain := make(map[string]any), make(map[string]any)
	order := make([]int, len(rec.fields))
	for i := range order {
		order[i] = i
	}
	if r.IntN(2) == 0 {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	count := 0
	s.json = []byte(" {")
	member := func(name string, js, pack []byte) {
		if count > 0 {
			s.json = append(s.json, ',')
		}
		count++
		s.json = append(append(append(s.json, quoted(name)...), " :\n"...), js...)
		s.pack = append(msgp.AppendString(s.pack, name), pack...)
	}
	for _, i := range order {
		f := &rec.fields[i]
		v := r.value(f.node, space)
		union[f.name], plain[f.name] = v.union, v.plain
		if r.IntN(8) == 0 {
			member("Unknown"+strconv.Itoa(count), []byte(`{"a":[1,{"b\"":"c\\"}],"d":-1.5e3}`), []byte{0x82, 0xa1, 'a', 0x92, 1, 2, 0xa1, 'b', 0xc0})
		}
		if v.absent && r.IntN(4) > 0 {
			continue
		}
		member(f.name, v.json, v.pack)
	}
	s.json = append(s.json, "} "...)
	s.pack = append(msgp.AppendMapHeader(nil, uint32(count)), s.pack...)
	s.union, s.plain = union, plain
	return s
}

func branchName(n *node, space string) string {
	for name, k := range kindsByName {
		if k == n.kind {
			if n.logical != "" {
				return name + "." + n.logical
			}
			return name
		}
	}
	switch n.kind {
	case kindArray:
		return "array"
	case kindMap:
		return "map"
	case kindEnum:
		return space + ".state"
	}
	return space + "." + n.rec.name
}

// TestAppendAgainstGoavro holds the converter to goavro, byte for byte, both
// encodings to one another, and the reader to the value.
func TestAppendAgainstGoavro(t *testing.T) {
	set := mustLoad(t, "test_type", testType)
	reader := NewReader(set)
	for _, name := range set.Names() {
		typ := set.Type(name)
		codec, space := fullCodec(t, typ), "sluice."+name
		for k, kind := range typ.Kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				r := sampler{rand.New(rand.NewPCG(uint64(k), 42))}
				for range 300 {
					s := r.record(typ.kinds[k], space)
					record := map[string]any{
						"id": testHead.ID, "agent": testHead.Agent, "node": testHead.Node,
						"network": goavro.Union("string", testHead.Network), "genesis": nil,
						"received_at": time.UnixMilli(testHead.ReceivedAt),
						"observed_at": goavro.Union("long.timestamp-millis", time.UnixMilli(testHead.ObservedAt)),
						"body":        goavro.Union(space+"."+kind, s.union),
					}
					want, err := codec.BinaryFromNative(nil, record)
					if err != nil {
						t.Fatalf("goavro: %v", err)
					}
					for f, in := range map[wire.Format][]byte{wire.JSON: s.json, wire.Msgpack: s.pack} {
						got, _, err := typ.Append([]byte("before"), &testHead, kind, f, in)
						if err != nil {
							t.Fatalf("append format %d: %v\n%s", f, err, s.json)
						}
						if !bytes.Equal(got[16:], want) {
							t.Fatalf("append format %d: got\n%x, want\n%x\nof %s", f, got[16:], want, s.json)
						}
						var m message.Message
						if err := reader.Read(got[6:], &m, true); err != nil {
							t.Fatalf("read: %v", err)
						}
						if !reflect.DeepEqual(m.Body, s.plain) {
							t.Fatalf("read: got\n%v, want\n%v", m.Body, s.plain)
						}
					}
				}
			})
		}
	}
}

// TestAppendMap has maps of several members, which goavro writes in random
// order: it reads them instead.
func TestAppendMap(t *testing.T) {
	typ := mustLoad(t, "test_type", testType).Type("test_type")
	var members []string
	want := make(map[string]any)
	for i := range 70 {
		members = append(members, fmt.Sprintf(`"k%d":%d`, i, i))
		want["k"+strconv.Itoa(i)] = int32(i)
	}
	record := mustAppend(t, typ, "defaults", `{"need":1,"map":{`+strings.Join(members, ",")+`}}`)
	native, rest, err := fullCodec(t, typ).NativeFromBinary(record[10:])
	if err != nil || len(rest) > 0 {
		t.Fatalf("goavro: %v, %d bytes left", err, len(rest))
	}
	body := branch(native.(map[string]any)["body"]).(map[string]any)
	if got := body["map"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
