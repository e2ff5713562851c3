package services

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"sluice/internal/kafka"
)

// Dynamo is a DynamoDB. Every region and every pair of credentials sees the same tables.
type Dynamo struct {
	Endpoint string // http://host:port
}

// SchemaRegistry is a schema registry.
type SchemaRegistry struct {
	URL string // the base of its Confluent-compatible API
}

// What this process started for all its tests. It is package state because that
// is its meaning: the processes behind it end when this one does (see guard).
var (
	sharedKafka    = sync.OnceValues(func() (Broker, error) { return here().kafka() })
	sharedDynamoDB = sync.OnceValues(func() (Dynamo, error) { return here().dynamoDB() })
	sharedRegistry = sync.OnceValues(func() (SchemaRegistry, error) { return here().registry() })
	saidKfake      sync.Once
)

// Kafka returns the Kafka that this run's tests share. Only if no real one can be
// had it is the embedded broker, one for this test, and Real is false then.
func Kafka(t testing.TB) Broker {
	t.Helper()
	b, err := sharedKafka()
	if err == nil {
		return b
	}
	m := here()
	if !m.allows("kfake") {
		m.miss(t, "a Kafka", err)
		return Broker{}
	}
	embedded, kerr := kafka.StartBroker("127.0.0.1:0", "", slog.New(slog.DiscardHandler))
	if kerr != nil {
		t.Fatal(kerr)
	}
	t.Cleanup(embedded.Close)
	saidKfake.Do(func() {
		m.say("Kafka is the embedded broker (kfake) of each test: %v", err)
	})
	return Broker{Plain: embedded.Addr()}
}

// RealKafka is Kafka for tests of what only the real one does. It skips where
// there is none, and fails there if CI is set.
func RealKafka(t testing.TB) Broker {
	t.Helper()
	b, err := sharedKafka()
	if err != nil {
		here().miss(t, "a real Kafka", err)
	}
	return b
}

// DynamoDB returns the DynamoDB that this run's tests share. It skips where there
// is none, and fails there if CI is set.
func DynamoDB(t testing.TB) Dynamo {
	t.Helper()
	d, err := sharedDynamoDB()
	if err != nil {
		here().miss(t, "a DynamoDB", err)
	}
	return d
}

// Registry returns the schema registry that this run's tests share. It skips where
// there is none, and fails there if CI is set.
func Registry(t testing.TB) SchemaRegistry {
	t.Helper()
	r, err := sharedRegistry()
	if err != nil {
		here().miss(t, "a schema registry", err)
	}
	return r
}

// miss ends a test that cannot have what it needs.
func (m *machine) miss(t testing.TB, what string, why error) {
	t.Helper()
	text := fmt.Sprintf("needs %s: %v", what, why)
	if m.getenv("CI") != "" {
		t.Fatal(text)
	} else {
		t.Skip("SKIP: " + text)
	}
}
