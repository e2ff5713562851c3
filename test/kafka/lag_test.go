package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/test/process"
	"sluice/test/services"
)

var silent = slog.New(slog.DiscardHandler)

// TestLagReachesZero proves that transaction markers are no lag: where every
// message has a transaction of its own, and some are aborted, every kind of reader
// comes to no offset left and no age, again after each.
func TestLagReachesZero(t *testing.T) {
	brokers := map[string]func(*testing.T) kafka.Config{
		"embedded": func(t *testing.T) kafka.Config { return kafkatest.New(t) },
		"real": func(t *testing.T) kafka.Config {
			c := kafka.DefaultConfig()
			c.Brokers = []string{services.RealKafka(t).Plain}
			return c
		},
	}
	type reader func(ctx context.Context, c kafka.Config, topic string, lag *kafka.Lag, handle func([]*kafka.Record)) error
	readers := map[string]reader{
		"group": func(ctx context.Context, c kafka.Config, topic string, lag *kafka.Lag, handle func([]*kafka.Record)) error {
			return c.RunGroup(ctx, kafka.GroupOptions{Group: topic, Topics: []string{topic}, Lag: lag}, silent,
				func(_ context.Context, rs []*kafka.Record) error { handle(rs); return nil })
		},
		"follow": func(ctx context.Context, c kafka.Config, topic string, lag *kafka.Lag, handle func([]*kafka.Record)) error {
			r, err := c.Range(ctx, time.Time{}, silent, topic)
			if err != nil {
				return err
			}
			return c.Follow(ctx, kafka.FollowOptions{Range: r, Lag: lag}, silent,
				func(_ context.Context, rs []*kafka.Record) error { handle(rs); return nil })
		},
		"session": func(ctx context.Context, c kafka.Config, topic string, lag *kafka.Lag, handle func([]*kafka.Record)) error {
			return c.RunSession(ctx, kafka.SessionOptions{Group: topic, Topics: []string{topic}, Slot: "0", Lag: lag}, silent,
				func(_ context.Context, rs []*kafka.Record, _ func(*kafka.Record)) (func(), error) {
					return func() { handle(rs) }, nil
				})
		},
	}
	for where, broker := range brokers {
		t.Run(where, func(t *testing.T) {
			c := broker(t)
			for name, read := range readers {
				t.Run(name, func(t *testing.T) { lagOf(t, c, read) })
			}
		})
	}
}

func lagOf(t *testing.T, c kafka.Config, read func(context.Context, kafka.Config, string, *kafka.Lag, func([]*kafka.Record)) error) {
	w := newTransactions(t, c)
	var (
		lag     kafka.Lag
		handled atomic.Int64
		hold    = make(chan struct{})
	)
	left := func() (offsets int64, age time.Duration) {
		for _, p := range lag.Partitions() {
			offsets += p.Offsets
			age = max(age, p.Age(time.Now()))
		}
		return offsets, age
	}
	want := int64(0)
	for range 20 {
		w.write(t, true)
		want++
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- read(ctx, c, w.topic, &lag, func(rs []*kafka.Record) {
			<-hold
			handled.Add(int64(len(rs)))
		})
	}()
	process.Wait(t, "lag while nothing is handled", func() bool { offsets, age := left(); return offsets > 0 && age > 0 })
	close(hold)
	reached := func() {
		t.Helper()
		process.Wait(t, fmt.Sprintf("no lag after %d messages", want), func() bool {
			offsets, age := left()
			return handled.Load() == want && offsets == 0 && age == 0
		})
	}
	reached()
	for n := range 6 {
		commit := n%2 == 1
		if w.write(t, commit); commit {
			want++
		}
		reached()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// transactions writes one record in each transaction to a topic of one partition.
type transactions struct {
	cl    *kgo.Client
	topic string
}

func newTransactions(t *testing.T, c kafka.Config) *transactions {
	t.Helper()
	w := &transactions{topic: "lag-" + uuid.NewString()}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.TransactionalID(w.topic), kgo.DefaultProduceTopic(w.topic))
	if err != nil {
		t.Fatal(err)
	}
	w.cl = cl
	t.Cleanup(cl.Close)
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, w.topic); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *transactions) write(t *testing.T, commit bool) {
	t.Helper()
	err := w.cl.BeginTransaction()
	if err == nil {
		err = w.cl.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr()
	}
	if err == nil {
		err = w.cl.EndTransaction(t.Context(), kgo.TransactionEndTry(commit))
	}
	if err != nil {
		t.Fatal(err)
	}
}
