package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tinylib/msgp/msgp"

	"sluice/internal/wire"
)

// field is a member of an object, in its place.
type field struct {
	name  string
	value any // int64, string, bool, []string
}

// mix makes the frames of one agent: a block, statistics and the number of
// pending transactions in turn. The same agent always makes the same frames but
// for their time.
type mix struct {
	agent  string
	format wire.Format
	random *rand.Rand
	n      int64
}

func newMix(agent int, format wire.Format) *mix {
	return &mix{agent: agentName(agent), format: format, random: rand.New(rand.NewPCG(1, uint64(agent)))}
}

func agentName(i int) string { return "agent-" + strconv.Itoa(i) }

// next returns the next frame.
func (m *mix) next() []byte {
	n := m.n
	m.n++
	number := 21_000_000 + n/3
	switch n % 3 {
	case 0:
		return m.frame("block", m.block(number))
	case 1:
		return m.frame("statistics", []field{
			{"active", true}, {"mining", false}, {"hashrate", int64(0)}, {"peers", 20 + n%30},
			{"gasPrice", strconv.FormatInt(1_000_000_000+m.random.Int64N(1e9), 10)},
			{"syncing", false}, {"uptime", int64(100)},
		})
	}
	return m.frame("pending", []field{{"pending", m.random.Int64N(5000)}})
}

// bad returns a frame that ends as a dead letter: a field of its body has the
// wrong kind of value.
func (m *mix) bad() []byte {
	return m.frame("pending", []field{{"pending", "many"}})
}

func (m *mix) block(number int64) []field {
	transactions := make([]string, 3)
	for i := range transactions {
		transactions[i] = m.hash(32)
	}
	return []field{
		{"number", number}, {"hash", m.hash(32)}, {"parentHash", m.hash(32)},
		{"timestamp", time.Now().Unix()}, {"miner", m.hash(20)},
		{"gasUsed", m.random.Int64N(30_000_000)}, {"gasLimit", int64(30_000_000)},
		{"difficulty", "0"}, {"totalDifficulty", "58750003716598352816469"},
		{"transactions", transactions}, {"transactionsRoot", m.hash(32)}, {"stateRoot", m.hash(32)},
		{"receiptsRoot", m.hash(32)}, {"baseFeePerGas", strconv.FormatInt(m.random.Int64N(1e11), 10)},
		{"uncles", []string{}},
	}
}

func (m *mix) hash(size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(m.random.Uint32())
	}
	return "0x" + hex.EncodeToString(b)
}

func (m *mix) frame(kind string, body []field) []byte {
	now := time.Now().UnixMilli()
	if m.format == wire.Msgpack {
		b := msgp.AppendMapHeader(nil, 4)
		b = msgp.AppendString(msgp.AppendString(b, "id"), m.agent)
		b = msgp.AppendString(msgp.AppendString(b, "type"), "ethereum_metrics")
		b = msgp.AppendInt64(msgp.AppendString(b, "time"), now)
		b = msgp.AppendMapHeader(msgp.AppendString(b, "data"), 2)
		b = msgp.AppendString(msgp.AppendString(b, "type"), kind)
		b = msgp.AppendMapHeader(msgp.AppendString(b, "body"), uint32(len(body)))
		for _, f := range body {
			b = appendPacked(msgp.AppendString(b, f.name), f.value)
		}
		return b
	}
	b := fmt.Appendf(nil, `{"id":%q,"type":"ethereum_metrics","time":%d,"data":{"type":%q,"body":{`, m.agent, now, kind)
	for i, f := range body {
		if i > 0 {
			b = append(b, ',')
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			panic(err) // of the kinds that field names
		}
		b = append(fmt.Appendf(b, "%q:", f.name), value...)
	}
	return append(b, "}}}"...)
}

func appendPacked(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return msgp.AppendBool(b, v)
	case int64:
		return msgp.AppendInt64(b, v)
	case string:
		return msgp.AppendString(b, v)
	case []string:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		for _, s := range v {
			b = msgp.AppendString(b, s)
		}
		return b
	}
	panic(fmt.Sprintf("a field is a %T", v))
}

// meanSize returns the mean size of the frames of a format, in bytes.
func meanSize(format wire.Format) int {
	const frames = 300
	m, sum := newMix(0, format), 0
	for range frames {
		sum += len(m.next())
	}
	return sum / frames
}
