package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says where Kafka is and how topics are made.
type Config struct {
	Brokers  []string `koanf:"brokers" doc:"addresses of the brokers, host:port"`
	ClientID string   `koanf:"client_id" doc:"the name under which sluice is known to the brokers"`
	// Rack is matched with the brokers' broker.rack (KIP-392).
	Rack        string `koanf:"rack" doc:"where this process runs, as the brokers call it; readers then ask the replica nearby; empty for the leader"`
	Compression string `koanf:"compression" doc:"how batches are compressed: snappy, lz4, zstd, gzip or none"`
	TLS         TLS    `koanf:"tls" doc:"encryption of the connections to the brokers"`
	SASL        SASL   `koanf:"sasl" doc:"login at the brokers"`
	Topics      Topics `koanf:"topics" doc:"how topics are created; existing topics are never altered"`

	observers *observers
}

// DefaultConfig returns the settings of a single broker on this machine.
func DefaultConfig() Config {
	return Config{
		Brokers:     []string{"127.0.0.1:9092"},
		ClientID:    "sluice",
		Compression: "snappy",
		Topics: Topics{
			Create:              true,
			Partitions:          6,
			Replication:         1,
			MinInsync:           1,
			Retention:           30 * 24 * time.Hour,
			DeadLetterRetention: 90 * 24 * time.Hour,
			RetentionBytes:      -1,
		},
	}
}

// Validate reports every setting that cannot be. No brokers at all can be: `up`
// brings one of its own then.
func (c *Config) Validate() error {
	var errs []error
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("brokers: %q is not host:port", b))
		}
	}
	if c.ClientID == "" {
		errs = append(errs, errors.New("client_id: want a name"))
	}
	if _, ok := codecs[c.Compression]; !ok {
		errs = append(errs, fmt.Errorf("compression: %q is none of %s", c.Compression, strings.Join(slices.Sorted(maps.Keys(codecs)), ", ")))
	}
	errs = append(append(errs, c.TLS.validate()...), c.SASL.validate()...)
	t := c.Topics
	if t.Partitions < 1 || t.Partitions > 10_000 {
		errs = append(errs, fmt.Errorf("topics.partitions: %d is not between 1 and 10000", t.Partitions))
	}
	if t.Replication < 1 {
		errs = append(errs, fmt.Errorf("topics.replication: %d is less than 1", t.Replication))
	}
	if t.MinInsync < 1 || t.MinInsync > t.Replication {
		errs = append(errs, fmt.Errorf("topics.min_insync: %d is not between 1 and topics.replication (%d)", t.MinInsync, t.Replication))
	}
	for name, d := range map[string]time.Duration{"retention": t.Retention, "dead_letter_retention": t.DeadLetterRetention} {
		if d < time.Minute && d >= 0 {
			errs = append(errs, fmt.Errorf("topics.%s: %s is less than a minute; -1 keeps all", name, d))
		}
	}
	if t.RetentionBytes < -1 || t.RetentionBytes == 0 {
		errs = append(errs, fmt.Errorf("topics.retention_bytes: %d is neither a size nor -1, which keeps all", t.RetentionBytes))
	}
	return errors.Join(errs...)
}

// codecs are the compressions that a producer can be told to use.
var codecs = map[string]func() kgo.CompressionCodec{
	"snappy": kgo.SnappyCompression, "lz4": kgo.Lz4Compression, "zstd": kgo.ZstdCompression,
	"gzip": kgo.GzipCompression, "none": kgo.NoCompression,
}

// compressed is how producers compress.
func (c Config) compressed() kgo.Opt {
	if codec, ok := codecs[c.Compression]; ok {
		return kgo.ProducerBatchCompression(codec())
	}
	return kgo.ProducerBatchCompression(kgo.SnappyCompression())
}

// options are what every client has, and those that are given.
func (c Config) options(log *slog.Logger, more ...kgo.Opt) ([]kgo.Opt, error) {
	opts, err := c.secured()
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.WithLogger(logger{log}),
		// A broker that comes back is to be found within a second or two.
		kgo.RetryBackoffFn(backoff),
		kgo.MetadataMinAge(250*time.Millisecond),
	)
	if c.Rack != "" {
		opts = append(opts, kgo.Rack(c.Rack))
	}
	return append(opts, more...), nil
}

// client returns a client that connects when it is first used. Its error says
// which setting is wrong.
func (c Config) client(log *slog.Logger, more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := c.options(log, more...)
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make kafka client: %w", err)
	}
	return cl, nil
}

func backoff(fails int) time.Duration {
	return min(100*time.Millisecond<<min(fails, 10), 2*time.Second)
}

const (
	// answer is how long a broker has to answer, every how often it is said that
	// none does.
	answer = 3 * time.Second
	every  = 5 * time.Second
)

// Wait returns once a broker answers. It logs a line every few seconds until
// then, and returns the context's error if that ends first.
func (c Config) Wait(ctx context.Context, log *slog.Logger) error {
	cl, err := c.client(log, kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer cl.Close()
	var said time.Time
	for {
		try, cancel := context.WithTimeout(ctx, answer)
		err := cl.Ping(try)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if now := time.Now(); now.Sub(said) >= every {
			said = now
			log.Warn("waiting for kafka", "addr", c.Brokers, "check", c.remedy(err), "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}
