package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says where Kafka is and how topics are made.
type Config struct {
	Brokers  []string `koanf:"brokers" doc:"addresses of the brokers, host:port"`
	ClientID string   `koanf:"client_id" doc:"the name under which sluice is known to the brokers"`
	Topics   Topics   `koanf:"topics" doc:"how topics are created; existing topics are never altered"`
}

// DefaultConfig returns the settings of a single broker on this machine.
func DefaultConfig() Config {
	return Config{
		Brokers:  []string{"127.0.0.1:9092"},
		ClientID: "sluice",
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

// options are what every client has.
func (c Config) options(log *slog.Logger) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.WithLogger(logger{log}),
		// A broker that comes back is to be found within a second or two.
		kgo.RetryBackoffFn(backoff),
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
}

func backoff(fails int) time.Duration {
	return min(100*time.Millisecond<<min(fails, 10), 2*time.Second)
}

// Wait returns once a broker answers. It logs a line every few seconds until
// then, and returns the context's error if that ends first.
func (c Config) Wait(ctx context.Context, log *slog.Logger) error {
	cl, err := kgo.NewClient(append(c.options(log), kgo.RequestRetries(0))...)
	if err != nil {
		return fmt.Errorf("make kafka client: %w", err)
	}
	defer cl.Close()
	const every = 5 * time.Second
	var said time.Time
	for {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
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
			log.Warn("waiting for kafka: check that a broker runs at this address and that kafka.brokers is right",
				"addr", c.Brokers, "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}
