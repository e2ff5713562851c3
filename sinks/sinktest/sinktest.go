package sinktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/message"
	"sluice/sinks"
)

// Harness is a place for messages, empty at first, and the sink that writes
// there.
type Harness struct {
	// New returns another sink, not open, that writes to the place.
	New func() sinks.Sink
	// Read returns what the place holds: one Item for each message each time it
	// is there, in any order, but not what the sink derives, such as latest rows.
	Read func() []Item
	// Reject, if not nil, changes a message so that the sink must reject it. Nil
	// is for sinks that can write every message.
	Reject func(m *message.Message)
}

// Item is one message as a place holds it.
type Item struct {
	// ID is the message ID.
	ID string
	// Data is the rest as text, such as the row in JSON with its names sorted. It
	// is a function of the message, not of when or how often it was written.
	Data string
}

// Run tests a sink. It calls start for every test, with that test's t, for a
// place of its own.
func Run(t *testing.T, start func(t *testing.T) Harness) {
	tests := []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"empty batch", emptyBatch},
		{"writes", writes},
		{"the same batch again", again},
		{"the same message twice in a batch", twice},
		{"batches that overlap", overlap},
		{"the batch is not kept", notKept},
		{"context ended", contextEnded},
		{"reopened", reopened},
		{"never opened", neverOpened},
		{"rejected", rejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, start(t)) })
	}
	t.Run("any order and any number of times", func(t *testing.T) { permuted(t, start) })
}

// patience is how long one call of a sink may take.
const patience = time.Minute

// open returns an open sink that is closed at the end of the test.
func (h Harness) open(t *testing.T) sinks.Sink {
	t.Helper()
	s, end := h.session(t)
	t.Cleanup(end)
	return s
}

// session returns an open sink and the function that closes it.
func (h Harness) session(t *testing.T) (sinks.Sink, func()) {
	t.Helper()
	s := h.New()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Open(ctx); err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s, func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func try(t *testing.T, s sinks.Sink, batch []message.Message) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Write(ctx, clone(batch))
}

func write(t *testing.T, s sinks.Sink, batch []message.Message) {
	t.Helper()
	if err := try(t, s, batch); err != nil {
		t.Fatalf("Write of %d messages: %v", len(batch), err)
	}
}

// holds checks that the place holds exactly these messages, each once.
func (h Harness) holds(t *testing.T, want []message.Message) {
	t.Helper()
	var got, ids []string
	for _, item := range h.Read() {
		got = append(got, item.ID)
	}
	for i := range want {
		ids = append(ids, want[i].ID)
	}
	slices.Sort(got)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if slices.Equal(got, ids) {
		return
	}
	count := map[string]int{}
	for _, id := range got {
		count[id]++
	}
	var wrong []string
	for _, id := range ids {
		if n := count[id]; n != 1 {
			wrong = append(wrong, fmt.Sprintf("%s is there %d times", id, n))
		}
		delete(count, id)
	}
	for id := range count {
		wrong = append(wrong, id+" was not to be there")
	}
	slices.Sort(wrong)
	t.Fatalf("got %d items, want %d: %s", len(got), len(ids), strings.Join(wrong[:min(len(wrong), 5)], "; "))
}

func emptyBatch(t *testing.T, h Harness) {
	s := h.open(t)
	write(t, s, nil)
	write(t, s, []message.Message{})
	h.holds(t, nil)
}

func writes(t *testing.T, h Harness) {
	s := h.open(t)
	ms := Messages(t, 200)
	write(t, s, ms[:1])
	h.holds(t, ms[:1])
	write(t, s, ms[1:150])
	h.holds(t, ms[:150])
	write(t, s, ms[150:])
	// Durable is what Write says, not what Close does.
	h.holds(t, ms)
}

func again(t *testing.T, h Harness) {
	s := h.open(t)
	ms := Messages(t, 60)
	for range 3 {
		write(t, s, ms)
	}
	h.holds(t, ms)
}

func twice(t *testing.T, h Harness) {
	s := h.open(t)
	ms := Messages(t, 20)
	write(t, s, slices.Concat(ms[:10], ms[5:], ms[:1]))
	h.holds(t, ms)
}

func overlap(t *testing.T, h Harness) {
	s := h.open(t)
	ms := Messages(t, 100)
	for from := 0; from+30 <= len(ms); from += 10 {
		write(t, s, ms[from:from+30])
	}
	write(t, s, ms[40:])
	h.holds(t, ms)
}

