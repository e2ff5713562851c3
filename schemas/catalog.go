package schemas

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
)

// Catalog is the schemas topic: every schema that a record was ever written
// with, by its fingerprint. The topic is compacted, so it holds each once.
type Catalog struct {
	kafka  kafka.Config
	reader *Reader
	log    *slog.Logger
}

// NewCatalog returns the catalog whose schemas reader learns.
func NewCatalog(c kafka.Config, reader *Reader, log *slog.Logger) *Catalog {
	return &Catalog{c, reader, log}
}

// Refresh reads the topic to its end. A reader that met an unknown fingerprint
// knows it afterwards: the writer put the schema there before its first use.
func (c *Catalog) Refresh(ctx context.Context) error {
	_, err := c.read(ctx)
	return err
}

// read teaches the reader what stands in the topic and returns the keys.
func (c *Catalog) read(ctx context.Context) (map[string]bool, error) {
	r, err := c.kafka.Range(ctx, time.Time{}, c.log, message.TopicSchemas)
	if err != nil {
		return nil, fmt.Errorf("read schemas topic: %w", err)
	}
	keys := map[string]bool{}
	err = c.kafka.Follow(ctx, kafka.FollowOptions{Range: r, Bounded: true}, c.log, func(_ context.Context, rs []*kafka.Record) error {
		for _, r := range rs {
			if len(r.Value) == 0 {
				continue
			}
			if err := c.reader.Learn(string(r.Value)); err != nil {
				// Not ours to mend, and no reason to stop: records written with it
				// stay unreadable and say so.
				c.log.Warn("schema on the schemas topic is not usable", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "err", err)
				continue
			}
			keys[string(r.Key)] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read schemas topic: %w", err)
	}
	return keys, nil
}

// Publish writes the schemas of s that are not in the topic yet, and returns
// when every in-sync replica has them.
func (c *Catalog) Publish(ctx context.Context, s *Set) error {
	there, err := c.read(ctx)
	if err != nil {
		return err
	}
	var rs []*kafka.Record
	for _, name := range s.Names() {
		key, value := s.Type(name).Record()
		if !there[string(key)] {
			rs = append(rs, &kafka.Record{Topic: message.TopicSchemas, Key: key, Value: value})
		}
	}
	if len(rs) == 0 {
		return nil
	}
	p, err := c.kafka.NewProducer(kafka.ProducerOptions{}, c.log)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Produce(ctx, rs...)
}
