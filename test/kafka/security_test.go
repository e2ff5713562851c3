package kafka

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/config"
	"sluice/internal/kafka"
	"sluice/test/process"
	"sluice/test/services"
)

var quiet = slog.New(slog.DiscardHandler)

// TestLogins writes and reads a record in each way that brokers can ask for.
func TestLogins(t *testing.T) {
	b := services.RealKafka(t)
	topic := newTopic(t, b)
	for name, c := range logins(t, b) {
		t.Run(name, func(t *testing.T) {
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			writeAndRead(t, c, topic, name)
		})
	}
}

// logins returns the configuration of each way to come in.
func logins(t *testing.T, b services.Broker) map[string]kafka.Config {
	t.Helper()
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	for path, content := range map[string][]byte{ca: b.CA, token: []byte(b.Token(time.Now(), time.Hour) + "\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := func(addr string, encrypted bool, s kafka.SASL) kafka.Config {
		c := kafka.DefaultConfig()
		c.Brokers, c.SASL = []string{addr}, s
		if encrypted {
			c.TLS = kafka.TLS{Enabled: true, CAFile: ca}
		}
		return c
	}
	all := map[string]kafka.Config{
		"plaintext":   with(b.Plain, false, kafka.SASL{}),
		"TLS":         with(b.TLS, true, kafka.SASL{}),
		"OAUTHBEARER": with(b.SASL, true, kafka.SASL{Mechanism: "OAUTHBEARER", TokenFile: token}),
	}
	for _, m := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		all[m] = with(b.SASL, true, kafka.SASL{Mechanism: m, User: b.User, Password: config.Secret(b.Password)})
	}
	return all
}

// TestWrongWayIn pins what the operator reads while sluice waits for a broker
// that does not let it in.
func TestWrongWayIn(t *testing.T) {
	b := services.RealKafka(t)
	right := logins(t, b)
	for _, tt := range []struct {
		name, like string
		set        func(*kafka.Config)
		want       string
	}{
		{"wrong password", "SCRAM-SHA-512", func(c *kafka.Config) { c.SASL.Password = "not-the-password" }, "kafka.sasl"},
		{"wrong user", "PLAIN", func(c *kafka.Config) { c.SASL.User = "nobody" }, "kafka.sasl"},
		{"no login", "PLAIN", func(c *kafka.Config) { c.SASL = kafka.SASL{} }, "kafka.sasl"},
		{"unknown authority", "TLS", func(c *kafka.Config) { c.TLS.CAFile = "" }, "kafka.tls.ca_file"},
		{"wrong name", "TLS", func(c *kafka.Config) { c.TLS.ServerName = "elsewhere" }, "server_name"},
		{"no TLS", "TLS", func(c *kafka.Config) { c.TLS = kafka.TLS{} }, "kafka.tls"},
		{"TLS to a plain port", "plaintext", func(c *kafka.Config) { c.TLS.Enabled = true }, "kafka.tls"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := right[tt.like]
			tt.set(&c)
			log := new(process.Log)
			ctx, cancel := context.WithCancel(t.Context())
			waited := make(chan error, 1)
			go func() { waited <- c.Wait(ctx, slog.New(slog.NewTextHandler(log, nil))) }()
			said := line(t, log, "waiting for kafka")
			cancel()
			if err := <-waited; err == nil {
				t.Error("let in")
			}
			if !strings.Contains(said, tt.want) {
				t.Errorf("does not name %s: %s", tt.want, said)
			}
			if strings.Contains(said, "not-the-password") {
				t.Errorf("shows the password: %s", said)
			}
		})
	}
}

// TestCompression writes with each codec what any reader can read.
func TestCompression(t *testing.T) {
	b := services.Kafka(t)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			c := kafka.DefaultConfig()
			c.Brokers, c.Compression = []string{b.Plain}, codec
			r := writeAndRead(t, c, newTopic(t, b), strings.Repeat("compressible ", 100))
			names := []string{"none", "gzip", "snappy", "lz4", "zstd"}
			if got := names[r.Attrs.CompressionType()]; got != codec {
				t.Errorf("stands there as %s, want %s", got, codec)
			}
		})
	}
}

// TestBrokerAwayAtStart starts the wait before the broker.
func TestBrokerAwayAtStart(t *testing.T) {
	own := services.OwnKafka(t)
	own.Stop()
	c := kafka.DefaultConfig()
	c.Brokers = []string{own.Broker().Plain}
	log := new(process.Log)
	waited := make(chan error, 1)
	go func() { waited <- c.Wait(t.Context(), slog.New(slog.NewTextHandler(log, nil))) }()
	if said := line(t, log, "waiting for kafka"); !strings.Contains(said, "kafka.brokers") {
		t.Errorf("does not name the setting: %s", said)
	}
	own.Start()
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

// TestTooFewBrokers pins that a replication which the brokers cannot give is
// told by topic and number.
func TestTooFewBrokers(t *testing.T) {
	b := services.RealKafka(t)
	c := kafka.DefaultConfig()
	c.Brokers, c.Topics.Replication = []string{b.Plain}, 3
	_, err := c.EnsureTopics(t.Context(), nil, quiet)
	if err == nil || !strings.Contains(err.Error(), "sluice.ingest") || !strings.Contains(err.Error(), "3 replicas") || !strings.Contains(err.Error(), "INVALID_REPLICATION_FACTOR") {
		t.Errorf("got %v", err)
	}
}

// newTopic makes a topic that no other test has.
func newTopic(t *testing.T, b services.Broker) string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Plain))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	name := "test." + uuid.NewString()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// writeAndRead returns the record that it wrote, as it was read.
func writeAndRead(t *testing.T, c kafka.Config, topic, value string) *kafka.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := c.NewProducer(kafka.ProducerOptions{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Produce(ctx, &kafka.Record{Topic: topic, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
	stands, err := c.Range(ctx, time.Time{}, quiet, topic)
	if err != nil {
		t.Fatal(err)
	}
	var last *kafka.Record
	err = c.Follow(ctx, kafka.FollowOptions{Range: stands, Bounded: true}, quiet, func(_ context.Context, rs []*kafka.Record) error {
		last = rs[len(rs)-1]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if last == nil || string(last.Value) != value {
		t.Fatalf("read %v, want what was written", last)
	}
	return last
}

// line waits for a line of a log that holds text.
func line(t *testing.T, log *process.Log, text string) (found string) {
	t.Helper()
	process.Wait(t, "a line that says "+text, func() bool {
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				found = line
				return true
			}
		}
		return false
	})
	return found
}
