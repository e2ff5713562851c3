package judge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/message"
)

// run is a made-up run of a pipeline that kept its word: two agents, a frame that
// was sent again, one of several elements, a dead letter, a frame of the gateway's
// own and one that was never acknowledged.
type run struct {
	ledger   *Ledger
	ingest   []Ingested
	outcomes []Outcome
	items    []Item
}

func content(n int) Content {
	return Content{Type: "ethereum_metrics", Kind: "pending", Time: 1000 + int64(n), Body: fmt.Sprintf(`{"pending":%d}`, n)}
}

func goodRun() *run {
	r := &run{ledger: NewLedger()}
	at := time.UnixMilli(500)
	send := func(agent string, seq uint64, acked bool, es ...Element) *Frame {
		f := &Frame{ID: fmt.Sprintf("%s/s/%d", agent, seq), Agent: agent, Stream: agent + "/s", Seq: seq, Elements: es, Sent: at}
		r.ledger.Sending(f)
		if acked {
			r.ledger.Acked(f.ID, at.Add(time.Millisecond))
		}
		return f
	}
	bad := Element{Content{"ethereum_metrics", "nonsense", 1003, "{}"}, message.CodeUnknownKind}
	a1 := send("a", 1, true, Element{Content: content(1)})
	a2 := send("a", 2, true, Element{Content: content(2)}, bad, Element{Content: content(4)})
	a3 := send("a", 3, true, Element{Content: content(5)})
	b1 := send("b", 1, true, Element{Content: content(1)})
	send("b", 2, false, Element{Content: content(2)})
	r.stands(0, a1)
	r.stands(0, a2)
	r.stands(0, a1) // again: its acknowledgement was lost
	r.stands(0, a2)
	r.stands(0, a3)
	r.stands(1, b1)
	src := message.Source{Partition: 1, Offset: 1}
	r.ingest = append(r.ingest, Ingested{Src: src, ID: "b/c/1", Agent: "b", Own: true, Contents: []Content{{Type: "networking_metrics"}}})
	r.outcomes = append(r.outcomes, Outcome{
		Topic: "sluice.networking_metrics", Partition: 1, ID: "b/c/1#0", Agent: "b", Node: "b", Src: src, Count: 1,
		Content: Content{Type: "networking_metrics", Kind: "alive", Body: `{"connection":"c"}`}, Event: 7,
	})
	r.tabulate()
	return r
}

// stands puts a frame into ingest, and its outcomes where they belong.
func (r *run) stands(partition int32, f *Frame) {
	src := message.Source{Partition: partition}
	for _, i := range r.ingest {
		if i.Src.Partition == partition {
			src.Offset++
		}
	}
	in := Ingested{Src: src, ID: f.ID, Agent: f.Agent}
	for i, e := range f.Elements {
		in.Contents = append(in.Contents, e.Content)
		o := Outcome{
			Topic: message.Topic(e.Type), Partition: partition, Offset: int64(len(r.outcomes)), ID: message.MessageID(f.ID, i), Agent: f.Agent, Node: f.Agent,
			Src: src, Index: i, Count: len(f.Elements), Code: e.Code, Content: e.Content, Event: e.Time,
		}
		if e.Code != "" {
			o.Topic = message.TopicDeadLetters
		}
		r.outcomes = append(r.outcomes, o)
	}
	r.ingest = append(r.ingest, in)
}

// tabulate makes the table that the outcomes must become.
func (r *run) tabulate() {
	put := func(it Item) {
		r.items = append(slices.DeleteFunc(r.items, func(old Item) bool { return old.Key == it.Key }), it)
	}
	newest := map[string]*Outcome{}
	for i := range r.outcomes {
		o := &r.outcomes[i]
		if o.Code != "" {
			continue
		}
		it := Item{Key: o.ID, ID: o.ID, Agent: o.Agent, Node: o.Node, Src: o.Src, Index: o.Index, Content: o.Content, Event: o.Event}
		put(it)
		it.Key, it.Latest = "latest "+o.Agent+o.Content.Kind, true
		if old := newest[it.Key]; old == nil || supersedes(o, old) {
			newest[it.Key] = o
			put(it)
		}
	}
}

func (r *run) outcome(id string, nth int) *Outcome {
	for i := range r.outcomes {
		if r.outcomes[i].ID == id {
			if nth--; nth < 0 {
				return &r.outcomes[i]
			}
		}
	}
	panic("no outcome " + id)
}

func (r *run) item(key string) *Item {
	for i := range r.items {
		if r.items[i].Key == key {
			return &r.items[i]
		}
	}
	panic("no item " + key)
}

func TestGoodRun(t *testing.T) {
	r := goodRun()
	if v := Pipeline(r.ledger, r.ingest, r.outcomes); !v.Good() {
		t.Errorf("pipeline: %s", v)
	}
	if v := Table(r.ledger, r.outcomes, r.items); !v.Good() {
		t.Errorf("table: %s", v)
	}
	if sent, acked := r.ledger.Counts(); sent != 5 || acked != 4 {
		t.Errorf("%d sent, %d acknowledged; want 5 and 4", sent, acked)
	}
}

