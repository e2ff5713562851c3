package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", name, got, want)
	}
}

// load runs the whole way from a file to the error.
func load(src Sources) (*sample, error) {
	s, err := newSample(src)
	if err != nil {
		return s, err
	}
	_ = s.Decode()
	s.checkRoutes()
	return s, s.Err()
}

func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, err := load(Sources{File: name})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if got, want := strings.Count(err.Error(), "\n")+1, len(e.Problems); got != want {
				t.Errorf("got %d lines, want one for each of %d problems", got, want)
			}
			if strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "forbidden") {
				t.Errorf("a secret in %q", err)
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}
