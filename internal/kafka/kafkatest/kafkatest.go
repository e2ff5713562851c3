package kafkatest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
)

// New starts a broker in this process that ends with the test, makes sluice's
// topics for these data types in it, and returns how to reach it. Ingest and
// typed topics have three partitions.
func New(t testing.TB, types ...string) kafka.Config {
	t.Helper()
	c := Empty(t)
	if _, err := c.EnsureTopics(t.Context(), types, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Empty is New without topics.
func Empty(t testing.TB) kafka.Config {
	t.Helper()
	b, err := kafka.StartBroker("127.0.0.1:0", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	c := kafka.DefaultConfig()
	c.Brokers = []string{b.Addr()}
	c.Topics.Partitions = 3
	return c
}

// Read returns what stands in topics now, each partition in order.
func Read(t testing.TB, c kafka.Config, topics ...string) []*kafka.Record {
	t.Helper()
	all, _ := follow(t, c, true, func([]*kafka.Record) bool { return false }, topics)
	return all
}

// Wait reads topics from their start on until enough says that what it was given
// so far is enough, and returns that; it fails the test after a minute.
func Wait(t testing.TB, c kafka.Config, enough func([]*kafka.Record) bool, topics ...string) []*kafka.Record {
	t.Helper()
	all, done := follow(t, c, false, enough, topics)
	if !done {
		t.Fatalf("topics %v: waited a minute, have %d records", topics, len(all))
	}
	return all
}

// follow reads topics until enough, or to their end if bounded.
func follow(t testing.TB, c kafka.Config, bounded bool, enough func([]*kafka.Record) bool, topics []string) (all []*kafka.Record, done bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	r, err := c.Range(ctx, time.Time{}, log, topics...)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Follow(ctx, kafka.FollowOptions{Range: r, Bounded: bounded}, log, func(_ context.Context, rs []*kafka.Record) error {
		all = append(all, rs...)
		if enough(all) {
			done = true
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, done
}

// Typed returns a record of a data type's topic: the only message of frame f,
// with this value as it is.
func Typed(t testing.TB, dataType string, f *message.Frame, value []byte) *kafka.Record {
	t.Helper()
	var made kafka.Typed
	r, err := made.Make(message.Topic(dataType), f, 0, 1, func(dst []byte, _ string) ([]byte, error) {
		return append(dst, value...), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