// TestPipelineFinds plants one fault in Kafka at a time.
func TestPipelineFinds(t *testing.T) {
	swap := func(a, b *Outcome) {
		*a, *b = *b, *a
		a.Offset, b.Offset = b.Offset, a.Offset
	}
	tests := []struct {
		name  string
		plant func(*run)
		want  Fault
	}{
		{"an acknowledged frame is not in ingest", func(r *run) {
			src := r.outcome("b/s/1#0", 0).Src
			r.ingest = slices.DeleteFunc(r.ingest, func(i Ingested) bool { return i.Src == src })
			r.outcomes = slices.DeleteFunc(r.outcomes, func(o Outcome) bool { return o.Src == src })
		}, Lost},
		{"a record has no outcome", func(r *run) {
			r.outcomes = slices.DeleteFunc(r.outcomes, func(o Outcome) bool { return o.ID == "a/s/3#0" })
		}, Lost},
		{"one of two copies has no outcome", func(r *run) {
			copied := *r.outcome("a/s/1#0", 1)
			r.outcomes = slices.DeleteFunc(r.outcomes, func(o Outcome) bool { return o == copied })
		}, Lost},
		{"an index has no outcome", func(r *run) {
			last := *r.outcome("a/s/2#2", 0)
			r.outcomes = slices.DeleteFunc(r.outcomes, func(o Outcome) bool { return o == last })
		}, Lost},
		{"a dead letter is missing", func(r *run) {
			letter := *r.outcome("a/s/2#1", 0)
			r.outcomes = slices.DeleteFunc(r.outcomes, func(o Outcome) bool { return o == letter })
		}, Lost},
		{"a frame of the gateway's own has no outcome", func(r *run) {
			r.outcomes = slices.DeleteFunc(r.outcomes, func(o Outcome) bool { return o.ID == "b/c/1#0" })
		}, Lost},
		{"an outcome stands twice", func(r *run) {
			r.outcomes = append(r.outcomes, *r.outcome("a/s/3#0", 0))
		}, Doubled},
		{"a message and a dead letter for one index", func(r *run) {
			o := *r.outcome("b/s/1#0", 0)
			o.Topic, o.Code = message.TopicDeadLetters, message.CodeMalformed
			r.outcomes = append(r.outcomes, o)
		}, Doubled},
		{"a frame that nobody sent", func(r *run) {
			r.stands(1, &Frame{ID: "b/s/9", Agent: "b", Elements: []Element{{Content: content(9)}}})
		}, Invented},
		{"a frame that was refused", func(r *run) { r.ledger.Refused("a/s/3") }, Invented},
		{"an outcome of no record", func(r *run) { r.outcome("a/s/3#0", 0).Src.Offset = 99 }, Invented},
		{"an index that was not sent", func(r *run) {
			o := *r.outcome("a/s/3#0", 0)
			o.Index, o.ID = 1, "a/s/3#1"
			r.outcomes = append(r.outcomes, o)
		}, Invented},
		{"other bytes in ingest", func(r *run) { r.ingest[0].Contents[0].Body = `{"pending":2}` }, Changed},
		{"another agent in ingest", func(r *run) { r.ingest[0].Agent = "b" }, Changed},
		{"an element less in ingest", func(r *run) { r.ingest[1].Contents = r.ingest[1].Contents[:2] }, Changed},
		{"other bytes in a message", func(r *run) { r.outcome("a/s/3#0", 0).Content.Body = `{"pending":6}` }, Changed},
		{"another time in a message", func(r *run) { r.outcome("a/s/3#0", 0).Content.Time++ }, Changed},
		{"other bytes in a dead letter", func(r *run) { r.outcome("a/s/2#1", 0).Content.Body = `{"a":1}` }, Changed},
		{"a dead letter for another reason", func(r *run) { r.outcome("a/s/2#1", 0).Code = message.CodeTime }, Changed},
		{"a good frame is a dead letter", func(r *run) {
			o := r.outcome("a/s/3#0", 0)
			o.Topic, o.Code = message.TopicDeadLetters, message.CodeMalformed
		}, Changed},
		{"another topic", func(r *run) { r.outcome("a/s/3#0", 0).Topic = "sluice.system_metrics" }, Changed},
		{"another ID", func(r *run) { r.outcome("a/s/3#0", 0).ID = "a/s/4#0" }, Changed},
		{"another agent", func(r *run) { r.outcome("b/s/1#0", 0).Agent = "a" }, Changed},
		{"another count", func(r *run) { r.outcome("a/s/2#0", 0).Count = 2 }, Changed},
		{"two outcomes swapped", func(r *run) { swap(r.outcome("a/s/1#0", 1), r.outcome("a/s/3#0", 0)) }, Disordered},
		{"two indexes swapped", func(r *run) { swap(r.outcome("a/s/2#0", 0), r.outcome("a/s/2#2", 0)) }, Disordered},
		{"an agent on two partitions", func(r *run) { r.outcome("a/s/3#0", 0).Partition = 5 }, Disordered},
		{"two frames swapped in ingest", func(r *run) {
			// The normalizer keeps what the gateway mixed up.
			x := goodRun()
			r.ingest, r.outcomes = nil, nil
			for _, id := range []string{"a/s/2", "a/s/1", "a/s/3"} {
				r.stands(0, x.ledger.frames[id])
			}
			r.stands(1, x.ledger.frames["b/s/1"])
		}, Disordered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := goodRun()
			tt.plant(r)
			v := Pipeline(r.ledger, r.ingest, r.outcomes)
			if v.Count(tt.want) == 0 {
				t.Errorf("got %q, want %s", v, tt.want)
			}
			if !strings.Contains(v.String(), string(tt.want)+": ") {
				t.Errorf("%q does not say %s", v, tt.want)
			}
		})
	}
}