func notKept(t *testing.T, h Harness) {
	s := h.open(t)
	ms := Messages(t, 40)
	batch := clone(ms)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Write(ctx, batch); err != nil {
		t.Fatal(err)
	}
	before := sorted(h.Read())
	for i := range batch {
		for j := range batch[i].Avro {
			batch[i].Avro[j] = 0xFF
		}
		for name := range batch[i].Body {
			batch[i].Body[name] = "overwritten"
		}
		batch[i] = message.Message{ID: "overwritten"}
	}
	write(t, s, ms[:1])
	if after := sorted(h.Read()); !slices.Equal(before, after) {
		t.Error("what is there changed with the batch after Write returned")
	}
	h.holds(t, ms)
}

func contextEnded(t *testing.T, h Harness) {
	s := h.open(t)
	ms := Messages(t, 50)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	began := time.Now()
	// What it returns is not looked at, and it may have written any part.
	_ = s.Write(ctx, clone(ms))
	if took := time.Since(began); took > patience/2 {
		t.Errorf("Write took %s although its context had ended", took)
	}
	write(t, s, ms)
	h.holds(t, ms)
}

func reopened(t *testing.T, h Harness) {
	ms := Messages(t, 90)
	s, end := h.session(t)
	write(t, s, ms[:60])
	end()
	h.holds(t, ms[:60])
	s, end = h.session(t)
	h.holds(t, ms[:60])
	write(t, s, ms[30:])
	end()
	h.holds(t, ms)
}

func neverOpened(t *testing.T, h Harness) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.New().Close(ctx); err != nil {
		t.Errorf("Close of a sink that was never open: %v", err)
	}
	h.holds(t, nil)
}

func rejected(t *testing.T, h Harness) {
	if h.Reject == nil {
		return
	}
	ms := Messages(t, 30)
	tests := []struct {
		name string
		bad  []int
	}{
		{"the first", []int{0}},
		{"the last", []int{9}},
		{"two", []int{3, 4}},
		{"all", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
	}
	s := h.open(t)
	var want []message.Message
	for i, tt := range tests {
		batch := clone(Messages(t, 10*(i+1))[10*i:])
		for j := range batch {
			if slices.Contains(tt.bad, j) {
				h.Reject(&batch[j])
			} else {
				want = append(want, batch[j])
			}
		}
		err := try(t, s, batch)
		got, ok := sinks.Rejections(err, len(batch))
		if err == nil || !ok {
			t.Fatalf("%s: got %v, want *Rejected and nothing else", tt.name, err)
		}
		var bad []int
		for _, r := range got {
			bad = append(bad, r.Index)
			if !slices.Contains(message.Codes, r.Code) || r.Reason == "" {
				t.Errorf("%s: got code %q and reason %q, want a code of the list and a sentence", tt.name, r.Code, r.Reason)
			}
		}
		if !slices.Equal(bad, tt.bad) {
			t.Errorf("%s: got rejections of %v, want %v", tt.name, bad, tt.bad)
		}
		h.holds(t, want)
	}
	// It has not upset the sink.
	write(t, s, ms[:1])
}

// permuted writes the same messages in order, and shuffled into batches that
// repeat some: the two places must hold the same.
func permuted(t *testing.T, start func(*testing.T) Harness) {
	ms := Messages(t, 150)
	var want []Item
	t.Run("in order", func(t *testing.T) {
		h := start(t)
		s, end := h.session(t)
		for batch := range slices.Chunk(ms, 40) {
			write(t, s, batch)
		}
		end()
		h.holds(t, ms)
		want = sorted(h.Read())
	})
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			mixed := slices.Concat(ms, ms[:len(ms)/2], ms[len(ms)/3:])
			r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			h := start(t)
			s, end := h.session(t)
			for len(mixed) > 0 {
				n := min(1+r.IntN(60), len(mixed))
				write(t, s, mixed[:n])
				mixed = mixed[n:]
				if r.IntN(4) == 0 {
					end()
					s, end = h.session(t)
				}
			}
			end()
			if got := sorted(h.Read()); !slices.Equal(got, want) {
				t.Errorf("got %d items, want the %d that writing in order gives", len(got), len(want))
			}
		})
	}
}

func sorted(items []Item) []Item {
	slices.SortFunc(items, func(a, b Item) int {
		if c := strings.Compare(a.ID, b.ID); c != 0 {
			return c
		}
		return strings.Compare(a.Data, b.Data)
	})
	return items
}
