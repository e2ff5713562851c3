package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
	"sluice/message"
)

// produce is a Producer that is a function.
type produce func(r *kafka.Record, promise func(*kafka.Record, error))

func (f produce) TryProduce(r *kafka.Record, promise func(*kafka.Record, error)) { f(r, promise) }

type anybody struct{}

func (anybody) Lookup(token string) (string, error) {
	if token == "bad" {
		return "", ErrUnauthorized
	}
	return token, nil
}
func (anybody) Ready() error       { return nil }
func (anybody) Watch(func(string)) {}

// idle returns a gateway that does not run, whose clock the test sets.
func idle(t testing.TB, p Producer, now *time.Time) *Gateway {
	t.Helper()
	g, err := New(DefaultConfig(), Deps{
		Producer: p, Agents: anybody{}, Log: slog.New(slog.DiscardHandler),
		Protocols: []Enabled{}, Clock: func() time.Time { return *now },
		Rand: strings.NewReader(strings.Repeat("r", 1<<16)), Registerer: prometheus.NewRegistry(), Instance: "gw-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// stored is a Producer that has everything at once.
func stored(frames *[]message.Frame) Producer {
	return produce(func(r *kafka.Record, promise func(*kafka.Record, error)) {
		var f message.Frame
		kafka.Frame(r, &f)
		*frames = append(*frames, f)
		promise(r, nil)
	})
}

func TestOwnFramesOfAConnection(t *testing.T) {
	var frames []message.Frame
	now := time.UnixMilli(1_795_453_669_000)
	g := idle(t, stored(&frames), &now)
	c, err := g.Connect(Opening{Agent: "a", Protocol: "websocket", Session: "s", Done: func(error) {}, End: func(Reason) {}})
	if err != nil {
		t.Fatal(err)
	}
	for bucket := range g.due {
		g.sayAlive(bucket, now) // each has its turn once in 20 s
	}
	c.Close(Lost)
	c.Close(Closed)
	for bucket := range g.due {
		g.sayAlive(bucket, now)
	}
	g.own.flush()
	want := []string{
		`{"event":"connected","connection":"7272727272727272","protocol":"websocket","instance":"gw-1"}`,
		`{"event":"alive","connection":"7272727272727272","protocol":"websocket","instance":"gw-1"}`,
		`{"event":"disconnected","connection":"7272727272727272","protocol":"websocket","instance":"gw-1","reason":"lost"}`,
	}
	if len(frames) != len(want) {
		t.Fatalf("got %d frames, want %d", len(frames), len(want))
	}
	for i, f := range frames {
		if string(f.Value) != want[i] {
			t.Errorf("got  %s\nwant %s", f.Value, want[i])
		}
		id := fmt.Sprintf("a/7272727272727272/%d", i+1)
		if f.ID != id || f.Agent != "a" || f.Protocol != "gateway" || f.ContentType != "application/json" || f.Connection != c.ID() || !f.ReceivedAt.Equal(now) {
			t.Errorf("got %+v, want the ID %s", f, id)
		}
	}
}

func TestAliveIsSpread(t *testing.T) {
	var frames []message.Frame
	now := time.UnixMilli(1_795_453_669_000)
	g := idle(t, stored(&frames), &now)
	for i := range 160 {
		if _, err := g.Connect(Opening{Agent: fmt.Sprint("a", i), Protocol: "websocket"}); err != nil {
			t.Fatal(err)
		}
	}
	for i, conns := range g.due {
		if len(conns) != 2 {
			t.Errorf("turn %d: got %d connections of 160, want 2", i, len(conns))
		}
	}
}

func TestRefusedLoginsAreSummedUp(t *testing.T) {
	var frames []message.Frame
	now := time.UnixMilli(1_795_453_669_000)
	g := idle(t, stored(&frames), &now)
	turn := func() {
		g.own.sumUp(g.instance, now)
		g.own.flush()
	}
	for range 3 {
		if _, err := g.Login("rest", "bad"); !errors.Is(err, ErrUnauthorized) {
			t.Fatalf("got %v, want ErrUnauthorized", err)
		}
	}
	_, _ = g.Login("rest", "")
	turn()
	for range 10 { // a second's worth of turns
		_, _ = g.Login("rest", "")
		now = now.Add(90 * time.Millisecond)
		turn()
	}
	if len(frames) != 1 {
		t.Fatalf("got %d frames in a second, want 1", len(frames))
	}
	now = now.Add(100 * time.Millisecond)
	turn()
	turn()
	want := []string{
		`{"event":"refused","instance":"gw-1","since":1795453669000,"reasons":[{"reason":"bad_token","count":3},{"reason":"no_token","count":1}]}`,
		`{"event":"refused","instance":"gw-1","since":1795453669000,"reasons":[{"reason":"no_token","count":10}]}`,
	}
	if len(frames) != len(want) {
		t.Fatalf("got %d frames, want %d", len(frames), len(want))
	}
	for i, f := range frames {
		if string(f.Value) != want[i] || f.Agent != "_gateway" || !strings.HasPrefix(f.ID, "_gateway/gw-1/") {
			t.Errorf("got %s of %s:\n     %s\nwant %s", f.ID, f.Agent, f.Value, want[i])
		}
	}
	if frames[0].ID == frames[1].ID {
		t.Errorf("got the ID %s twice", frames[0].ID)
	}
}

func TestOwnFramesAreTriedAgain(t *testing.T) {
	tries := map[string]int{}
	now := time.UnixMilli(1_795_453_669_000)
	g := idle(t, produce(func(r *kafka.Record, promise func(*kafka.Record, error)) {
		id := string(r.Headers[0].Value)
		if tries[id]++; id == "a/c/1" && tries[id] == 3 {
			promise(r, nil)
			return
		}
		promise(r, errors.New("no"))
	}), &now)
	var dropped []string
	g.own.dropped = func(why string) { dropped = append(dropped, why) }
	g.own.add("a", "a/c/1", event{Event: "connected"}, now)
	g.own.add("a", "a/c/2", event{Event: "alive"}, now)
	for range 10 {
		g.own.flush()
	}
	if want := map[string]int{"a/c/1": 3, "a/c/2": ownTries}; !reflect.DeepEqual(tries, want) {
		t.Errorf("got tries %v, want %v", tries, want)
	}
	if want := []string{"failed"}; !reflect.DeepEqual(dropped, want) {
		t.Errorf("got dropped %v, want %v", dropped, want)
	}
	if !g.own.idle() || g.ages.oldest(now.Add(time.Hour)) != 0 {
		t.Error("something is left")
	}
}

func TestOwnFramesAreBounded(t *testing.T) {
	held := 0
	now := time.UnixMilli(1_795_453_669_000)
	g := idle(t, produce(func(*kafka.Record, func(*kafka.Record, error)) { held++ }), &now)
	dropped := 0
	g.own.dropped = func(string) { dropped++ }
	for i := range g.own.most + 5 {
		g.own.add("a", fmt.Sprint("a/c/", i), event{Event: "alive"}, now)
	}
	if dropped != 5 {
		t.Errorf("got %d dropped and counted, want 5", dropped)
	}
	for range 10 {
		g.own.flush()
	}
	if held != ownInFlight {
		t.Errorf("got %d in flight, want %d", held, ownInFlight)
	}
	before := g.own.waiting()
	if _, err := g.Connect(Opening{Agent: "a"}); err != nil {
		t.Fatal(err)
	}
	for bucket := range g.due {
		g.sayAlive(bucket, now)
	}
	if got := g.own.waiting(); got != before+1 {
		t.Errorf("got %d waiting, want one more than %d: no alive while there is a backlog", got, before)
	}
}

// Every reason and event is text that the decoder of these frames reads back.
func TestEventReadsBack(t *testing.T) {
	e := event{Event: "disconnected", Connection: "c", Protocol: "p", Instance: "i", Reason: string(NotStored)}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var got event
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("got %+v, %v, want %+v", got, err, e)
	}
}

func TestWindowIsAShareOfTheBudget(t *testing.T) {
	var frames []message.Frame
	now := time.UnixMilli(1_795_453_669_000)
	g := idle(t, stored(&frames), &now)
	windows := map[int]int{}
	for i := 1; i <= 20_000; i++ {
		c, err := g.Connect(Opening{Agent: fmt.Sprint("a", i)})
		if err != nil {
			g.rand = strings.NewReader(strings.Repeat("r", 1<<16))
			i--
			continue
		}
		windows[i] = c.Window()
	}
	for n, want := range map[int]int{1: 1024, 42: 1024, 100: 436, 1000: 43, 20_000: 8} {
		if got := windows[n]; got != want {
			t.Errorf("connection %d: got a window of %d, want %d", n, got, want)
		}
	}
}