// TestTableFinds plants one fault in the table at a time.
func TestTableFinds(t *testing.T) {
	drop := func(key string) func(*run) {
		return func(r *run) { r.items = slices.DeleteFunc(r.items, func(i Item) bool { return i.Key == key }) }
	}
	tests := []struct {
		name  string
		plant func(*run)
		want  Fault
	}{
		{"an item is missing", drop("a/s/3#0"), Lost},
		{"an item of several is missing", drop("a/s/2#2"), Lost},
		{"a latest item is missing", drop("latest bpending"), Lost},
		{"an acknowledged message is in neither", func(r *run) {
			drop("b/s/1#0")(r)
			drop("latest bpending")(r)
			r.outcomes = slices.DeleteFunc(r.outcomes, func(o Outcome) bool { return o.ID == "b/s/1#0" })
		}, Lost},
		{"a message stands twice", func(r *run) {
			it := *r.item("a/s/3#0")
			it.Key = "a/s/3#0 at another time"
			r.items = append(r.items, it)
		}, Doubled},
		{"a second latest", func(r *run) {
			it := *r.item("latest apending")
			it.Key = "another latest"
			r.items = append(r.items, it)
		}, Doubled},
		{"an item of no message", func(r *run) {
			it := *r.item("a/s/3#0")
			it.ID = "a/s/9#0"
			r.items = append(r.items, it)
		}, Invented},
		{"a dead letter has an item", func(r *run) {
			it := *r.item("a/s/3#0")
			it.ID = "a/s/2#1"
			r.items = append(r.items, it)
		}, Invented},
		{"an older message is the latest", func(r *run) {
			it := *r.item("a/s/2#2")
			it.Key, it.Latest = "latest apending", true
			*r.item(it.Key) = it
		}, Changed},
		{"other bytes", func(r *run) { r.item("a/s/3#0").Content.Body = "{}" }, Changed},
		{"another time", func(r *run) { r.item("a/s/3#0").Event++ }, Changed},
		{"an earlier copy overwrote the later", func(r *run) { r.item("a/s/1#0").Src.Offset = 0 }, Changed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := goodRun()
			tt.plant(r)
			if v := Table(r.ledger, r.outcomes, r.items); v.Count(tt.want) == 0 {
				t.Errorf("got %q, want %s", v, tt.want)
			}
		})
	}
}

func TestLedger(t *testing.T) {
	l := NewLedger()
	at := time.UnixMilli(1000)
	l.Sending(&Frame{ID: "a/s/1", Sent: at})
	l.Sending(&Frame{ID: "a/s/2", Sent: at})
	l.Untaken("a/s/2")
	if l.Acked("a/s/2", at) {
		t.Error("a frame that was not sent is acknowledged")
	}
	for range 2 {
		if !l.Acked("a/s/1", at.Add(time.Second)) {
			t.Error("a frame that was sent is not known")
		}
	}
	if got, want := Summarize(l.Waits()), (Summary{N: 1, Median: time.Second, P99: time.Second, Worst: time.Second, At: at}); got != want {
		t.Errorf("waits: got %v, want %v", got, want)
	}
	if got, ok := l.SentAt("a/s/1"); !ok || !got.Equal(at) {
		t.Errorf("sent at %v, %v", got, ok)
	}
}

func TestBetween(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	ws := []Wait{{at(1), 1}, {at(2), 2}, {at(3), 3}}
	if got := Between(ws, at(2), at(3)); len(got) != 1 || got[0].For != 2 {
		t.Errorf("got %v, want the second", got)
	}
	if got := Between(ws, at(2), time.Time{}); len(got) != 2 {
		t.Errorf("got %v, want the last two", got)
	}
}
