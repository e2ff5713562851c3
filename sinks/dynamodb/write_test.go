package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/message"
	"sluice/sinks/sinktest"
)

// latestWins writes versions of one latest item, one after another, and checks
// which stands there.
func latestWins(t *testing.T, s *Sink, read func(key) string) {
	t.Helper()
	base := sinktest.Messages(t, 1)[0]
	at := base.ObservedAt
	make := func(id string, d time.Duration, offset int64, index int) message.Message {
		m := base
		m.ID, m.ObservedAt, m.Src.Offset, m.Index = id, at.Add(d), offset, index
		return m
	}
	steps := []struct {
		name  string
		batch []message.Message
		want  string
	}{
		{"first", []message.Message{make("b", 0, 10, 1)}, "b"},
		{"an earlier event", []message.Message{make("a", -time.Millisecond, 99, 9)}, "b"},
		{"an earlier place", []message.Message{make("c", 0, 9, 9)}, "b"},
		{"an earlier index", []message.Message{make("d", 0, 10, 0)}, "b"},
		{"a correction", []message.Message{make("corrected", 0, 10, 1)}, "corrected"},
		{"a later index", []message.Message{make("e", 0, 10, 2)}, "e"},
		{"a later place", []message.Message{make("f", 0, 11, 0)}, "f"},
		{"a later event, earlier in ingest", []message.Message{make("g", time.Millisecond, 2, 0)}, "g"},
		{"several, the latest in the middle", []message.Message{make("h", 2*time.Millisecond, 0, 0), make("i", 9*time.Millisecond, 0, 0), make("j", 3*time.Millisecond, 99, 0)}, "i"},
		{"two equal", []message.Message{make("k", 9*time.Millisecond, 1, 0), make("l", 9*time.Millisecond, 1, 0)}, "l"},
		{"all again, backwards", []message.Message{make("l", 9*time.Millisecond, 1, 0), make("e", 0, 10, 2), make("b", 0, 10, 1)}, "l"},
	}
	for _, st := range steps {
		if err := s.Write(t.Context(), st.batch); err != nil {
			t.Fatalf("%s: %v", st.name, err)
		}
		if got := read(latestKey(&base)); got != st.want {
			t.Errorf("%s: got %s as the latest, want %s", st.name, got, st.want)
		}
	}
}

