package services

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestRegistryKeepsASchema(t *testing.T) {
	t.Parallel()
	r := Registry(t)
	const schema = `{"type":"record","name":"Fact","fields":[{"name":"n","type":"long"}]}`
	body, err := json.Marshal(map[string]string{"schema": schema})
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ ID int }
	ask(t, http.MethodPost, fmt.Sprintf("%s/subjects/services-%d/versions", r.URL, time.Now().UnixNano()), body, &made)
	var kept struct{ Schema string }
	ask(t, http.MethodGet, fmt.Sprintf("%s/schemas/ids/%d", r.URL, made.ID), nil, &kept)
	if kept.Schema != schema {
		t.Errorf("schema %d is %s, want %s", made.ID, kept.Schema, schema)
	}
}

func ask(t *testing.T, method, url string, body []byte, answer any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s answers %s", method, url, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		t.Fatal(err)
	}
}
