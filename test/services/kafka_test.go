package services

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func TestKafkaOnEveryListener(t *testing.T) {
	t.Parallel()
	b := RealKafka(t)
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(b.CA) {
		t.Fatal("no certificate in Broker.CA")
	}
	encrypted := kgo.DialTLSConfig(&tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12})
	password := scram.Auth{User: b.User, Pass: b.Password}
	for _, c := range []struct {
		name string
		opts []kgo.Opt
	}{
		{"plaintext", []kgo.Opt{kgo.SeedBrokers(b.Plain)}},
		{"tls", []kgo.Opt{kgo.SeedBrokers(b.TLS), encrypted}},
		{"sasl-plain", []kgo.Opt{kgo.SeedBrokers(b.SASL), encrypted, kgo.SASL(plain.Auth{User: b.User, Pass: b.Password}.AsMechanism())}},
		{"sasl-scram-sha-256", []kgo.Opt{kgo.SeedBrokers(b.SASL), encrypted, kgo.SASL(password.AsSha256Mechanism())}},
		{"sasl-scram-sha-512", []kgo.Opt{kgo.SeedBrokers(b.SASL), encrypted, kgo.SASL(password.AsSha512Mechanism())}},
		{"sasl-oauthbearer", []kgo.Opt{kgo.SeedBrokers(b.SASL), encrypted, kgo.SASL(oauth.Auth{Token: b.Token(time.Now(), time.Hour)}.AsMechanism())}},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic := fmt.Sprintf("services-%s-%d", c.name, time.Now().UnixNano())
			client := dial(t, c.opts...)
			create(t, client, topic)
			produce(t, client, topic, "kept")
			if got := read(t, client, topic, 1); got[0] != "kept" {
				t.Errorf("read %q, want %q", got[0], "kept")
			}
		})
	}
}

func TestKafkaRefusesWrongLogins(t *testing.T) {
	t.Parallel()
	b := RealKafka(t)
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(b.CA)
	trusted := kgo.DialTLSConfig(&tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12})
	wrong := scram.Auth{User: b.User, Pass: b.Password + "x"}
	for _, c := range []struct {
		name string
		opts []kgo.Opt
	}{
		{"plain", []kgo.Opt{kgo.SeedBrokers(b.SASL), trusted, kgo.SASL(plain.Auth{User: b.User, Pass: b.Password + "x"}.AsMechanism())}},
		{"scram-sha-256", []kgo.Opt{kgo.SeedBrokers(b.SASL), trusted, kgo.SASL(wrong.AsSha256Mechanism())}},
		{"scram-sha-512", []kgo.Opt{kgo.SeedBrokers(b.SASL), trusted, kgo.SASL(wrong.AsSha512Mechanism())}},
		{"oauthbearer out of date", []kgo.Opt{kgo.SeedBrokers(b.SASL), trusted, kgo.SASL(oauth.Auth{Token: b.Token(time.Now().Add(-2*time.Hour), time.Hour)}.AsMechanism())}},
		{"no login", []kgo.Opt{kgo.SeedBrokers(b.SASL), trusted}},
		{"authority unknown", []kgo.Opt{kgo.SeedBrokers(b.TLS), kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dial(t, append(c.opts, kgo.RequestRetries(0))...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := client.Ping(ctx); err == nil {
				t.Error("was let in")
			}
		})
	}
}

func TestOwnKafkaKeepsDataOverKillAndStop(t *testing.T) {
	t.Parallel()
	p := OwnKafka(t, Set("num.partitions", "3"))
	before := p.Broker()
	client := dial(t, kgo.SeedBrokers(before.Plain))
	create(t, client, "kept")
	produce(t, client, "kept", "one")

	p.Kill()
	if p.instance.alive() {
		t.Fatal("alive after Kill")
	}
	p.Start()
	produce(t, client, "kept", "two")
	p.Stop()
	p.Start()
	produce(t, client, "kept", "three")

	got := read(t, client, "kept", 3)
	for i, want := range []string{"one", "two", "three"} {
		if got[i] != want {
			t.Errorf("record %d is %q, want %q", i, got[i], want)
		}
	}
	if after := p.Broker(); after.Plain != before.Plain || after.TLS != before.TLS || after.SASL != before.SASL {
		t.Errorf("addresses are %v, were %v", after, before)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	configs, err := kadm.NewClient(client).DescribeBrokerConfigs(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "num.partitions" && c.MaybeValue() != "3" {
			t.Errorf("num.partitions is %s, set to 3", c.MaybeValue())
		}
	}
}

// dial returns a client that ends with the test.
func dial(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func create(t *testing.T, client *kgo.Client, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, client *kgo.Client, topic, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// read returns the first n values of a topic.
func read(t *testing.T, client *kgo.Client, topic string, n int) []string {
	t.Helper()
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var values []string
	for len(values) < n {
		fetched := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d records of %s within a minute", len(values), n, topic)
		}
		fetched.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func TestToolsOfKafkaReachTheBroker(t *testing.T) {
	t.Parallel()
	b := RealKafka(t)
	topic := fmt.Sprintf("services-tool-%d", time.Now().UnixNano())
	create(t, dial(t, kgo.SeedBrokers(b.Plain)), topic)
	out, err := b.Tool(t, "kafka-topics.sh", "--list").CombinedOutput()
	if err != nil || !strings.Contains(string(out), topic) {
		t.Errorf("printed (%v)\n%s\nwant %s in it", err, out, topic)
	}
}
