package schemas

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/internal/kafka"
	"sluice/message"
)

// Catalog is where the schemas of all writers stand: the schemas topic, which
// has every schema that a record was ever written with, and a schema registry if
// there is one. The topic is compacted, so it holds each once: by its fingerprint,
// and once more by each ID that a registry gave it. A Catalog is safe for
// concurrent use.
type Catalog struct {
	kafka    kafka.Config
	reader   *Reader
	registry Registry
	log      *slog.Logger
	asked    *inquiry
}

// NewCatalog returns the catalog whose schemas reader learns. registry is nil
// where there is none: records are then written in Avro's single-object encoding,
// else in Confluent's form.
func NewCatalog(c kafka.Config, registry Registry, reader *Reader, log *slog.Logger) *Catalog {
	return &Catalog{c, reader, registry, log, newInquiry()}
}

// Read is Reader.Read. Its *UnknownSchemaError says why Refresh did not find the
// schema, if it was called since. A record whose schema the registry has, but
// which is no data type of sluice, is a *message.Fault.
func (c *Catalog) Read(value []byte, m *message.Message, bodies bool) error {
	err := c.reader.Read(value, m, bodies)
	if err == nil {
		return nil
	}
	return c.note(err)
}

// Refresh reads the topic to its end, then asks the registry for the IDs that
// Read met and the topic does not have. Read of a record with an unknown
// fingerprint knows it afterwards: the writer put the schema there before its
// first use. Refresh returns an error only if the topic cannot be read; why an ID
// stays unknown is for Read to say, so that no one waits for another's record.
func (c *Catalog) Refresh(ctx context.Context) error {
	if _, err := c.read(ctx); err != nil {
		return err
	}
	return c.ask(ctx)
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
			learn := c.reader.Learn
			if id, ok := keyID(r.Key); ok {
				learn = func(schema string) error { return c.reader.LearnID(id, schema) }
			}
			if err := learn(string(r.Value)); err != nil {
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

// Publish makes the schemas of s known and returns the types to write records
// with: s itself, or, with a registry, s in Confluent's form with the IDs that the
// registry gives. It writes what is not in the topic yet, and returns when every
// in-sync replica has it. A registry that is away is waited for.
func (c *Catalog) Publish(ctx context.Context, s *Set) (*Set, error) {
	there, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	var rs []*kafka.Record
	add := func(key, value []byte) {
		if !there[string(key)] {
			rs = append(rs, &kafka.Record{Topic: message.TopicSchemas, Key: key, Value: value})
		}
	}
	for _, name := range s.Names() {
		add(s.Type(name).Record())
	}
	writers := s
	if c.registry != nil {
		ids, err := c.register(ctx, s)
		if err != nil {
			return nil, err
		}
		for name, id := range ids {
			add(s.Type(name).RecordID(id))
		}
		writers = s.confluent(ids)
	}
	if len(rs) == 0 {
		return writers, nil
	}
	p, err := c.kafka.NewProducer(kafka.ProducerOptions{}, c.log)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return writers, p.Produce(ctx, rs...)
}
