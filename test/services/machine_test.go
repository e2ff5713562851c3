package services

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeWay starts nothing, or fails with err.
type fakeWay struct {
	called string
	err    error
	starts int
	made   *fakeInstance
}

func (w *fakeWay) name() string { return w.called }

func (w *fakeWay) start(context.Context, *service, []int) (instance, error) {
	w.starts++
	if w.err != nil {
		return nil, w.err
	}
	return w.made, nil
}

type fakeInstance struct{ dead, removed bool }

func (*fakeInstance) from() string      { return "from a fake" }
func (*fakeInstance) container() string { return "" }
func (i *fakeInstance) alive() bool     { return !i.dead }
func (*fakeInstance) tail() string      { return "last words" }
func (*fakeInstance) halt(bool) error   { return nil }
func (*fakeInstance) again() error      { return nil }
func (i *fakeInstance) remove()         { i.removed = true }

// fake is a service that is ready when its instance lives.
func fake(i *fakeInstance) *service {
	return &service{name: "Fake 1.0", ports: 2, ready: func(context.Context, []int) error {
		if i.dead {
			return errors.New("no answer")
		}
		return nil
	}}
}

// env is an environment for machine.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if key, value, _ := strings.Cut(p, "="); key == name {
				return value
			}
		}
		return ""
	}
}

func TestWaysAreTriedInOrder(t *testing.T) {
	absent := errors.New("not here")
	for _, c := range []struct {
		name              string
		environment       string
		first, second     error
		starts            [2]int // of the first and second way
		want, wantPrinted string
	}{
		{name: "first", starts: [2]int{1, 0}, wantPrinted: "services: Fake 1.0 from a fake at 127.0.0.1:"},
		{name: "second", first: absent, starts: [2]int{1, 1}, wantPrinted: "services: Fake 1.0 from a fake at 127.0.0.1:"},
		{name: "none", first: absent, second: errors.New("nor here\nand its log"), starts: [2]int{1, 1},
			want: "containers: not here; maven: nor here", wantPrinted: "services: Fake 1.0: maven: nor here\nand its log"},
		{name: "forced", environment: "SLUICE_TEST_SERVICES=maven", starts: [2]int{0, 1}, wantPrinted: "services: Fake 1.0 from a fake at"},
		{name: "forced and absent", environment: "SLUICE_TEST_SERVICES=containers", first: absent, starts: [2]int{1, 0},
			want: "containers: not here; maven: SLUICE_TEST_SERVICES=containers"},
		{name: "only kfake", environment: "SLUICE_TEST_SERVICES=kfake",
			want: "containers: SLUICE_TEST_SERVICES=kfake; maven: SLUICE_TEST_SERVICES=kfake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var printed strings.Builder
			i := &fakeInstance{}
			first, second := &fakeWay{called: "containers", err: c.first, made: i}, &fakeWay{called: "maven", err: c.second, made: i}
			m := newMachine(env(c.environment), &printed, first, second)
			_, _, err := m.start(fake(i))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("error is %q, want %q", got, c.want)
			}
			if starts := [2]int{first.starts, second.starts}; starts != c.starts {
				t.Errorf("started %v times, want %v", starts, c.starts)
			}
			if !strings.HasPrefix(printed.String(), c.wantPrinted) {
				t.Errorf("printed %q, want %q", printed.String(), c.wantPrinted)
			}
		})
	}
}

func TestAWayThatFailedIsNotTriedAgain(t *testing.T) {
	i := &fakeInstance{}
	first, second := &fakeWay{called: "containers", err: errors.New("broken")}, &fakeWay{called: "maven", made: i}
	m := newMachine(env(), &strings.Builder{}, first, second)
	for range 2 {
		if _, _, err := m.start(fake(i)); err != nil {
			t.Fatal(err)
		}
	}
	if first.starts != 1 || second.starts != 2 {
		t.Errorf("started %d and %d times, want 1 and 2", first.starts, second.starts)
	}
}

func TestOtherPortsWhenOneIsTaken(t *testing.T) {
	w := &fakeWay{called: "maven", err: errors.New("java.net.BindException: Address already in use")}
	if _, _, err := start(w, fake(&fakeInstance{})); err == nil || w.starts != 3 {
		t.Errorf("started %d times with error %v, want 3 times and an error", w.starts, err)
	}
}

func TestAServiceThatEndsShowsItsLogAndIsRemoved(t *testing.T) {
	i := &fakeInstance{dead: true}
	_, _, err := start(&fakeWay{called: "maven", made: i}, fake(i))
	if err == nil || !strings.Contains(err.Error(), "Fake 1.0 ended before it was ready") || !strings.Contains(err.Error(), "last words") {
		t.Errorf("error is %v, want that it ended, with the end of its log", err)
	}
	if !i.removed {
		t.Error("not removed")
	}
}

func TestEnvironmentComesFirst(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := Broker{Plain: "k:1", TLS: "k:2", SASL: "k:3", CA: []byte("PEM"), User: "u", Password: "p", Docker: "d", Real: true}
	m := newMachine(env(append(want.environment(ca), envDynamoDB+"=http://d:1", envRegistry+"=http://r:1/v7")...), &strings.Builder{})
	got, err := m.kafka()
	if err != nil {
		t.Fatal(err)
	}
	if got.Plain != want.Plain || got.TLS != want.TLS || got.SASL != want.SASL || string(got.CA) != "PEM" ||
		got.User != want.User || got.Password != want.Password || got.Docker != want.Docker || !got.Real {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if d, err := m.dynamoDB(); err != nil || d.Endpoint != "http://d:1" {
		t.Errorf("got %v, %v", d, err)
	}
	if r, err := m.registry(); err != nil || r.URL != "http://r:1/v7" {
		t.Errorf("got %v, %v", r, err)
	}
	m = newMachine(env(envKafka+"=k:1", envCA+"="+ca+".absent"), &strings.Builder{})
	if _, err := m.kafka(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v, want that the file is absent", err)
	}
}

func TestJavaMustBeThereAndNewEnough(t *testing.T) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	java := filepath.Join(home, "bin", "java")
	for _, c := range []struct{ name, script, want string }{
		{"old", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2", java + " is java 11, older than 17"},
		{"new", "echo 'openjdk version \"21\" 2023-09-19' >&2", ""},
		{"mute", "true", java + " does not say its version: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(java, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			_, _, err := (&maven{getenv: env("JAVA_HOME=" + home)}).java(t.Context())
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("error is %q, want %q", got, c.want)
			}
		})
	}
	t.Setenv("PATH", t.TempDir())
	if _, _, err := (&maven{getenv: env()}).java(t.Context()); err == nil || err.Error() != "no java in PATH and no JAVA_HOME" {
		t.Errorf("error is %v, want that there is no java", err)
	}
}
