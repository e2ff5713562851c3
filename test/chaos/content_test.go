package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"sluice/agent"
	"sluice/message"
	"sluice/test/chaos/judge"
)

// canonical returns a body as a judge.Content has it: numbers as the shortest
// text of their float64, which all that the tests send are exact in.
func canonical(body map[string]any) string {
	clean := make(map[string]any, len(body))
	for name, v := range body {
		switch v := v.(type) {
		case nil:
			continue
		case json.Number:
			f, err := v.Float64()
			if err != nil {
				panic(err)
			}
			clean[name] = f
		default:
			clean[name] = v
		}
	}
	b, err := json.Marshal(clean)
	if err != nil {
		return fmt.Sprintf("not JSON: %v", body)
	}
	return string(b)
}

// contents reads a frame, or one element of it, without any of sluice's code.
func contents(contentType string, value []byte) ([]judge.Content, error) {
	var v any
	var err error
	if contentType == "application/msgpack" {
		err = msgpack.Unmarshal(value, &v)
	} else {
		dec := json.NewDecoder(bytes.NewReader(value))
		err = dec.Decode(&v)
	}
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var cs []judge.Content
	for _, e := range list {
		envelope, _ := e.(map[string]any)
		data, _ := envelope["data"].(map[string]any)
		body, _ := data["body"].(map[string]any)
		c := judge.Content{Body: canonical(body)}
		c.Type, _ = envelope["type"].(string)
		c.Kind, _ = data["type"].(string)
		switch ms := envelope["time"].(type) {
		case float64:
			c.Time = int64(ms)
		case int64:
			c.Time = ms
		case uint64:
			c.Time = int64(ms)
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// fact is one message to send, and what it must become.
type fact struct {
	message.Code
	agent.Message
}

func (f *fact) element() judge.Element {
	body, _ := f.Body.(map[string]any)
	return judge.Element{
		Content: judge.Content{Type: f.Type, Kind: f.Kind, Time: f.Time.UnixMilli(), Body: canonical(body)},
		Code:    f.Code,
	}
}

// facts returns what a frame says: mostly one thing, now and then several, and a
// few that cannot become messages. n is a number that no other frame of the
// agent has.
func facts(random *rand.Rand, n uint64, now time.Time) []fact {
	count := 1
	if random.IntN(100) < 3 {
		count = 2 + random.IntN(4)
	}
	fs := make([]fact, count)
	for i := range fs {
		if random.IntN(1000) < 15 {
			fs[i] = badFact(random, n, now)
		} else {
			fs[i] = goodFact(random, n, now)
		}
	}
	return fs
}

func goodFact(random *rand.Rand, n uint64, now time.Time) fact {
	m := agent.Message{Time: now}
	switch random.IntN(4) {
	case 0:
		m.Type, m.Kind, m.Body = "ethereum_metrics", "pending", map[string]any{"pending": n}
	case 1:
		m.Type, m.Kind, m.Body = "ethereum_metrics", "payload", map[string]any{"number": n, "hash": fmt.Sprintf("0x%x", random.Uint64()), "processingTime": random.IntN(500)}
	case 2:
		m.Type, m.Kind, m.Body = "system_metrics", "load", map[string]any{"load1": float64(n), "load5": random.Float64(), "load15": 0.5}
	default:
		m.Type, m.Kind, m.Body = "system_metrics", "disk", map[string]any{
			"mount": "/" + strings.Repeat("größe", 1+random.IntN(20)), "total": 1 << 40, "used": n, "free": 1<<40 - n, "usage": 12.5,
		}
	}
	return fact{Message: m}
}

func badFact(random *rand.Rand, n uint64, now time.Time) fact {
	f := fact{Message: agent.Message{Type: "ethereum_metrics", Kind: "pending", Time: now, Body: map[string]any{"pending": n}}}
	switch random.IntN(4) {
	case 0:
		f.Kind, f.Code = "nonsense", message.CodeUnknownKind
	case 1:
		f.Body, f.Code = map[string]any{"pending": "three"}, message.CodeInvalid
	case 2:
		f.Body, f.Code = map[string]any{"waiting": n}, message.CodeMissing
	default:
		f.Time, f.Code = now.Add(24*time.Hour), message.CodeTime
	}
	return f
}
