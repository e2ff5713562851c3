package schemas_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/internal/wire"
	"sluice/message"
	"sluice/schemas"
)

var quiet = slog.New(slog.DiscardHandler)

func load(t *testing.T) *schemas.Set {
	t.Helper()
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// catalog returns a catalog with a reader that knows the built-in schemas, as a
// process has it; fake is nil for one without a registry.
func catalog(t *testing.T, c kafka.Config, fake *kafkatest.Registry) *schemas.Catalog {
	t.Helper()
	var registry schemas.Registry
	if fake != nil {
		client, err := fake.Config().NewRegistry(quiet)
		if err != nil {
			t.Fatal(err)
		}
		registry = client
	}
	return schemas.NewCatalog(c, registry, schemas.NewReader(load(t)), quiet)
}

func pending(t *testing.T, set *schemas.Set) []byte {
	t.Helper()
	b, _, err := set.Type("ethereum_metrics").Append(nil, &schemas.Head{ID: "a/s/1#0", Agent: "a", Node: "a", ReceivedAt: 1}, "pending", wire.JSON, []byte(`{"pending":3}`))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func framed(id uint32, record []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, id), record[10:]...)
}

func unknown(t *testing.T, err error) *schemas.UnknownSchemaError {
	t.Helper()
	u, ok := errors.AsType[*schemas.UnknownSchemaError](err)
	if !ok {
		t.Fatalf("got %v, want an unknown schema", err)
	}
	return u
}

// TestPublishToRegistry proves that each type is registered under its topic's
// subject and written with the ID it got, and that a reader without a registry
// learns the IDs from the topic, one with a registry not even asking it.
func TestPublishToRegistry(t *testing.T) {
	c := kafkatest.New(t)
	fake := kafkatest.NewRegistry(t, 40)
	set := load(t)
	var types *schemas.Set
	for range 2 {
		var err error
		if types, err = catalog(t, c, fake).Publish(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	id := fake.ID("sluice.ethereum_metrics-value")
	if id < 40 || fake.ID("sluice.system_metrics-value") < 40 || fake.ID("sluice.networking_metrics-value") < 40 {
		t.Fatalf("not registered: %d", id)
	}
	record, want := pending(t, types), framed(id, pending(t, set))
	if !bytes.Equal(record, want) {
		t.Fatalf("got %x, want %x", record, want)
	}
	if got, want := len(kafkatest.Read(t, c, message.TopicSchemas)), 2*len(set.Names()); got != want {
		t.Errorf("%d records on the schemas topic, want %d", got, want)
	}
	asked := fake.Asked("GET", "/schemas/ids/40")
	for _, with := range []*kafkatest.Registry{nil, fake} {
		reader := catalog(t, c, with)
		var m message.Message
		if err := reader.Read(pending(t, set), &m, true); err != nil {
			t.Errorf("single object: %v", err)
		}
		unknown(t, reader.Read(record, &m, true))
		if err := reader.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, value := range [][]byte{record, pending(t, set), record} {
			m = message.Message{}
			if err := reader.Read(value, &m, true); err != nil || m.Body["pending"] != int64(3) {
				t.Errorf("got %v, %v, want pending 3", m.Body, err)
			}
		}
	}
	if fake.Asked("GET", "/schemas/ids/40") != asked {
		t.Error("the registry was asked for what the topic has")
	}
}

// TestRegistryTeaches has an ID that only the registry knows: it is asked once
// however many readers want it, says why while it cannot tell, and keeps no one
// else waiting.
func TestRegistryTeaches(t *testing.T) {
	c := kafkatest.New(t)
	fake := kafkatest.NewRegistry(t, 40)
	set := load(t)
	reader := catalog(t, c, fake)
	record := framed(7, pending(t, set))
	var m message.Message
	if u := unknown(t, reader.Read(record, &m, true)); !u.Registry || u.ID != 7 || u.Err != nil {
		t.Errorf("before the registry was asked: got %+v", u)
	}

	fake.Away(true)
	if err := reader.Refresh(t.Context()); err != nil {
		t.Fatalf("a registry that is away stops all readers: %v", err)
	}
	if err := reader.Read(record, &m, true); unknown(t, err).Err == nil || !strings.Contains(err.Error(), "check that it runs") {
		t.Errorf("away: got %v", err)
	}
	fake.Away(false)
	if err := reader.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := reader.Read(record, &m, true); !errors.Is(err, kafka.ErrNoSchema) {
		t.Errorf("not there: got %v, want ErrNoSchema", err)
	}
	fake.Put(7, set.Type("ethereum_metrics").Schema)
	asked := fake.Asked("GET", "/schemas/ids/7")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var m message.Message
			_ = reader.Read(record, &m, true)
			if err := reader.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
			if err := reader.Read(record, &m, true); err != nil || m.Body["pending"] != int64(3) {
				t.Errorf("got %v, %v, want pending 3", m.Body, err)
			}
		})
	}
	wg.Wait()
	if n := fake.Asked("GET", "/schemas/ids/7") - asked; n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// TestUnknownIDWithoutRegistry proves that the reason is said where no registry
