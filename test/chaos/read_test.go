package chaos

import (
	"context"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
	"sluice/normalizer"
	"sluice/schemas"
	"sluice/test/chaos/judge"
)

// readAll reads topics to their end with a client of its own, without a group,
// read_committed.
func (in *installation) readAll(each func(*kafka.Record), topics ...string) {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(in.t.Context(), 2*time.Minute)
	defer cancel()
	r, err := in.kafka.Range(ctx, time.Time{}, quiet, topics...)
	if err != nil {
		in.t.Fatal(err)
	}
	err = in.kafka.Follow(ctx, kafka.FollowOptions{Range: r, Bounded: true, Max: 5000}, quiet, func(_ context.Context, rs []*kafka.Record) error {
		for _, r := range rs {
			each(r)
		}
		return nil
	})
	if err != nil {
		in.t.Fatal(err)
	}
}

// ingested returns all that stands in ingest.
func (in *installation) ingested() []judge.Ingested {
	in.t.Helper()
	var all []judge.Ingested
	in.readAll(func(r *kafka.Record) {
		var f message.Frame
		kafka.Frame(r, &f)
		cs, err := contents(f.ContentType, f.Value)
		if err != nil {
			in.t.Errorf("frame %s at %s of ingest cannot be read: %v", f.ID, f.Src, err)
		}
		all = append(all, judge.Ingested{Src: f.Src, ID: f.ID, Agent: f.Agent, Own: f.Protocol == "gateway", Contents: cs})
	}, message.TopicIngest)
	return all
}

// outcomes returns all that the normalizer made, each partition in order.
func (in *installation) outcomes() []judge.Outcome {
	in.t.Helper()
	set, err := schemas.Load("")
	if err != nil {
		in.t.Fatal(err)
	}
	reader := schemas.NewReader(set)
	var all []judge.Outcome
	in.readAll(func(r *kafka.Record) {
		if r.Topic == message.TopicDeadLetters {
			if d := kafka.DeadLetter(r); d.Stage == normalizer.Stage {
				all = append(all, in.letter(r, &d))
			} else {
				in.t.Errorf("a dead letter of %s: %s %s", d.Stage, d.ID, d.Reason)
			}
			return
		}
		var m message.Message
		kafka.Message(r, &m)
		id := m.ID
		if err := reader.Read(r.Value, &m, true); err != nil {
			in.t.Errorf("%s/%d@%d cannot be read: %v", r.Topic, r.Partition, r.Offset, err)
			return
		}
		if m.ID != id || m.Agent != string(r.Key) {
			in.t.Errorf("%s/%d@%d: %s of %s inside, %s of %s outside", r.Topic, r.Partition, r.Offset, m.ID, m.Agent, id, r.Key)
		}
		o := judge.Outcome{
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, ID: m.ID, Agent: m.Agent, Node: m.Node,
			Src: m.Src, Index: m.Index, Count: m.Count, Event: m.EventTime().UnixMilli(),
			Content: judge.Content{Type: m.Type, Kind: m.Kind, Body: canonical(m.Body)},
		}
		if !m.ObservedAt.IsZero() {
			o.Content.Time = m.ObservedAt.UnixMilli()
		}
		all = append(all, o)
	}, append(topics(), message.TopicDeadLetters)...)
	return all
}

func (in *installation) letter(r *kafka.Record, d *message.DeadLetter) judge.Outcome {
	in.t.Helper()
	o := judge.Outcome{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, ID: d.ID, Agent: d.Agent, Node: d.Agent,
		Src: d.Src, Index: d.Index, Count: d.Count, Code: d.Code,
	}
	cs, err := contents(d.ContentType, d.Value)
	if err != nil || len(cs) != 1 {
		in.t.Errorf("dead letter %s holds %d elements, want one: %v", d.ID, len(cs), err)
		return o
	}
	o.Content = cs[0]
	return o
}

// judgeAll holds all that stands in Kafka, and in the table if there is one, to
// the ledger. Nothing runs any more but Kafka.
func (in *installation) judgeAll(l *judge.Ledger) []judge.Outcome {
	in.t.Helper()
	ingest, outcomes := in.ingested(), in.outcomes()
	sent, acked := l.Counts()
	if acked != sent {
		in.t.Errorf("%d of %d frames were acknowledged in the end", acked, sent)
	}
	letters := 0
	for i := range outcomes {
		if outcomes[i].Code != "" {
			letters++
		}
	}
	in.t.Logf("%d frames sent, %d acknowledged; %d records in ingest, %d messages, %d dead letters", sent, acked, len(ingest), len(outcomes)-letters, letters)
	v := judge.Pipeline(l, ingest, outcomes)
	in.t.Logf("Kafka: %s", v)
	if !v.Good() {
		in.t.Error("the pipeline broke its word")
	}
	if in.table != nil {
		items := in.table.items(in.t)
		v := judge.Table(l, outcomes, items)
		in.t.Logf("table: %d items; %s", len(items), v)
		if !v.Good() {
			in.t.Error("the sink broke its word")
		}
	}
	return outcomes
}
