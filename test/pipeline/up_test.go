package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
	"sluice/test/process"
)

// smallFrames returns a configuration file in which frames are at most 64 KiB.
func smallFrames(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(path, []byte("gateway:\n  limits:\n    frame: 64KiB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestUp proves what a newcomer sees: without any configuration this machine
// appears with its numbers, what `up` prints works, and history is there again
// after a restart.
func TestUp(t *testing.T) {
	u := newUp(t, "")
	u.start()
	type node struct {
		Agent, State string
		CPU, Memory  *float64
	}
	nodes := func() (body string, all []node) {
		_, body = process.Get("http://" + u.dashboard + "/api/v1/nodes")
		var page struct{ Nodes []node }
		_ = json.Unmarshal([]byte(body), &page)
		return body, page.Nodes
	}
	process.Wait(t, "this machine with its numbers", func() bool {
		_, all := nodes()
		return len(all) == 1 && all[0].State == "ok" && all[0].CPU != nil && all[0].Memory != nil && *all[0].Memory > 0
	})
	first, _ := nodes()
	process.Wait(t, "the numbers to move", func() bool { now, _ := nodes(); return now != first })

	said := u.log.String()
	for _, want := range []string{"http://" + u.dashboard, u.token(), "agent --url ws://" + u.gateway, "curl -H"} {
		if !strings.Contains(said, want) {
			t.Errorf("up does not print %q:\n%s", want, said)
		}
	}
	curl := regexp.MustCompile(`(?m)^ *(curl .*)$`).FindStringSubmatch(said)
	if curl == nil {
		t.Fatal("up prints no line for curl")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("curl is not on this machine: what its line sends is sent from here")
		body := regexp.MustCompile(`-d '([^']*)'`).FindStringSubmatch(curl[1])
		if code, answer := u.post("application/json", body[1]); code != http.StatusOK {
			t.Errorf("what the line for curl sends: %d %s", code, answer)
		}
	} else if out, err := exec.Command("sh", "-c", curl[1]).CombinedOutput(); err != nil || !strings.Contains(string(out), `"result":"success"`) {
		t.Errorf("the line for curl: %v, %s", err, out)
	}
	process.Wait(t, "what curl sent", func() bool { _, all := nodes(); return len(all) == 2 })

	u.stop()
	u.args = append(u.args, "--agent=false")
	u.start()
	process.Wait(t, "history after a restart", func() bool { _, all := nodes(); return len(all) == 2 })
	u.stop()
}

// TestREST proves the answers of POST /data, and where each message ends.
func TestREST(t *testing.T) {
	u := newUp(t, "", "--agent=false")
	u.start()
	const good = `{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}`
	tests := []struct {
		name, body, auth string
		status           int
		says             string
	}{
		{"good", good, "", 200, `"result":"success"`},
		{"fault inside data", strings.Replace(good, "3", `"three"`, 1), "", 200, `"result":"success"`},
		{"unknown type", strings.Replace(good, "ethereum_metrics", "weather", 1), "", 422, "unknown_type"},
		{"no type", `{"id":"a1","data":{"type":"pending","body":{}}}`, "", 422, `"field":"type"`},
		{"foreign id", strings.Replace(good, "a1", "a2", 1), "", 403, "foreign_id"},
		{"no token", good, "-", 401, ""},
		{"wrong token", good, "Bearer tsk_wrong", 401, ""},
		{"not JSON", "hello", "", 400, "malformed"},
		{"1 MiB of brackets", strings.Repeat("[", 1<<20), "", 400, "depth"},
		{"too large", strings.Repeat(" ", 1<<20+1), "", 413, ""},
	}
	for _, tt := range tests {
		headers := []string{}
		if tt.auth == "-" {
			headers = []string{"Authorization", ""}
		} else if tt.auth != "" {
			headers = []string{"Authorization", tt.auth}
		}
		code, body := u.post("application/json", tt.body, headers...)
		if code != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: got %d %.200s, want %d with %q", tt.name, code, body, tt.status, tt.says)
		}
	}
	rs := kafkatest.Wait(t, u.kafka(), func(rs []*kafka.Record) bool { return len(rs) >= 2 }, message.Topic("ethereum_metrics"), message.TopicDeadLetters)
	var messages, letters int
	for _, r := range rs {
		if r.Topic != message.TopicDeadLetters {
			messages++
			continue
		}
		letters++
		if d := kafka.DeadLetter(r); d.Code != message.CodeInvalid || d.Field != "data.body.pending" || d.Reason == "" {
			t.Errorf("dead letter: code %s, field %s, reason %q", d.Code, d.Field, d.Reason)
		}
	}
	if messages != 1 || letters != 1 {
		t.Errorf("%d messages and %d dead letters, want 1 and 1", messages, letters)
	}
	for _, key := range []string{"retry-1", "retry-1"} {
		if code, body := u.post("application/json", good, "Idempotency-Key", key); code != 200 || !strings.Contains(body, "a1/retry-1") {
			t.Errorf("with an idempotency key: %d %s", code, body)
		}
	}
	process.Wait(t, "both transmissions to be normalized", func() bool {
		return len(kafkatest.Read(t, u.kafka(), message.Topic("ethereum_metrics"))) == 3
	})
	u.drained("archive", "ethereum_metrics")
	u.stop()
	if got := u.archived("ethereum_metrics")["a1/retry-1#0"]; got != 1 {
		t.Errorf("the archive holds the message sent twice %d times, want once", got)
	}
}

// TestTypeByFile proves that a data type added by one file goes from curl to the
// archive.
func TestTypeByFile(t *testing.T) {
	dir := t.TempDir()
	schema := `{"type":"record","name":"weather","namespace":"sluice.weather","fields":[
 {"name":"id","type":"string"},{"name":"agent","type":"string"},{"name":"node","type":"string"},
 {"name":"network","type":["null","string"],"default":null},{"name":"genesis","type":["null","string"],"default":null},
 {"name":"received_at","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"observed_at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
 {"name":"body","type":[{"type":"record","name":"wind","fields":[{"name":"speed","type":"double"},{"name":"station","type":"string"}]}]}]}`
	if err := os.WriteFile(filepath.Join(dir, "weather.avsc"), []byte(schema), 0o600); err != nil {
		t.Fatal(err)
	}
	u := newUp(t, fmt.Sprintf("schemas:\n  dir: %s\nroutes:\n  weather: [archive]\n", dir), "--agent=false")
	u.start()
	code, body := u.post("application/json", `{"id":"a1","type":"weather","data":{"type":"wind","body":{"speed":3.5,"station":"roof"}}}`, "Idempotency-Key", "w1")
	if code != 200 {
		t.Fatalf("got %d %s", code, body)
	}
	kafkatest.Wait(t, u.kafka(), func(rs []*kafka.Record) bool { return len(rs) == 1 }, "sluice.weather")
	u.drained("archive", "weather")
	u.stop()
	if got := u.archived("weather")["a1/w1#0"]; got != 1 {
		t.Errorf("the archive holds the message %d times, want once", got)
	}
}

// TestSinkOutside proves that the code of docs/adding-a-sink.md, in a module of
// its own, compiles and runs as it stands there.
func TestSinkOutside(t *testing.T) {
	u, dir := outside(t, "docs/adding-a-sink.md")
	u.start()
	if code, body := u.post("application/json", `{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}`, "Idempotency-Key", "x"); code != http.StatusOK {
		t.Fatalf("got %d %s", code, body)
	}
	const want = `{"body":{"pending":3},"id":"a1/x#0","kind":"pending","type":"ethereum_metrics"}` + "\n"
	process.Wait(t, "the sink to write", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "messages.jsonl"))
		return err == nil && string(b) == want
	})
	u.stop()
}

