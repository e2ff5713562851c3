package schemas_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"sluice/internal/kafka/kafkatest"
	"sluice/internal/wire"
	"sluice/message"
	"sluice/schemas"
)

// TestCatalogTeaches proves that a reader which never saw a type learns it from
// the topic, and that a schema is written there once.
func TestCatalogTeaches(t *testing.T) {
	c := kafkatest.New(t)
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	weather := `{"type":"record","name":"weather","namespace":"sluice.weather","fields":[
		{"name":"id","type":"string"},{"name":"agent","type":"string"},{"name":"node","type":"string"},
		{"name":"network","type":["null","string"],"default":null},{"name":"genesis","type":["null","string"],"default":null},
		{"name":"received_at","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"observed_at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
		{"name":"body","type":[{"type":"record","name":"wind","fields":[{"name":"speed","type":"double"}]}]}]}`
	if err := os.WriteFile(filepath.Join(dir, "weather.avsc"), []byte(weather), 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := schemas.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		types, err := schemas.NewCatalog(c, nil, schemas.NewReader(writer), log).Publish(t.Context(), writer)
		if err != nil {
			t.Fatal(err)
		}
		if types != writer {
			t.Error("without a registry the types are not those that were given")
		}
	}
	if got, want := len(kafkatest.Read(t, c, message.TopicSchemas)), len(writer.Names()); got != want {
		t.Errorf("%d records on the schemas topic, want %d", got, want)
	}

	value, _, err := writer.Type("weather").Append(nil, &schemas.Head{ID: "a/s/1#0", Agent: "a", Node: "a", ReceivedAt: 1}, "wind", wire.JSON, []byte(`{"speed":3.5}`))
	if err != nil {
		t.Fatal(err)
	}
	known, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	reader := schemas.NewReader(known)
	var m message.Message
	if err := reader.Read(value, &m, true); err == nil {
		t.Fatal("a reader that never saw the schema read the record")
	}
	if err := schemas.NewCatalog(c, nil, reader, log).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := reader.Read(value, &m, true); err != nil || m.Body["speed"] != 3.5 {
		t.Errorf("after Refresh: got %v, %v, want speed 3.5", m.Body, err)
	}
}