func TestLatest(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	latestWins(t, s, func(k key) string {
		f.mu.Lock()
		defer f.mu.Unlock()
		id, _ := f.items[k.pk+"\n"+k.sk]["id"]["S"].(string)
		return id
	})
	if got := count(t, s.meters.misses); got != 3 {
		t.Errorf("got %v conditional misses counted, want 3", got)
	}

	// Of a batch, the newest of each node and kind is all that is put.
	f = newFake(t)
	s = opened(t, f.URL, func(c *Config) { c.TTL = time.Hour })
	ms := sinktest.Messages(t, 300)
	want := map[key]message.Message{}
	for _, m := range ms {
		if old, there := want[latestKey(&m)]; !there || m.Supersedes(&old) {
			want[latestKey(&m)] = m
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
	if err := s.Write(t.Context(), ms); err != nil {
		t.Fatal(err)
	}
	if got := f.count("PutItem"); got != len(want) {
		t.Errorf("got %d puts, want %d", got, len(want))
	}
	latest := f.all(true)
	if len(latest) != len(want) {
		t.Errorf("got %d latest items, want %d", len(latest), len(want))
	}
	for _, it := range latest {
		m := want[key{it["pk"]["S"].(string), it["sk"]["S"].(string)}]
		if it["id"]["S"] != m.ID || it["expires"] != nil {
			t.Errorf("got latest item %v, want that of %s, which does not expire", it, m.ID)
		}
	}

	f = newFake(t)
	s = opened(t, f.URL, func(c *Config) { c.Latest = false })
	if err := s.Write(t.Context(), ms); err != nil {
		t.Fatal(err)
	}
	if got := len(f.all(true)) + f.count("PutItem"); got != 0 {
		t.Errorf("got %d latest items and puts, want none without latest", got)
	}
}

func TestUnprocessed(t *testing.T) {
	f := newFake(t)
	gave := 0
	f.back = func(call, n int) int { // called under the fake's lock
		if call%5 == 0 {
			return 0
		}
		n = n * (call % 5) / 4
		gave += n
		return n
	}
	s := opened(t, f.URL)
	ms := sinktest.Messages(t, 200)
	if err := s.Write(t.Context(), slices.Clone(ms)); err != nil {
		t.Fatal(err)
	}
	if got := len(f.all(false)); got != len(ms) {
		t.Errorf("got %d items, want %d", got, len(ms))
	}
	if got := count(t, s.meters.unprocessed); gave == 0 || got != float64(gave) {
		t.Errorf("got %v unprocessed items counted, want %d", got, gave)
	}
}

// TestUnprocessedWithoutEnd checks that Write goes on for as long as its context
// lasts, and no longer.
func TestUnprocessedWithoutEnd(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.back = func(call, n int) int {
		if call == 40 {
			cancel()
		}
		return n
	}
	s := opened(t, f.URL)
	s.longest = time.Millisecond
	if err := s.Write(ctx, sinktest.Messages(t, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if got := f.count("BatchWriteItem"); got != 40 {
		t.Errorf("got %d requests, want 40", got)
	}
}

// TestUnknownGivenBack checks that what the sink did not send, and so cannot send
// again, does not pass for written.
func TestUnknownGivenBack(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	f.answer = func(op string, _ int, _ []byte) *reply {
		if op == "BatchWriteItem" {
			return &reply{200, `{"UnprocessedItems":{"sluice":[{"PutRequest":{"Item":{"pk":{"S":"x"},"sk":{"S":"y"}}}}]}}`}
		}
		return nil
	}
	held(t, s.Write(t.Context(), sinktest.Messages(t, 10)))
}

// failing lists what DynamoDB says when nothing is wrong with a message. Each is
// held: the batch comes again.
var failing = []struct {
	name string
	*reply
	want   string // the end of the error
	passes bool   // and is worth another try at once
}{
	{"throughput", failure(400, "ProvisionedThroughputExceededException", "slow down"), ": slow down; the table or the account is at its limit: check its capacity", true},
	{"throttling", failure(400, "ThrottlingException", "slow down"), ": slow down; the table or the account is at its limit: check its capacity", true},
	{"requests", failure(400, "RequestLimitExceeded", "slow down"), ": slow down; the table or the account is at its limit: check its capacity", true},
	{"limit", failure(400, "LimitExceeded", "slow down"), ": slow down; the table or the account is at its limit: check its capacity", true},
	{"too many", failure(429, "Unheard", "slow down"), ": slow down; the table or the account is at its limit: check its capacity", true},
	{"internal error", failure(500, "InternalServerError", "oops"), "InternalServerError: oops", true},
	{"unavailable", &reply{503, "<html>"}, "", true},
	{"wrong key", failure(400, "UnrecognizedClientException", "The security token included in the request is invalid."), "is invalid.; check the access key, profile and region", false},
	{"wrong secret", failure(400, "InvalidSignatureException", "The request signature"), "; check the access key, profile and region", false},
	{"expired", failure(400, "ExpiredTokenException", "The security token included in the request is expired"), "is expired; renew the credentials", false},
	{"denied", failure(400, "AccessDeniedException", "User: x is not authorized"), "on the table (docs/dynamodb.md has the policy)", false},
	{"absent", failure(400, "ResourceNotFoundException", "Requested resource not found"), "not found; check table and region, or set create: true", false},
	{"unheard", failure(400, "SomethingNewException", "who knows"), "SomethingNewException: who knows", false},
	{"serialization", failure(400, "SerializationException", "what?"), "SerializationException: what?", false},
	{"not DynamoDB", &reply{200, "<html>"}, "", false},
	{"not DynamoDB, not found", &reply{404, "<html>"}, "", false},
}

func TestHeld(t *testing.T) {
	ms := sinktest.Messages(t, 60)
	for _, op := range []string{"BatchWriteItem", "PutItem", "DescribeTable"} {
		for _, tt := range failing {
			if op == "DescribeTable" && tt.name == "absent" {
				continue // then it is made
			}
			t.Run(op+"/"+tt.name, func(t *testing.T) {
				f := newFake(t)
				s := sinkFor(t, f.URL)
				defer s.disconnect()
				write := func() error {
					if err := s.Open(t.Context()); err != nil {
						return err
					}
					return s.Write(t.Context(), slices.Clone(ms))
				}
				broken := func(o string, _ int, _ []byte) *reply {
					if o == op {
						return tt.reply
					}
					return nil
				}
				f.answers(broken)
				err := write()
				held(t, err)
				if prefix := op + " on table sluice: "; !strings.Contains(err.Error(), prefix) || !strings.HasSuffix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %q, want %q in it and %q at its end", err, prefix, tt.want)
				}
				if strings.HasSuffix(tt.want, "capacity") != (count(t, s.meters.throttles) > 0) {
					t.Errorf("got %v throttles counted", count(t, s.meters.throttles))
				}
				if tt.passes && op != "DescribeTable" {
					// A few of them in between are nothing that the runner hears of.
					f.answers(func(o string, n int, body []byte) *reply {
						if n%7 < 2 {
							return broken(o, n, body)
						}
						return nil
					})
				} else {
					f.answers(nil)
				}
				for try := 0; ; try++ {
					if err := write(); err == nil {
						break
					} else if try == 20 {
						t.Fatalf("still %v", err)
					}
				}
				if got := len(f.all(false)); got != len(ms) {
					t.Errorf("got %d items after it, want %d", got, len(ms))
				}
			})
		}
	}
}

// TestCutAfterApplied cuts connections after their request was carried out: the
// request is sent again, and the table is what it is without.
func TestCutAfterApplied(t *testing.T) {
	ms := sinktest.Messages(t, 120)
	tables := make([][]sinktest.Item, 2)
	for i := range tables {
		f := newFake(t)
		s := opened(t, f.URL)
		if i == 1 {
			seen := map[string]bool{}
			f.cut = func(op string, body []byte) bool { // called under the fake's lock
				v := jsontext.Value(body)
				if err := v.Canonicalize(); err != nil { // members come in any order
					t.Error(err)
				}
				first := !seen[op+string(v)]
				seen[op+string(v)] = true
				return first
			}
		}
		if err := s.Write(t.Context(), slices.Clone(ms)); err != nil {
			t.Fatal(err)
		}
		if puts := f.count("PutItem"); i == 1 && puts < 2*len(f.all(true)) {
			t.Errorf("got %d puts for %d latest items, want each twice", puts, len(f.all(true)))
		}
		tables[i] = history(t, append(f.all(false), f.all(true)...))
	}
	if !slices.Equal(tables[0], tables[1]) {
		t.Error("the table is another one where answers were lost")
	}
}

// TestCutWithinAnswer is the same where half of the answer came.
func TestCutWithinAnswer(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	f.answer = func(_ string, n int, _ []byte) *reply {
		if n%2 == 1 {
			return &reply{status: 0, body: `{"UnprocessedItems":`}
		}
		return nil
	}
	if err := s.Write(t.Context(), sinktest.Messages(t, 1)); err != nil {
		t.Fatal(err)
	}
	if got := f.count("BatchWriteItem"); got != 2 {
		t.Errorf("got %d requests, want 2", got)
	}
}

func TestTimeLimit(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	f.answer = func(string, int, []byte) *reply {
		<-over
		return nil
	}
	s.timeout = 50 * time.Millisecond
	began := time.Now()
	err := s.Write(t.Context(), sinktest.Messages(t, 10))
	held(t, err)
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("Write took %s, want about 50ms", took)
	}
	if want := "; no answer within 50ms: check endpoint and network"; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %q, want %q at its end", err, want)
	}
	if got := f.count("BatchWriteItem"); got != 1 {
		t.Errorf("got %d requests, want one: the runner is to hear of it", got)
	}
	// The batch's own context is the batch's end, not the server's fault.
	s.timeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Write(ctx, sinktest.Messages(t, 10)); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "check") {
		t.Errorf("got %v, want the context's error alone", err)
	}
}

