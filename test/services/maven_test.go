package services

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fakeMvn puts a mvn in PATH that takes its time, counts its runs in the file it
// returns, and fetches one jar.
func fakeMvn(t *testing.T, script string) (counted string) {
	t.Helper()
	bin := t.TempDir()
	counted = filepath.Join(bin, "runs")
	script = "#!/bin/sh\necho \"$*\" >>" + counted + "\n" + script
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	return counted
}

func TestJarsAreFetchedOnce(t *testing.T) {
	counted := fakeMvn(t, "echo jar >libraries/half.jar; sleep 0.3; echo jar >libraries/whole.jar")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			folder, err := new(maven).fetch(t.Context(), dynamoDBLocal())
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(folder, "whole.jar")); err != nil {
				t.Errorf("got a folder that is half fetched: %v", err)
			}
		})
	}
	all.Wait()
	runs, err := os.ReadFile(counted)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(runs), "\n"); got != 1 {
		t.Errorf("mvn ran %d times, want once:\n%s", got, runs)
	}
	if !strings.HasPrefix(string(runs), "dependency:copy-dependencies ") {
		t.Errorf("mvn was asked to %s", runs)
	}
}

func TestAFetchThatFailsIsDoneAgain(t *testing.T) {
	counted := fakeMvn(t, "echo jar >libraries/half.jar; echo no network; [ -e \"$0.works\" ]")
	_, err := new(maven).fetch(t.Context(), apicurio())
	if err == nil || !strings.HasPrefix(err.Error(), "fetch Apicurio Registry 3.0.9 with mvn: exit status 1\n") || !strings.Contains(err.Error(), "no network") {
		t.Fatalf("error is %v, want what mvn said", err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(counted), "mvn.works"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := new(maven).fetch(t.Context(), apicurio())
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(folder + ".part-*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	runs, err := os.ReadFile(counted)
	if err != nil {
		t.Fatal(err)
	}
	if want := "dependency:unpack -Dartifact=io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all "; strings.Count(string(runs), want) != 2 {
		t.Errorf("mvn was asked to\n%swant twice %s", runs, want)
	}
}
