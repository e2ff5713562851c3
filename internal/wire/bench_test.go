package wire

import (
	"testing"

	"sluice/internal/wire/wiretest"
)

// blockJSON is a frame of 425 bytes, as an agent sends one for each new block.
const blockJSON = `{"id":"agent-0001","type":"ethereum_metrics","time":1795453669123,"data":{"type":"block","body":{` +
	`"number":644964,"hash":"0x4950aa4950aa4950aa4950aa4950aa4950aa4950aa4950aa4950aa4950aa4950",` +
	`"parentHash":"0x4950aa4950aa4950aa4950aa4950aa4950aa4950aa4950aa4950aa4950aa4951",` +
	`"gasLimit":30000000,"gasUsed":12345678,"timestamp":1795453669,"difficulty":"2",` +
	`"totalDifficulty":"58750003716598352816469","transactions":["0x1","0x2"]}}}`

func BenchmarkSplit(b *testing.B) {
	for _, bench := range []struct {
		name   string
		format Format
		frame  []byte
	}{
		{"json", JSON, []byte(blockJSON)},
		{"msgpack", Msgpack, wiretest.Msgpack(b, []byte(blockJSON))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var dst []Envelope
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.frame)))
			for b.Loop() {
				var err error
				dst, err = Split(bench.format, bench.frame, DefaultLimits, dst[:0])
				if err != nil || dst[0].Fault != nil {
					b.Fatal(err, dst)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	frame := []byte(blockJSON)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if err := Check(JSON, frame, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}
