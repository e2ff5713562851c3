package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/message"
	"sluice/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 45 * time.Second

type body = map[string]any

// bench is a dashboard under test and what feeds it.
type bench struct {
	*Sink
	t      *testing.T
	caught atomic.Bool
	offset int64
}

// newBench returns an open dashboard on a free port of this machine.
func newBench(t *testing.T, change func(*Settings)) *bench {
	t.Helper()
	b := &bench{t: t}
	b.caught.Store(true)
	s := DefaultSettings()
	s.Listen, s.Hz = "127.0.0.1:0", 10
	if change != nil {
		change(&s)
	}
	d, err := New(s, env(b.caught.Load))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Sink = d
	t.Cleanup(b.shut)
	return b
}

func env(caught func() bool) sinks.Env {
	return sinks.Env{Name: "dashboard", Log: slog.New(slog.DiscardHandler), Clock: time.Now, Caught: caught}
}

// shut closes the dashboard.
func (b *bench) shut() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		b.t.Errorf("Close: %v", err)
	}
}

// url returns the address of a path.
func (b *bench) url(path string) string { return "http://" + b.Addr().String() + path }

// msg returns a message received just now.
func (b *bench) msg(agent, typ, kind string, fields body) message.Message {
	b.offset++
	return message.Message{
		ID: fmt.Sprintf("%s/s/%d#0", agent, b.offset), Agent: agent, Node: agent, Type: typ, Kind: kind, Network: "1", Genesis: "0xd4e5",
		ReceivedAt: time.Now().Truncate(time.Millisecond), Src: message.Source{Offset: b.offset}, Body: fields,
	}
}

// block returns a message about a block.
func (b *bench) block(agent string, number int64) message.Message {
	return b.msg(agent, "ethereum_metrics", "block", body{"number": number, "hash": fmt.Sprintf("0x%064x", number)})
}

// write gives the dashboard a batch.
func (b *bench) write(batch ...message.Message) {
	b.t.Helper()
	if err := b.Write(b.t.Context(), batch); err != nil {
		b.t.Fatalf("Write: %v", err)
	}
}

// get asks for a path, with changes to the request, and returns the answer.
func (b *bench) get(path string, change func(*http.Request)) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url(path), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(text)
}

// await polls until ok is true.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func decode[T any](t *testing.T, s string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("decode %q: %v", s, err)
	}
	return v
}
