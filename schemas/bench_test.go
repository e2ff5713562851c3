package schemas

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/linkedin/goavro/v2"

	"sluice/internal/wire"
	"sluice/message"
)

// blockBody is a block of 399 bytes as geth sends it.
var blockBody = examples[2].body

// TestAppendAllocates says that a conversion allocates nothing once its state
// and dst have grown.
func TestAppendAllocates(t *testing.T) {
	set := mustLoad(t)
	for _, e := range examples {
		typ, s := set.Type(e.typ), new(state)
		dst := make([]byte, 0, 4096)
		for f, body := range map[wire.Format][]byte{wire.JSON: []byte(e.body), wire.Msgpack: toMsgpack(t, jsontext.Value(e.body))} {
			got := testing.AllocsPerRun(20, func() {
				if _, _, fault := s.append(typ, dst, &testHead, typ.index[e.kind], f, body); fault != nil {
					t.Fatal(fault)
				}
			})
			if got > 0 {
				t.Errorf("%s, %s, format %d: got %v allocations, want none", e.typ, e.kind, f, got)
			}
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	set := mustLoad(b)
	typ := set.Type("ethereum_metrics")
	stats := examples[6].body
	for _, bc := range []struct {
		name, kind string
		f          wire.Format
		body       []byte
	}{
		{"block/json", "block", wire.JSON, []byte(blockBody)},
		{"block/msgpack", "block", wire.Msgpack, toMsgpack(b, jsontext.Value(blockBody))},
		{"statistics/json", "statistics", wire.JSON, []byte(stats)},
		{"pending/json", "pending", wire.JSON, []byte(`{"pending":12}`)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			b.SetBytes(int64(len(bc.body)))
			for b.Loop() {
				if _, _, err := typ.Append(dst, &testHead, bc.kind, bc.f, bc.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// block is the body as a program that knows the kinds would have it.
type block struct {
	Number          int64    `json:"number"`
	Hash            string   `json:"hash"`
	ParentHash      string   `json:"parentHash"`
	Timestamp       int64    `json:"timestamp"`
	Miner           string   `json:"miner"`
	GasUsed         int64    `json:"gasUsed"`
	GasLimit        int64    `json:"gasLimit"`
	Difficulty      string   `json:"difficulty"`
	TotalDifficulty string   `json:"totalDifficulty"`
	Transactions    []string `json:"transactions"`
	Uncles          []string `json:"uncles"`
}

// BenchmarkGoavro is the way without the converter: struct, map, goavro.
func BenchmarkGoavro(b *testing.B) {
	typ := mustLoad(b).Type("ethereum_metrics")
	codec, body := fullCodec(b, typ), []byte(blockBody)
	str := func(s string) any { return goavro.Union("string", s) }
	num := func(v int64) any { return goavro.Union("long", v) }
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		var v block
		if err := json.Unmarshal(body, &v); err != nil {
			b.Fatal(err)
		}
		_, err := codec.BinaryFromNative(append(dst, typ.header...), map[string]any{
			"id": testHead.ID, "agent": testHead.Agent, "node": testHead.Node, "network": str(testHead.Network),
			"received_at": testHead.ReceivedAt, "observed_at": goavro.Union("long.timestamp-millis", time.UnixMilli(testHead.ObservedAt)),
			"body": goavro.Union("sluice.ethereum_metrics.block", map[string]any{
				"number": v.Number, "hash": v.Hash, "parentHash": str(v.ParentHash), "timestamp": num(v.Timestamp), "miner": str(v.Miner),
				"gasUsed": num(v.GasUsed), "gasLimit": num(v.GasLimit), "difficulty": str(v.Difficulty), "totalDifficulty": str(v.TotalDifficulty),
				"transactions": goavro.Union("array", v.Transactions), "uncles": goavro.Union("array", v.Uncles),
			}),
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	set := mustLoad(b)
	r := NewReader(set)
	value := mustAppend(b, set.Type("ethereum_metrics"), "block", blockBody)
	for name, bodies := range map[string]bool{"head": false, "body": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var m message.Message
				if err := r.Read(value, &m, bodies); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
