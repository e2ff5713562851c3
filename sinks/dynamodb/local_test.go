package dynamodb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"sluice/message"
	"sluice/sinks"
	"sluice/sinks/sinktest"
	"sluice/test/services"
)

// These tests run against a real server, DynamoDB Local: what the fake of the
// other tests is believed to do like it.

var tables atomic.Int64

// local returns the settings of a table of this test alone, and the address of
// the server.
func local(t testing.TB) (string, func(*Config)) {
	t.Helper()
	table := fmt.Sprintf("sluice-test-%d-%d", time.Now().UnixNano(), tables.Add(1))
	endpoint := services.DynamoDB(t).Endpoint
	t.Cleanup(func() {
		s := sinkFor(t, endpoint)
		ctx := context.Background() // the test's has ended
		if err := s.connect(ctx); err == nil {
			_, _ = s.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table})
			s.disconnect()
		}
	})
	return endpoint, func(c *Config) { c.Table = table }
}

// scan returns all items of the sink's table, those of the history in DynamoDB's
// JSON, and a hash of everything.
func scan(t testing.TB, endpoint string, change ...func(*Config)) (items []map[string]value, hash string) {
	t.Helper()
	s := sinkFor(t, endpoint, change...)
	if err := s.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.disconnect()
	var lines []string
	pages := dynamodb.NewScanPaginator(s.client, &dynamodb.ScanInput{TableName: &s.config.Table, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			plain := dump(it)
			lines = append(lines, asText(t, plain))
			if !strings.HasPrefix(keyOf(it).sk, "latest#") {
				items = append(items, plain)
			}
		}
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return items, hex.EncodeToString(sum[:])
}

func TestLocalContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Harness {
		endpoint, table := local(t)
		return sinktest.Harness{
			New: func() sinks.Sink { return sinkFor(t, endpoint, table) },
			Read: func() []sinktest.Item {
				opened(t, endpoint, table) // "never opened" made no table
				items, _ := scan(t, endpoint, table)
				return history(t, items)
			},
			// Only the server says that a map has no place so deep.
			Reject: func(m *message.Message) { m.Body["deep"] = nest(40) },
		}
	})
}

func nest(depth int) any {
	var v any = "bottom"
	for range depth {
		v = []any{v}
	}
	return v
}

