package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wait waits until ok.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func TestRegistryAndAgents(t *testing.T) {
	k := kafkatest.New(t)
	log := slog.New(slog.DiscardHandler)
	p, err := k.NewProducer(kafka.ProducerOptions{}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx := t.Context()
	created := time.Date(2026, 11, 23, 19, 0, 0, 123, time.UTC)
	r := &Registry{Kafka: k, Producer: p, Log: log, Clock: func() time.Time { return created }, Rand: rand.Reader}

	early, err := r.Add(ctx, "early")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^tsk_[A-Za-z0-9_-]{43}$`).MatchString(early) {
		t.Errorf("got the token %q", early)
	}
	// What nobody can read stops nobody.
	if err := p.Produce(ctx, &kafka.Record{Topic: message.TopicAgents, Key: []byte("broken"), Value: []byte("{")}); err != nil {
		t.Fatal(err)
	}

	a := NewAgents(k, log)
	if a.Ready() == nil {
		t.Error("ready before anything was read")
	}
	var mu sync.Mutex
	var gone []string
	a.Watch(func(name string) {
		mu.Lock()
		defer mu.Unlock()
		gone = append(gone, name)
	})
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(running) }()
	wait(t, "the agents to be read", func() bool { return a.Ready() == nil })
	if got, err := a.Lookup(early); got != "early" || err != nil {
		t.Errorf("got %q, %v, want early, as soon as it is ready", got, err)
	}

	late, err := r.Add(ctx, "late")
	if err != nil {
		t.Fatal(err)
	}
	known := func(token, name string) func() bool {
		return func() bool { got, err := a.Lookup(token); return err == nil && got == name }
	}
	wait(t, "an agent added meanwhile", known(late, "late"))

	if _, err := r.Add(ctx, "late"); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "late") {
		t.Errorf("added twice: got %v, want ErrExists", err)
	}
	for _, name := range []string{"", "_gateway", "a/b", strings.Repeat("x", 129)} {
		if _, err := r.Add(ctx, name); err == nil {
			t.Errorf("added an agent called %q", name)
		}
	}

	const given = "given-token-of-some-length"
	for range 2 {
		if err := r.Put(ctx, "put", given); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Put(ctx, "put", "short"); err == nil {
		t.Error("took a token of 5 bytes")
	}
	wait(t, "an agent that was put", known(given, "put"))
	count := 0
	for _, rec := range kafkatest.Read(t, k, message.TopicAgents) {
		if string(rec.Key) == "put" {
			count++
		}
		if strings.Contains(string(rec.Value), early) || strings.Contains(string(rec.Value), given) {
			t.Error("a token stands in Kafka")
		}
	}
	if count != 1 {
		t.Errorf("got %d records of an agent put twice, want 1", count)
	}

	list, err := r.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
		if len(e.Tokens) != 1 || !e.Created.Equal(created.Truncate(time.Second)) {
			t.Errorf("got entry %+v", e)
		}
	}
	if want := []string{"early", "late", "put"}; !slices.Equal(names, want) {
		t.Errorf("got agents %v, want %v", names, want)
	}

	if err := r.Put(ctx, "put", given+"-new"); err != nil {
		t.Fatal(err)
	}
	wait(t, "the new token", known(given+"-new", "put"))
	if err := r.Remove(ctx, "early"); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(ctx, "nobody"); !errors.Is(err, ErrNoAgent) {
		t.Errorf("got %v, want ErrNoAgent", err)
	}
	wait(t, "the removal", func() bool { _, err := a.Lookup(early); return errors.Is(err, ErrUnauthorized) })
	for _, token := range []string{given, "", "tsk_"} {
		if got, err := a.Lookup(token); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("token %q: got %q, %v, want ErrUnauthorized", token, got, err)
		}
	}
	mu.Lock()
	if want := []string{"put", "early"}; !slices.Equal(gone, want) {
		t.Errorf("got %v reported gone, want %v", gone, want)
	}
	mu.Unlock()
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestTable(t *testing.T) {
	one, two := digestOf("one").String(), digestOf("two").String()
	tests := []struct {
		name    string
		entries []string // key=value; no value is a removal
		want    map[string]string
		lost    bool // by the last entry
		fails   bool
	}{
		{"one token", []string{`a={"tokens":["` + one + `"]}`}, map[string]string{"one": "a"}, false, false},
		{"two tokens", []string{`a={"tokens":["` + one + `","` + two + `"]}`}, map[string]string{"one": "a", "two": "a"}, false, false},
		{"a token more", []string{`a={"tokens":["` + one + `"]}`, `a={"tokens":["` + one + `","` + two + `"]}`}, map[string]string{"one": "a", "two": "a"}, false, false},
		{"another token", []string{`a={"tokens":["` + one + `"]}`, `a={"tokens":["` + two + `"]}`}, map[string]string{"two": "a"}, true, false},
		{"removed", []string{`a={"tokens":["` + one + `"]}`, `a`}, map[string]string{}, true, false},
		{"removed, never there", []string{`a`}, map[string]string{}, false, false},
		{"banned", []string{`a={"tokens":["` + one + `"]}`, `a={"tokens":["` + one + `"],"banned":true}`}, map[string]string{"one": "banned"}, true, false},
		{"pardoned", []string{`a={"tokens":["` + one + `"],"banned":true}`, `a={"tokens":["` + one + `"]}`}, map[string]string{"one": "a"}, false, false},
		{"somebody else's token", []string{`a={"tokens":["` + one + `"]}`, `b={"tokens":["` + one + `"]}`}, map[string]string{"one": "a"}, false, true},
		{"not a digest", []string{`a={"tokens":["` + one + `"]}`, `a={"tokens":["one"]}`}, map[string]string{"one": "a"}, false, true},
		{"not json", []string{`a={"tokens":["` + one + `"]}`, `a={`}, map[string]string{"one": "a"}, false, true},
		{"a name that cannot be", []string{`_gateway={"tokens":["` + one + `"]}`}, map[string]string{}, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAgents(kafka.Config{}, slog.New(slog.DiscardHandler))
			var lost bool
			var err error
			for _, e := range tt.entries {
				key, value, ok := strings.Cut(e, "=")
				r := &kafka.Record{Key: []byte(key)}
				if ok {
					r.Value = []byte(value)
				}
				lost, err = a.table.apply(r)
			}
			got := map[string]string{}
			for _, token := range []string{"one", "two"} {
				switch agent, err := a.Lookup(token); {
				case err == nil:
					got[token] = agent
				case errors.Is(err, ErrBanned):
					got[token] = "banned"
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if lost != tt.lost || (err != nil) != tt.fails {
				t.Errorf("got lost %v, error %v, want %v, %v", lost, err, tt.lost, tt.fails)
			}
		})
	}
}

// A table that was read anew replaces the old one, and tells who is not in it.
func TestReplace(t *testing.T) {
	a := NewAgents(kafka.Config{}, slog.New(slog.DiscardHandler))
	entry := func(t *table, key, token string) {
		if _, err := t.apply(&kafka.Record{Key: []byte(key), Value: []byte(`{"tokens":["` + digestOf(token).String() + `"]}`)}); err != nil {
			panic(err)
		}
	}
	entry(a.table, "stays", "one")
	entry(a.table, "goes", "two")
	var gone []string
	a.Watch(func(name string) { gone = append(gone, name) })
	next := newTable()
	entry(next, "stays", "one")
	a.replace(next)
	if want := []string{"goes"}; !slices.Equal(gone, want) {
		t.Errorf("got %v reported gone, want %v", gone, want)
	}
}