// TestProtocolOutside proves the same of docs/adding-a-protocol.md.
func TestProtocolOutside(t *testing.T) {
	u, _ := outside(t, "docs/adding-a-protocol.md")
	u.start()
	const text = "system_metrics load load1=0.4 load5=0.3 load15=0.2\n\nsystem_metrics load load1=much\nhello\n"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+u.gateway+"/plain", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+u.token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s", resp.Status)
	}
	rs := kafkatest.Wait(t, u.kafka(), func(rs []*kafka.Record) bool { return len(rs) >= 3 }, message.Topic("system_metrics"), message.TopicDeadLetters)
	var codes []string
	messages := 0
	for _, r := range rs {
		if r.Topic != message.TopicDeadLetters {
			messages++
			continue
		}
		d := kafka.DeadLetter(r)
		codes = append(codes, fmt.Sprintf("%d %s %q", d.Index, d.Code, d.Value))
	}
	want := []string{`1 invalid "system_metrics load load1=much\n"`, `2 envelope "hello\n"`}
	if messages != 1 || !slices.Equal(codes, want) {
		t.Errorf("%d messages, dead letters %q, want 1 and %q", messages, codes, want)
	}
	u.stop()
}

// outside builds the program that a page of the documentation shows, in a module
// of its own, and returns an installation of it and its directory.
func outside(t *testing.T, page string) (u *up, dir string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	var config string
	for _, block := range regexp.MustCompile("(?s)```(?:go|yaml)\n(?://|#) (\\S+)\n(.*?)```").FindAllSubmatch(mustRead(t, filepath.Join(root, page)), -1) {
		path := filepath.Join(dir, string(block[1]))
		if filepath.Base(path) == "sluice.yaml" {
			config = strings.Replace(string(block[2]), "messages.jsonl", filepath.Join(dir, "messages.jsonl"), 1)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, block[2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if config == "" {
		t.Fatalf("no sluice.yaml in %s", page)
	}
	if lines := bytes.Count(mustRead(t, filepath.Join(dir, "main.go")), []byte("\n")); lines > 18 {
		t.Errorf("main.go has %d lines: a third party's main is to be ten lines and their imports", lines)
	}
	mod := bytes.Replace(mustRead(t, filepath.Join(root, "go.mod")), []byte("module sluice"),
		[]byte("module example.org/mine\n\nrequire sluice v0.0.0\n\nreplace sluice => "+root), 1)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), mustRead(t, filepath.Join(root, "go.sum")), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-mod=mod", "-o", "mine", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	u = newUp(t, config, "--agent=false")
	u.program = filepath.Join(dir, "mine")
	return u, dir
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSecondSignal proves that the first signal ends the process in order and
// the second at once.
func TestSecondSignal(t *testing.T) {
	u := newUp(t, "shutdown:\n  delay: 15s\n", "--agent=false")
	u.start()
	_ = u.cmd.Process.Signal(os.Interrupt)
	process.Wait(t, "the process to be stopping", func() bool {
		code, body := process.Get("http://" + u.admin + "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	if code, _ := process.Get("http://" + u.admin + "/livez"); code != http.StatusOK {
		t.Errorf("not alive while it stops: %d", code)
	}
	_ = u.cmd.Process.Signal(os.Interrupt)
	<-u.done
	if code := u.cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d after the second signal, want 130", code)
	}
	u.cmd = nil
}

// TestSecondUp proves that two processes never work on one data directory.
func TestSecondUp(t *testing.T) {
	u := newUp(t, "", "--agent=false")
	u.start()
	started := time.Now()
	out, err := exec.Command(program, "up", "--data", u.data, "--broker-listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is in use by another sluice") {
		t.Errorf("after %s: %v, %s", time.Since(started), err, out)
	}
	u.stop()
}