func TestRefused(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	ms := sinktest.Messages(t, 120)
	bad := []int{0, 30, 31, 119}
	var want []string
	for i := range ms {
		if slices.Contains(bad, i) {
			ms[i].Network = "poison"
		} else {
			want = append(want, ms[i].ID)
		}
	}
	var got []int
	for _, r := range rejections(t, s.Write(t.Context(), slices.Clone(ms)), len(ms)) {
		got = append(got, r.Index)
		if want := "DynamoDB refuses the item: One or more parameter values were invalid: poison"; r.Code != message.CodeUnsupported || r.Reason != want {
			t.Errorf("got %s: %s, want %s", r.Code, r.Reason, want)
		}
	}
	if !slices.Equal(got, bad) {
		t.Errorf("got %v rejected, want %v", got, bad)
	}
	slices.Sort(want)
	if got := ids(f.all(false)); !slices.Equal(got, want) {
		t.Errorf("got %d items, want the %d others", len(got), len(want))
	}
	for _, it := range f.all(true) {
		if it["network"]["S"] == "poison" {
			t.Errorf("got a latest item of a rejected message: %v", it)
		}
	}
}

// TestRefusedIsNotLatest checks that a message whose place in the history is
// refused does not become a latest item, which alone would be taken.
func TestRefusedIsNotLatest(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	f.answer = func(_ string, _ int, body []byte) *reply {
		if strings.Contains(string(body), "no history") && !strings.Contains(string(body), "ConditionExpression") {
			return failure(400, "ValidationException", "no")
		}
		return nil
	}
	ms := sinktest.Messages(t, 1)
	ms = append(ms, ms[0])
	ms[1].ID, ms[1].Network = "later", "no history"
	ms[1].ObservedAt = ms[1].ObservedAt.Add(time.Second)
	if got := rejections(t, s.Write(t.Context(), slices.Clone(ms)), 2); len(got) != 1 || got[0].Index != 1 {
		t.Fatalf("got %v, want 1 rejected", got)
	}
	if got := ids(f.all(true)); len(got) != 1 || got[0] != ms[0].ID {
		t.Errorf("got latest items of %v, want that of %s", got, ms[0].ID)
	}
}