// TestLocalReplay writes the same messages twice, the second time in another
// order, in other batches, with repetitions and by two sinks at once: the table
// stays the same to the byte, latest items included.
func TestLocalReplay(t *testing.T) {
	endpoint, table := local(t)
	ttl := func(c *Config) { c.TTL = 24 * time.Hour }
	s := opened(t, endpoint, table, ttl)
	ms := sinktest.Messages(t, 200)
	for batch := range slices.Chunk(slices.Clone(ms), 100) {
		if err := s.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	items, want := scan(t, endpoint, table)
	if len(items) != len(ms) {
		t.Fatalf("got %d items, want %d", len(items), len(ms))
	}
	for round, seed := range []uint64{1, 2} {
		e, where := endpoint, table
		if round > 0 {
			e, where = local(t) // not only over what was right before
		}
		var g errgroup.Group
		for worker := range uint64(2) {
			s := opened(t, e, where, ttl)
			r := rand.New(rand.NewPCG(seed, worker))
			mixed := slices.Concat(ms, ms[:100], ms[150:])
			r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			g.Go(func() error {
				for batch := range slices.Chunk(mixed, 1+r.IntN(90)) {
					if err := s.Write(t.Context(), batch); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if _, got := scan(t, e, where); got != want {
			t.Errorf("round %d: got table %s, want %s", round, got, want)
		}
	}
}

// TestLocalLatest pins which message the server lets win.
func TestLocalLatest(t *testing.T) {
	endpoint, table := local(t)
	s := opened(t, endpoint, table)
	latestWins(t, s, func(k key) string {
		out, err := s.client.GetItem(t.Context(), &dynamodb.GetItemInput{
			TableName: &s.config.Table, ConsistentRead: aws.Bool(true), Key: item{"pk": text(k.pk), "sk": text(k.sk)},
		})
		if err != nil {
			t.Fatal(err)
		}
		v, _ := dump(out.Item)["id"]["S"].(string)
		return v
	})
}

// TestLocalNumbers checks that the server gives back what was sent.
func TestLocalNumbers(t *testing.T) {
	endpoint, table := local(t)
	s := opened(t, endpoint, table)
	floats := []float64{0.1, 1e21, 1.5e-7, 1e125, 9.99e125, 1e-130, -1e-130, math.Pi, math.MaxInt64, 5e-100, -123456.789e30}
	m := sinktest.Messages(t, 1)[0]
	m.Body = map[string]any{"max": int64(math.MaxInt64), "min": int64(math.MinInt64), "empty": "", "bytes": []byte{}, "none": []any{}, "nothing": []any{nil}}
	for i, f := range floats {
		m.Body[fmt.Sprintf("f%d", i)] = f
	}
	if err := s.Write(t.Context(), []message.Message{m}); err != nil {
		t.Fatal(err)
	}
	items, _ := scan(t, endpoint, table)
	body := items[0]["body"]["M"].(map[string]value)
	for i, f := range floats {
		var got float64
		if _, err := fmt.Sscan(body[fmt.Sprintf("f%d", i)]["N"].(string), &got); err != nil || got != f {
			t.Errorf("got %v of %v, want the same (%v)", body[fmt.Sprintf("f%d", i)], f, err)
		}
	}
	for name, want := range map[string]string{
		"max": `{"N":"9223372036854775807"}`, "min": `{"N":"-9223372036854775808"}`, "empty": `{"S":""}`,
		"bytes": `{"B":""}`, "none": `{"L":[]}`, "nothing": `{"L":[{"NULL":true}]}`,
	} {
		if got := asText(t, body[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// TestLocalSizes checks that the sizes computed here are not below the server's:
// what the sink takes for small enough, the server takes.
func TestLocalSizes(t *testing.T) {
	endpoint, table := local(t)
	s := opened(t, endpoint, table)
	shapes := map[string]func(n int) any{
		"text":    func(n int) any { return strings.Repeat("x", n) },
		"umlauts": func(n int) any { return strings.Repeat("ä", n/2) },
		"bytes":   func(n int) any { return make([]byte, n) },
		"longs":   func(n int) any { return repeat(int64(-9223372036854775807), n/12) },
		"floats":  func(n int) any { return repeat(-1.2345678901234567e-123, n/12) },
		"lists":   func(n int) any { return repeat([]any{}, n/6) },
		"records": func(n int) any {
			return repeat(map[string]any{"a": int64(1), "b": "c", "d": strings.Repeat("e", 100)}, n/110)
		},
	}
	for name, make := range shapes {
		t.Run(name, func(t *testing.T) {
			m := sinktest.Messages(t, 1)[0]
			// Most of it is text, which is quickly read, and counts as it stands.
			fill := strings.Repeat("x", 350_000)
			body := func(n int) map[string]any { return map[string]any{"fill": fill, "v": make(n)} }
			size := func(n int) int {
				v, no := mapOf("body", body(n))
				if no != nil {
					t.Fatal(no)
				}
				size, _ := measure(item{"body": v})
				return size
			}
			// The largest n that this package takes: sizes grow evenly.
			low, high := 10_000, 50_000
			low += (maxItem - size(low)) * (high - low) / (size(high) - size(low))
			for {
				m.Body = body(low)
				if _, no := s.rowOf(0, &m); no == nil {
					break
				}
				low -= 20
			}
			if err := s.Write(t.Context(), []message.Message{m}); err != nil {
				t.Errorf("the server refuses an item that counts %d bytes here: %v", low, err)
			}
		})
	}
	t.Run("many large in one batch", func(t *testing.T) {
		ms := sinktest.Messages(t, 12)
		for i := range ms {
			ms[i].Body = map[string]any{"v": strings.Repeat("\x01\"", 200_000)}
		}
		if err := s.Write(t.Context(), ms); err != nil {
			t.Error(err)
		}
	})
}

func repeat(v any, n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestLocalTable(t *testing.T) {
	endpoint, table := local(t)
	// Several at once make one table, and turn its expiry on.
	var g errgroup.Group
	for range 4 {
		s := sinkFor(t, endpoint, table, func(c *Config) { c.TTL = time.Hour })
		t.Cleanup(s.disconnect)
		g.Go(func() error { return s.Open(t.Context()) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	s := opened(t, endpoint, table, func(c *Config) { c.Create = false })
	d, err := s.describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := keysOf(d); got != wantedKeys || d.BillingModeSummary == nil || d.BillingModeSummary.BillingMode != types.BillingModePayPerRequest {
		t.Errorf("got keys %s and billing %+v", got, d.BillingModeSummary)
	}
	if on, err := s.expires(t.Context()); err != nil || !on {
		t.Errorf("got expiry %t, %v, want it on", on, err)
	}

	t.Run("absent", func(t *testing.T) {
		endpoint, table := local(t)
		s := sinkFor(t, endpoint, table, func(c *Config) { c.Create = false })
		defer s.disconnect()
		err := s.Open(t.Context())
		held(t, err)
		if want := "DescribeTable on table " + s.config.Table + ": ResourceNotFoundException: "; !strings.HasPrefix(err.Error(), want) ||
			!strings.HasSuffix(err.Error(), "; check table and region, or set create: true") {
			t.Errorf("got %q, want it to begin with %q and to say what to do", err, want)
		}
	})
	t.Run("other keys", func(t *testing.T) {
		endpoint, table := local(t)
		s := sinkFor(t, endpoint, table)
		defer s.disconnect()
		if err := s.connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
			TableName: &s.config.Table, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeN}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		}); err != nil {
			t.Fatal(err)
		}
		err := s.Open(t.Context())
		want := "sink cannot be used as configured: table " + s.config.Table + " has the key id (N, HASH), want pk (S, HASH) and sk (S, RANGE); set table to another name"
		if err == nil || err.Error() != want || !errors.Is(err, sinks.ErrUnusable) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
	t.Run("expiry by another attribute", func(t *testing.T) {
		endpoint, table := local(t)
		s := opened(t, endpoint, table)
		if _, err := s.client.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{
			TableName:               &s.config.Table,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("gone"), Enabled: aws.Bool(true)},
		}); err != nil {
			t.Fatal(err)
		}
		again := sinkFor(t, endpoint, table, func(c *Config) { c.TTL = time.Hour })
		defer again.disconnect()
		if err := again.Open(t.Context()); !errors.Is(err, sinks.ErrUnusable) || !strings.Contains(err.Error(), "expires items by gone, want expires") {
			t.Errorf("got %v, want that the table expires items by another attribute", err)
		}
	})
}

// TestLocalRefused checks that of a batch the server refuses, exactly the item at
// fault is rejected.
func TestLocalRefused(t *testing.T) {
	endpoint, table := local(t)
	s := opened(t, endpoint, table)
	ms := sinktest.Messages(t, 40)
	ms[7].Body["deep"] = nest(40)
	ms[31].Body["deep"] = nest(40)
	got := rejections(t, s.Write(t.Context(), slices.Clone(ms)), len(ms))
	if len(got) != 2 || got[0].Index != 7 || got[1].Index != 31 || got[0].Code != message.CodeUnsupported || !strings.Contains(got[0].Reason, "DynamoDB refuses the item: ") {
		t.Fatalf("got %v, want 7 and 31 rejected", got)
	}
	items, _ := scan(t, endpoint, table)
	want := slices.Delete(slices.Delete(slices.Clone(ms), 31, 32), 7, 8)
	var all []string
	for _, m := range want {
		all = append(all, m.ID)
	}
	slices.Sort(all)
	if got := ids(items); !slices.Equal(got, all) {
		t.Errorf("got %d items %v, want the other %d", len(got), got, len(all))
	}
}

// TestLocalQueries runs the queries that docs/dynamodb.md shows.
func TestLocalQueries(t *testing.T) {
	endpoint, table := local(t)
	s := opened(t, endpoint, table)
	ms := sinktest.Messages(t, 140)
	if err := s.Write(t.Context(), slices.Clone(ms)); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/dynamodb.md")
	if err != nil {
		t.Fatal(err)
	}
	first := ms[0]
	pk := text(first.Agent + "#" + first.Type)
	from, to := first.EventTime(), first.EventTime().Add(10*time.Minute)
	of := func(keep func(m *message.Message) bool) (want []string) {
		for _, m := range ms {
			if m.Agent == first.Agent && m.Type == first.Type && keep(&m) {
				want = append(want, m.ID)
			}
		}
		return want
	}
	newest := map[string]message.Message{}
	for _, m := range ms {
		if k := m.Node + m.Kind; m.Agent == first.Agent && m.Type == first.Type {
			if old, there := newest[k]; !there || m.Supersedes(&old) {
				newest[k] = m
			}
		}
	}
	tests := []struct {
		condition string
		values    item
		want      []string
	}{
		{"pk = :pk AND sk BETWEEN :from AND :to", item{":from": text(fmt.Sprint(from.UnixMilli())), ":to": text(fmt.Sprint(to.UnixMilli()) + "~")},
			of(func(m *message.Message) bool { return !m.EventTime().Before(from) && !m.EventTime().After(to) })},
		{"pk = :pk AND sk < :latest", item{":latest": text("latest#")}, of(func(*message.Message) bool { return true })},
		{"pk = :pk AND begins_with(sk, :latest)", item{":latest": text("latest#")}, of(func(m *message.Message) bool { return newest[m.Node+m.Kind].ID == m.ID })},
	}
	for _, tt := range tests {
		t.Run(tt.condition, func(t *testing.T) {
			if !strings.Contains(string(doc), "'"+tt.condition+"'") {
				t.Error("the page does not have this query")
			}
			tt.values[":pk"] = pk
			out, err := s.client.Query(t.Context(), &dynamodb.QueryInput{
				TableName: &s.config.Table, KeyConditionExpression: &tt.condition, ExpressionAttributeValues: tt.values, ConsistentRead: aws.Bool(true),
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []map[string]value
			for _, it := range out.Items {
				got = append(got, dump(it))
			}
			slices.Sort(tt.want)
			if got := ids(got); len(tt.want) == 0 || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
