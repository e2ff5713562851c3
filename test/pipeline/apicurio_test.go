package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/kafka"
	"sluice/schemas"
	"sluice/test/services"
)

// TestRealRegistry holds the client to a real registry: what it keeps, what it
// refuses and how it says so.
func TestRealRegistry(t *testing.T) {
	c := kafka.DefaultSchemaRegistry()
	c.URL, c.Timeout = services.Registry(t).URL, 30*time.Second
	r, err := c.NewRegistry(quiet)
	if err != nil {
		t.Fatal(err)
	}
	subject := fmt.Sprintf("sluice.test%d-value", time.Now().UnixNano())
	set, err := schemas.Load("")
	if err != nil {
		t.Fatal(err)
	}
	first, second := set.Type("ethereum_metrics").Schema, set.Type("system_metrics").Schema

	t.Run("many at once get one id", func(t *testing.T) {
		ids := make([]uint32, 6)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				id, kept, err := r.Register(t.Context(), subject, first)
				if err != nil || kept != first {
					t.Errorf("got %v, %s", err, kept)
				}
				ids[i] = id
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("got the ids %v, want one", ids)
			}
		}
	})
	t.Run("no such id", func(t *testing.T) {
		if _, err := r.Schema(t.Context(), 1<<31-1); !errors.Is(err, kafka.ErrNoSchema) {
			t.Errorf("got %v, want ErrNoSchema", err)
		}
	})
	t.Run("order of fields is a schema of its own", func(t *testing.T) {
		ab := `{"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"b","type":"long"}]}`
		ba := `{"type":"record","name":"r","fields":[{"name":"b","type":"long"},{"name":"a","type":"int"}]}`
		x, _, err := r.Register(t.Context(), subject+"-order", ab)
		if err != nil {
			t.Fatal(err)
		}
		y, kept, err := r.Register(t.Context(), subject+"-order", ba)
		if err != nil || x == y || kept != ba {
			t.Errorf("got %d and %d, %s, %v", x, y, kept, err)
		}
	})
	t.Run("incompatible", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.URL+"/config/"+subject, bytes.NewReader([]byte(`{"compatibility":"BACKWARD"}`)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("set compatibility: %s", resp.Status)
		}
		_, _, err = r.Register(t.Context(), subject, second)
		if err == nil || !strings.Contains(err.Error(), subject) || !strings.Contains(err.Error(), "not compatible") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("invalid", func(t *testing.T) {
		_, _, err := r.Register(t.Context(), subject+"-invalid", `{"type":"recor"`)
		if err == nil || !strings.Contains(err.Error(), "not taken as a schema") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("wrong path", func(t *testing.T) {
		wrong := c
		wrong.URL += "/nowhere"
		r, err := wrong.NewRegistry(quiet)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = r.Register(t.Context(), subject, first)
		if err == nil || !strings.Contains(err.Error(), "/apis/ccompat/v7") {
			t.Errorf("got %v", err)
		}
	})
}