// TestRefusedAfterGood checks that a message is there although a later one with
// its ID, for which it had made room, is rejected.
func TestRefusedAfterGood(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	ms := slices.Repeat(sinktest.Messages(t, 1), 4)
	ms[0].Network, ms[1].Network, ms[2].Network, ms[3].Network = "good", "better", "poison", "poison"
	got := rejections(t, s.Write(t.Context(), slices.Clone(ms)), len(ms))
	if len(got) != 2 || got[0].Index != 2 || got[1].Index != 3 {
		t.Fatalf("got %v, want 2 and 3 rejected", got)
	}
	for _, items := range [][]map[string]value{f.all(false), f.all(true)} {
		if len(items) != 1 || items[0]["network"]["S"] != "better" {
			t.Errorf("got %v, want the last that was not rejected", items)
		}
	}
}

// TestLargeRequestRefused checks that a batch too large for whatever stands in
// between is put item by item, and an item too large is rejected as such.
func TestLargeRequestRefused(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	f.answer = func(op string, _ int, body []byte) *reply {
		if len(body) > 5000 {
			return &reply{http.StatusRequestEntityTooLarge, "<html>"}
		}
		return nil
	}
	ms := sinktest.Messages(t, 30)
	ms[3].Body["x"] = strings.Repeat("x", 6000)
	got := rejections(t, s.Write(t.Context(), slices.Clone(ms)), len(ms))
	if len(got) != 1 || got[0].Index != 3 || got[0].Code != message.CodeTooLarge {
		t.Fatalf("got %v, want 3 too large", got)
	}
	if got := len(f.all(false)); got != 29 {
		t.Errorf("got %d items, want the other 29", got)
	}
}