// is set.
func TestUnknownIDWithoutRegistry(t *testing.T) {
	reader := catalog(t, kafkatest.New(t), nil)
	record := framed(7, pending(t, load(t)))
	var m message.Message
	unknown(t, reader.Read(record, &m, true))
	if err := reader.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := reader.Read(record, &m, true); !strings.Contains(unknown(t, err).Error(), "schema_registry.url") {
		t.Errorf("got %v", err)
	}
}

// TestRegistrySchemaNotOurs tells a record that can never be read, which is for
// the dead letters, from one that a newer sluice reads.
func TestRegistrySchemaNotOurs(t *testing.T) {
	fake := kafkatest.NewRegistry(t, 40)
	reader := catalog(t, kafkatest.New(t), fake)
	newer := strings.Replace(load(t).Type("ethereum_metrics").Schema, `"string"`, `{"type":"string","logicalType":"uuid"}`, 1)
	newer = strings.Replace(newer, `"name":"pending","type":"long"`, `"name":"pending","type":["long","string"]`, 1)
	tests := []struct {
		name, schema string
		foreign      bool
	}{
		{"another record", `{"type":"record","name":"order","fields":[{"name":"id","type":"string"},{"name":"total","type":"int"}]}`, true},
		{"no record", `"string"`, true},
		{"no JSON", `syntax = "proto3";`, true},
		{"newer", newer, false},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := uint32(i + 1)
			fake.Put(id, tt.schema)
			record := framed(id, pending(t, load(t)))
			var m message.Message
			unknown(t, reader.Read(record, &m, true))
			if err := reader.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			err := reader.Read(record, &m, true)
			if !tt.foreign {
				if unknown(t, err).Err == nil {
					t.Error("no reason given")
				}
				return
			}
			if fault, ok := errors.AsType[*message.Fault](err); !ok || fault.Code != message.CodeUnreadable {
				t.Errorf("got %v, want unreadable", err)
			}
		})
	}
}

// TestPublishRefusesWrongIDs proves that no record is written with an ID that
// stands for anything else, here or in records from before.
func TestPublishRefusesWrongIDs(t *testing.T) {
	set := load(t)
	t.Run("another registry", func(t *testing.T) {
		c := kafkatest.New(t)
		if _, err := catalog(t, c, kafkatest.NewRegistry(t, 40)).Publish(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		// It gives the second ID of the first registry to its first schema.
		_, err := catalog(t, c, kafkatest.NewRegistry(t, 41)).Publish(t.Context(), set)
		if err == nil || !strings.Contains(err.Error(), "the id 41") || !strings.Contains(err.Error(), "schema_registry.url") {
			t.Errorf("got %v", err)
		}
		if _, err := catalog(t, c, kafkatest.NewRegistry(t, 43)).Publish(t.Context(), set); err != nil {
			t.Errorf("other ids for the same schemas: %v", err)
		}
	})
	for name, kept := range map[string]string{
		"another schema": set.Type("networking_metrics").Schema,
		"no schema":      `{"type":"record","name":"x","fields":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			fake := kafkatest.NewRegistry(t, 40)
			fake.Fail(kafkatest.Answer{Status: 200, Body: `{"id":5}`})
			fake.Put(5, kept)
			_, err := catalog(t, kafkatest.New(t), fake).Publish(t.Context(), set)
			if err == nil || !strings.Contains(err.Error(), "id 5") {
				t.Errorf("got %v", err)
			}
		})
	}
}
