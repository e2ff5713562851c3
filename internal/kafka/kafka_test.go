package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func produce(t *testing.T, c kafka.Config, topic string, from, n int) {
	t.Helper()
	p, err := c.NewProducer(kafka.ProducerOptions{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	rs := make([]*kafka.Record, n)
	for i := range rs {
		rs[i] = &kafka.Record{Topic: topic, Key: fmt.Appendf(nil, "a%d", (from+i)%7), Value: fmt.Appendf(nil, "%d", from+i)}
	}
	if err := p.Produce(t.Context(), rs...); err != nil {
		t.Fatal(err)
	}
}

func TestEnsureTopicsLeavesWhatStands(t *testing.T) {
	c := kafkatest.New(t, "ethereum_metrics")
	again, err := c.EnsureTopics(t.Context(), []string{"ethereum_metrics"}, quiet)
	if err != nil || len(again) != 0 {
		t.Fatalf("same settings: got %v, %v, want nothing", again, err)
	}
	c.Topics.Partitions = 12
	c.Topics.Retention = time.Hour
	diffs, err := c.EnsureTopics(t.Context(), []string{"ethereum_metrics"}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range diffs {
		if d.Topic == "sluice.ethereum_metrics" {
			got = append(got, d.String())
		}
	}
	want := []string{
		"topic sluice.ethereum_metrics has partitions 3, configured is 12; existing topics are never altered",
		"topic sluice.ethereum_metrics has retention.ms 2592000000, configured is 3600000; existing topics are never altered",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	c.Topics.Create = false
	if _, err := c.EnsureTopics(t.Context(), []string{"weather"}, quiet); err == nil || !strings.Contains(err.Error(), "sluice.weather is missing") {
		t.Errorf("missing topic: got %v, want it named", err)
	}
}

// TestGroupHandsOver proves that members which come and go lose nothing, and
// that an interrupted batch is not committed.
func TestGroupHandsOver(t *testing.T) {
	c := kafkatest.New(t, "load")
	topic := message.Topic("load")
	const n = 3000
	produce(t, c, topic, 0, n)

	var mu sync.Mutex
	seen := map[string]int{}
	total := func() int { mu.Lock(); defer mu.Unlock(); return len(seen) }
	member := func(ctx context.Context, stopAfter int) {
		mctx, stop := context.WithCancel(ctx)
		defer stop()
		mine := 0
		err := c.RunGroup(mctx, kafka.GroupOptions{Group: "g", Topics: []string{topic}, Max: 50}, quiet,
			func(hctx context.Context, rs []*kafka.Record) error {
				if mine >= stopAfter {
					// Not handled: the next member has to see these.
					stop()
					<-hctx.Done()
					return hctx.Err()
				}
				mine += len(rs)
				mu.Lock()
				defer mu.Unlock()
				for _, r := range rs {
					seen[string(r.Value)]++
				}
				return nil
			})
		if err != nil {
			t.Errorf("RunGroup: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	member(ctx, 300)
	if got := total(); got < 300 || got >= n {
		t.Fatalf("first member handled %d of %d, want some", got, n)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { member(ctx, n) })
	}
	for total() < n && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	wg.Wait()
	if got := total(); got != n {
		t.Errorf("handled %d distinct records, want %d", got, n)
	}
}

func TestGroupErrorEndsIt(t *testing.T) {
	c := kafkatest.New(t, "load")
	produce(t, c, message.Topic("load"), 0, 1)
	boom := errors.New("boom")
	var lag kafka.Lag
	err := c.RunGroup(t.Context(), kafka.GroupOptions{Group: "g", Topics: []string{message.Topic("load")}, Lag: &lag}, quiet,
		func(context.Context, []*kafka.Record) error {
			left, since := int64(0), time.Time{}
			for _, p := range lag.Partitions() {
				if left += p.Offsets; p.Offsets > 0 {
					since = p.Since
				}
			}
			if left != 1 || since.IsZero() {
				t.Errorf("lag of a record polled and not handled: got %d since %s, want 1", left, since)
			}
			return boom
		})
	if !errors.Is(err, boom) {
		t.Errorf("got %v, want %v", err, boom)
	}
}

// TestLagSince proves that the age of a reader's lag is that of what it handled
// last, in a group as in a Follow.
func TestLagSince(t *testing.T) {
	c := kafkatest.New(t, "load")
	topic := message.Topic("load")
	p, err := c.NewProducer(kafka.ProducerOptions{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	begin := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range 3 {
		r := &kafka.Record{Topic: topic, Key: []byte("a"), Value: []byte("x"), Timestamp: begin.Add(time.Duration(i) * time.Minute)}
		if err := p.Produce(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range []string{"group", "follow"} {
		var lag kafka.Lag
		handled := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		handle := func(context.Context, []*kafka.Record) error {
			want := begin.Add(time.Duration(max(handled-1, 0)) * time.Minute)
			for _, l := range lag.Partitions() {
				if l.Offsets > 0 && (l.Offsets != int64(3-handled) || !l.Since.Equal(want)) {
					t.Errorf("%s, %d handled: lag %d since %s, want %d since %s", how, handled, l.Offsets, l.Since, 3-handled, want)
				}
			}
			if handled++; handled == 3 {
				cancel()
			}
			return nil
		}
		if how == "group" {
			err = c.RunGroup(ctx, kafka.GroupOptions{Group: "g", Topics: []string{topic}, Max: 1, Lag: &lag}, quiet, handle)
		} else {
			var all kafka.Range
			if all, err = c.Range(ctx, time.Time{}, quiet, topic); err == nil {
				err = c.Follow(ctx, kafka.FollowOptions{Range: all, Max: 1, Lag: &lag}, quiet, handle)
			}
		}
		cancel()
		if err != nil || handled != 3 {
			t.Errorf("%s: got %v, %d handled", how, err, handled)
		}
	}
}

// TestSessionCopiesOnce proves that what a session commits is read once and in
// order, that what it aborts is not read, and that lag gets to zero although
// transaction markers stand in the topic.
func TestSessionCopiesOnce(t *testing.T) {
	c := kafkatest.New(t, "load")
	const n = 4000
	produce(t, c, message.TopicIngest, 0, n)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var lag kafka.Lag
	var once sync.Once
	var counted atomic.Int64
	ended := make(chan error, 1)
	go func() {
		ended <- c.RunSession(ctx, kafka.SessionOptions{
			Group: "copy", Topics: []string{message.TopicIngest}, Slot: "1", Every: 10 * time.Millisecond, Parallel: 2, Lag: &lag,
		}, quiet, func(_ context.Context, rs []*kafka.Record, emit func(*kafka.Record)) (func(), error) {
			for _, r := range rs {
				emit(&kafka.Record{Topic: message.Topic("load"), Key: r.Key, Value: r.Value})
			}
			// A record the broker refuses aborts its transaction.
			once.Do(func() {
				emit(&kafka.Record{Topic: message.Topic("load"), Key: []byte("bad"), Value: make([]byte, kafka.MaxMessage+1)})
			})
			return func() { counted.Add(int64(len(rs))) }, nil
		})
	}()
	rs := kafkatest.Wait(t, c, func(rs []*kafka.Record) bool { return len(rs) >= n }, message.Topic("load"))

	if len(rs) != n {
		t.Errorf("read %d records, want %d", len(rs), n)
	}
	last := map[string]int{}
	seen := map[string]bool{}
	for _, r := range rs {
		v := string(r.Value)
		if seen[v] {
			t.Fatalf("record %s read twice", v)
		}
		seen[v] = true
		i := 0
		fmt.Sscan(v, &i)
		if prev, ok := last[string(r.Key)]; ok && i < prev {
			t.Fatalf("key %s: %d after %d", r.Key, i, prev)
		}
		last[string(r.Key)] = i
	}
	deadline := time.Now().Add(30 * time.Second)
	for left := int64(1); left > 0; {
		left = 0
		for _, p := range lag.Partitions() {
			left += p.Offsets
		}
		if time.Now().After(deadline) {
			t.Fatalf("lag stays at %d", left)
		}
	}
	if got := counted.Load(); got != n {
		t.Errorf("counted %d committed records, want %d: an aborted transaction must not count", got, n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("RunSession: %v", err)
	}
}

func TestSessionFenced(t *testing.T) {
	c := kafkatest.New(t, "load")
	run := func(ctx context.Context, joined chan<- struct{}) error {
		var once sync.Once
		return c.RunSession(ctx, kafka.SessionOptions{
			Group: "copy", Topics: []string{message.TopicIngest}, Slot: "same", Every: time.Millisecond,
			Joined: func(n int) {
				if n > 0 {
					once.Do(func() { close(joined) })
				}
			},
		}, quiet, func(_ context.Context, rs []*kafka.Record, emit func(*kafka.Record)) (func(), error) {
			emit(&kafka.Record{Topic: message.Topic("load"), Value: rs[0].Value})
			return nil, nil
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first, second := make(chan struct{}), make(chan struct{})
	firstErr, secondErr := make(chan error, 1), make(chan error, 1)
	go func() { firstErr <- run(ctx, first) }()
	<-first
	go func() { secondErr <- run(ctx, second) }()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				produce(t, c, message.TopicIngest, i, 1)
			}
		}
	})
	// Whose request reaches the coordinator last is not for us to say. Two of them
	// going on is what must not happen.
	var err error
	other := secondErr
	select {
	case err = <-firstErr:
	case err = <-secondErr:
		other = firstErr
	}
	close(stop)
	wg.Wait()
	if !errors.Is(err, kafka.ErrFenced) || !strings.Contains(err.Error(), "slot same is in use by another process") {
		t.Errorf("got %v, want ErrFenced naming the slot", err)
	}
	cancel()
	if err := <-other; err != nil && !errors.Is(err, kafka.ErrFenced) {
		t.Errorf("the other: got %v, want nil or ErrFenced", err)
	}
}

func TestBrokerKeepsItsData(t *testing.T) {
	dir := t.TempDir()
	b, err := kafka.StartBroker("127.0.0.1:0", dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kafka.StartBroker("127.0.0.1:0", dir, quiet); !errors.Is(err, kafka.ErrInUse) {
		t.Errorf("second broker on the same directory: got %v, want ErrInUse", err)
	}
	c := kafka.DefaultConfig()
	c.Brokers = []string{b.Addr()}
	if _, err := c.EnsureTopics(t.Context(), nil, quiet); err != nil {
		t.Fatal(err)
	}
	produce(t, c, message.TopicIngest, 0, 100)
	if _, err := kafka.StartBroker(b.Addr(), "", quiet); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("address in use: got %v, want it said", err)
	}
	b.Close()

	b, err = kafka.StartBroker("127.0.0.1:0", dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c.Brokers = []string{b.Addr()}
	if got := len(kafkatest.Read(t, c, message.TopicIngest)); got != 100 {
		t.Errorf("after a restart: %d records, want 100", got)
	}
}

func TestTryProduceFull(t *testing.T) {
	c := kafka.DefaultConfig()
	c.Brokers = []string{"127.0.0.1:1"} // nothing listens there
	p, err := c.NewProducer(kafka.ProducerOptions{MaxRecords: 10}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan error, 15)
	for range 15 {
		p.TryProduce(&kafka.Record{Topic: message.TopicIngest, Value: []byte("x")}, func(_ *kafka.Record, err error) { answers <- err })
	}
	for i := range 5 {
		if err := <-answers; !errors.Is(err, kafka.ErrFull) {
			t.Errorf("answer %d: got %v, want ErrFull", i, err)
		}
	}
	p.Close()
	for i := range 10 {
		if err := <-answers; err == nil || errors.Is(err, kafka.ErrFull) {
			t.Errorf("buffered record %d: got %v, want the error of the closed client", i, err)
		}
	}
}

func TestForms(t *testing.T) {
	at := time.UnixMilli(1795453669123)
	f := message.Frame{ID: "a1/s/1", Agent: "a1", Protocol: "websocket", ContentType: "application/json", Connection: "c1", Network: "1", Value: []byte("{}"), ReceivedAt: at}
	r := kafka.FrameRecord(&f)
	r.Partition, r.Offset = 2, 77
	f.Src = message.Source{Partition: 2, Offset: 77}
	var got message.Frame
	kafka.Frame(r, &got)
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", f) {
		t.Errorf("frame: got %+v, want %+v", got, f)
	}
	d := message.DeadLetter{
		Stage: "normalizer", ID: "a1/s/1#0", Agent: "a1", Index: 3, Count: 4, Code: message.CodeInvalid, Field: "data.body.pending",
		Reason: "want an integer, got a string", Value: []byte("{}"), Topic: message.TopicIngest, Partition: 2, Offset: 77, Src: f.Src,
		Protocol: "websocket", ContentType: "application/json", Connection: "c1", Network: "1", Genesis: "0x1", ReceivedAt: at, Attempts: 2,
	}
	back := kafka.DeadLetter(kafka.DeadLetterRecord(&d))
	if fmt.Sprintf("%+v", back) != fmt.Sprintf("%+v", d) {
		t.Errorf("dead letter: got %+v, want %+v", back, d)
	}
}

// TestFollowBounded proves that a range which was not read to its end is never
// taken for one that was.
func TestFollowBounded(t *testing.T) {
	c := kafkatest.New(t, "load")
	produce(t, c, message.Topic("load"), 0, 500)
	all, err := c.Range(t.Context(), time.Time{}, quiet, message.Topic("load"))
	if err != nil {
		t.Fatal(err)
	}
	produce(t, c, message.Topic("load"), 500, 10) // behind the range
	read, ready := 0, 0
	o := kafka.FollowOptions{Range: all, Bounded: true, Ready: func() { ready++ }, Max: 100}
	err = c.Follow(t.Context(), o, quiet, func(_ context.Context, rs []*kafka.Record) error {
		read += len(rs)
		return nil
	})
	if err != nil || read != 500 || ready != 1 {
		t.Errorf("got %v, %d records, ready %d times, want 500 and once", err, read, ready)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Follow(ctx, o, quiet, func(context.Context, []*kafka.Record) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended in the middle: got %v, want the context's error", err)
	}
}

// TestRetentionFreesTheDisk proves that what the embedded broker keeps on disk is
// bounded: by what a topic retains and one file more.
func TestRetentionFreesTheDisk(t *testing.T) {
	dir := t.TempDir()
	b, err := kafka.StartBroker("127.0.0.1:0", dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := kafka.DefaultConfig()
	c.Brokers = []string{b.Addr()}
	c.Topics.Partitions = 1
	c.Topics.RetentionBytes, c.Topics.SegmentBytes = 3<<20, 1<<20
	if _, err := c.EnsureTopics(t.Context(), nil, quiet); err != nil {
		t.Fatal(err)
	}
	p, err := c.NewProducer(kafka.ProducerOptions{Uncompressed: true}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 80 {
		if err := p.Produce(t.Context(), &kafka.Record{Topic: message.TopicIngest, Value: make([]byte, 250<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	onDisk := func() (n int64) {
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				n += info.Size()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := onDisk(); got < 19<<20 {
		t.Fatalf("%d bytes before, want all 80 records", got)
	}
	b.Retain()
	if got, most := onDisk(), int64(3<<20+1<<20+512<<10); got > most {
		t.Errorf("%d bytes on disk, want at most %d", got, most)
	}
	left := kafkatest.Read(t, c, message.TopicIngest)
	if n := len(left); n < 8 || n > 20 {
		t.Errorf("%d records left, want those of about 3 MiB", n)
	}
}