// TestOtherTable checks that messages are not rejected when it is the table that
// has become another.
func TestOtherTable(t *testing.T) {
	f := newFake(t)
	s := opened(t, f.URL)
	f.keyed("ACTIVE", "id N HASH")
	f.answer = func(op string, _ int, _ []byte) *reply {
		if op == "BatchWriteItem" || op == "PutItem" {
			return failure(400, "ValidationException", "The provided key element does not match the schema")
		}
		return nil
	}
	err := s.Write(t.Context(), sinktest.Messages(t, 30))
	held(t, err)
	if want := "table sluice has the key id (N, HASH), want pk (S, HASH) and sk (S, RANGE)"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
}

// TestSameKey checks what a batch that holds a message several times does: the
// last of them wins, and no two requests carry it at a time.
func TestSameKey(t *testing.T) {
	f := newFake(t)
	f.slow = 2 * time.Millisecond
	s := opened(t, f.URL)
	ms := slices.Repeat(sinktest.Messages(t, 110), 3)
	for i := range ms {
		ms[i].Network = fmt.Sprint(i / 110)
	}
	if err := s.Write(t.Context(), ms); err != nil {
		t.Fatal(err)
	}
	items := f.all(false)
	if len(items) != 110 {
		t.Errorf("got %d items, want 110", len(items))
	}
	for _, it := range append(items, f.all(true)...) {
		if it["network"]["S"] != "2" {
			t.Errorf("got %v, want the last of the three", it)
		}
	}
	if f.clash {
		t.Error("two requests with the same key were in flight")
	}
	if most := max(batchesInFlight, putsInFlight); f.most < 2 || f.most > most {
		t.Errorf("got %d requests in flight, want 2 to %d", f.most, most)
	}
	if got, want := f.count("BatchWriteItem"), 5; got != want {
		t.Errorf("got %d batches, want %d", got, want)
	}
}

func TestChunks(t *testing.T) {
	sized := func(n, size, wire int) []*row {
		rows := make([]*row, n)
		for i := range rows {
			rows[i] = &row{index: i, size: size, wire: wire}
		}
		return rows
	}
	tests := []struct {
		name string
		rows []*row
		want []int
	}{
		{"none", nil, nil},
		{"one", sized(1, 1, 1), []int{1}},
		{"25", sized(25, 1, 1), []int{25}},
		{"26", sized(26, 1, 1), []int{25, 1}},
		{"large items", sized(60, maxItem, maxItem), []int{25, 25, 10}},
		{"long as JSON", sized(12, maxItem, 6*maxItem), []int{5, 5, 2}},
		{"longer than a request", sized(3, 1, 20<<20), []int{1, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []int
			next := 0
			for _, c := range chunks(tt.rows) {
				got = append(got, len(c))
				for _, r := range c {
					if r.index != next {
						t.Fatalf("got row %d, want %d", r.index, next)
					}
					next++
				}
			}
			if !slices.Equal(got, tt.want) || next != len(tt.rows) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWait(t *testing.T) {
	s := sinkFor(t, "")
	s.firstWait, s.longest = 50*time.Millisecond, 5*time.Second
	chance := 0.0
	s.jitter = func() float64 { return chance }
	ms := time.Millisecond
	for try, want := range map[int]time.Duration{1: 50 * ms, 2: 100 * ms, 3: 200 * ms, 7: 3200 * ms, 8: 5000 * ms, 100: 5000 * ms} {
		chance = 0
		if got := s.wait(try); got != want {
			t.Errorf("try %d: got %s, want %s", try, got, want)
		}
		chance = 0.5
		if got := s.wait(try); got != want*3/4 {
			t.Errorf("try %d: got %s with a chance of one half, want %s", try, got, want*3/4)
		}
	}
}
