package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzConfig loads any file: nothing may panic, no secret may be printed, and a
// configuration without problems reads back from what Print writes.
func FuzzConfig(f *testing.F) {
	names, err := filepath.Glob("testdata/*.y*ml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "sluice.yaml")
		put := func(b []byte) {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put(b)
		first, err := load(Sources{File: file, Environ: []string{"SLUICE_GATEWAY__PORT=1", "SLUICE_ROUTES__A=dashboard"}})
		var printed bytes.Buffer
		if err := first.Print(&printed, true); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Schema(); err != nil {
			t.Fatal(err)
		}
		if err := first.Env(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		first.gateway.TLS.Password, first.gateway.TLS.Keys, first.gateway.TLS.Tokens = "", nil, nil
		printed.Reset()
		if err := first.Print(&printed, true); err != nil {
			t.Fatal(err)
		}
		put(bytes.ReplaceAll(printed.Bytes(), []byte(mask), []byte("x")))
		again, err := load(Sources{File: file})
		if err != nil {
			t.Fatalf("%v in\n%s", err, &printed)
		}
		again.gateway.TLS.Keys = nil
		for _, g := range []*gatewayConfig{&first.gateway, &again.gateway} {
			if len(g.TLS.Headers) == 0 {
				g.TLS.Headers = nil // or empty, which YAML does not tell apart
			}
		}
		if !reflect.DeepEqual(first.gateway, again.gateway) || len(first.routes) != len(again.routes) {
			t.Fatalf("got\n%#v\nwant\n%#v\nfrom\n%s", again.gateway, first.gateway, &printed)
		}
	})
}
