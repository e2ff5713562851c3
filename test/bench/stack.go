package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"sluice/gateway"
	"sluice/internal/kafka"
	"sluice/message"
	"sluice/schemas"
)

// stack is a broker with sluice's topics, and what was read of it so far.
type stack struct {
	task     task // what every part is told
	broker   *child
	log      *slog.Logger
	consumed map[string]int64 // records of ingest, by the part that read them
}

// newStack starts an embedded broker, or uses the brokers named.
func newStack(ctx context.Context, o *options, log *slog.Logger) (*stack, error) {
	s := &stack{task: task{Brokers: o.brokers, Embedded: len(o.brokers) == 0, Profile: o.profile}, log: log, consumed: map[string]int64{}}
	if s.task.Embedded {
		dir, err := os.MkdirTemp(o.dir, "sluice-bench-")
		if err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
		s.task.Dir = dir
		if s.broker, err = start(ctx, "broker", &s.task); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		s.task.Brokers = []string{s.broker.addr}
	}
	if err := s.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stack) prepare(ctx context.Context, o *options) error {
	types, err := schemas.Load("")
	if err != nil {
		return err
	}
	k := s.task.kafka()
	if _, err := k.EnsureTopics(ctx, types.Names(), s.log); err != nil {
		return err
	}
	there, err := s.ingested(ctx)
	if err != nil {
		return err
	}
	if there > 0 {
		return fmt.Errorf("%s holds %d records already: the benchmark wants a Kafka of its own, without sluice's topics", message.TopicIngest, there)
	}
	most := 0
	for _, n := range o.conns {
		most = max(most, n)
	}
	return s.register(ctx, most)
}

// register makes agents, as Registry.Put would one by one.
func (s *stack) register(ctx context.Context, agents int) error {
	p, err := s.task.kafka().NewProducer(kafka.ProducerOptions{}, s.log)
	if err != nil {
		return err
	}
	defer p.Close()
	rs := make([]*kafka.Record, agents)
	for i := range rs {
		digest := sha256.Sum256([]byte(token(i)))
		value, err := json.Marshal(gateway.Agent{Tokens: []string{"sha256:" + hex.EncodeToString(digest[:])}, Created: time.Now().UTC()})
		if err != nil {
			return err
		}
		rs[i] = &kafka.Record{Topic: message.TopicAgents, Key: []byte(agentName(i)), Value: value}
	}
	return p.Produce(ctx, rs...)
}

// token is what an agent of the benchmark logs in with.
func token(agent int) string { return fmt.Sprintf("token-of-benchmark-%d", agent) }

func (s *stack) close() error {
	if s.broker == nil {
		return nil
	}
	return errors.Join(s.broker.stop(), os.RemoveAll(s.task.Dir))
}

// ingested returns how many records were ever written to ingest.
func (s *stack) ingested(ctx context.Context) (int64, error) {
	r, err := s.task.kafka().Range(ctx, time.Time{}, s.log, message.TopicIngest)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, end := range r.End[message.TopicIngest] {
		total += end
	}
	return total, nil
}

// left returns how many records of ingest a part has still to read.
func (s *stack) left(ctx context.Context, part string) (int64, error) {
	n, err := s.ingested(ctx)
	return n - s.consumed[part], err
}

// settle waits until a part that was started with nothing counted has read all
// that there is, so that the next one of its group begins at the end.
func (s *stack) settle(ctx context.Context, c *child) error {
	left, err := s.left(ctx, c.name)
	if err != nil {
		return err
	}
	if _, _, err := c.until(ctx, func(r *report) bool { return r.Frames+r.Own >= left }); err != nil {
		return err
	}
	s.consumed[c.name] += left
	return nil
}

// catchUp has a part read what others left behind; it is not measured.
func (s *stack) catchUp(ctx context.Context, part string) error {
	left, err := s.left(ctx, part)
	if err != nil || left == 0 {
		return err
	}
	t := s.task
	t.Profile = ""
	c, err := start(ctx, part, &t)
	if err != nil {
		return err
	}
	if _, err := c.begin(); err != nil {
		return errors.Join(err, c.stop())
	}
	return errors.Join(s.settle(ctx, c), c.stop())
}

// group starts parts and ends them all, the last first.
type group []*child

func (g *group) start(ctx context.Context, name string, t task) (*child, error) {
	c, err := start(ctx, name, &t)
	if err == nil {
		*g = append(*g, c)
	}
	return c, err
}

func (g *group) stop(failed *error) {
	for _, c := range slices.Backward(*g) {
		if err := c.stop(); *failed == nil {
			*failed = err
		}
	}
}
