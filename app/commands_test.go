package app

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/kafka/kafkatest"
)

// TestTopicsCreate pins that the command makes what is absent, can be repeated,
// and is what a role without the right to create topics asks for.
func TestTopicsCreate(t *testing.T) {
	c := kafkatest.Empty(t)
	brokers := "--brokers=" + c.Brokers[0]
	forbidden := []string{"SLUICE_KAFKA__TOPICS__CREATE=false"}
	if code, _, said := run(t, forbidden, "normalizer", brokers, "--admin-listen="); code != exitFailed || !strings.Contains(said, "sluice topics create") {
		t.Errorf("role without topics: exit code %d, said %s; want 1 and the command that makes them", code, said)
	}
	for range 2 {
		if code, _, said := run(t, forbidden, "topics", "create", brokers); code != exitOK || !strings.Contains(said, "ethereum_metrics") {
			t.Errorf("exit code %d, said %s", code, said)
		}
	}
	if got := len(kafkatest.Read(t, c, "sluice.ingest", "sluice.system_metrics")); got != 0 {
		t.Errorf("read %d records of topics that are new", got)
	}
	if code, _, said := run(t, []string{"SLUICE_KAFKA__TOPICS__RETENTION=1h"}, "topics", "create", brokers); code != exitOK || !strings.Contains(said, "retention.ms") {
		t.Errorf("exit code %d, said %s; want what differs", code, said)
	}
}

// TestAddAgentTokenFile pins that the command can be repeated: it keeps the
// token that stands in the file.
func TestAddAgentTokenFile(t *testing.T) {
	c := kafkatest.New(t)
	file := filepath.Join(t.TempDir(), "tokens", "agent")
	var first string
	for range 2 {
		code, out, said := run(t, nil, "agents", "add", "m1", "--token-file", file, "--brokers="+c.Brokers[0])
		if code != exitOK || out != "" {
			t.Fatalf("exit code %d, printed %q, said %s; want nothing on the standard output", code, out, said)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(b)
		}
		if string(b) != first {
			t.Error("the token in the file changed")
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("token file: %v, %v, want it for its owner only", info.Mode(), err)
	}
	if got := len(kafkatest.Read(t, c, "sluice.agents")); got != 1 {
		t.Errorf("%d entries written, want 1", got)
	}
}

// TestHealthcheck asks an admin address that answers in each way.
func TestHealthcheck(t *testing.T) {
	ready := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("normalizer: not a member\nsink x: closed\n"))
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	}))
	defer srv.Close()
	addr := strings.TrimPrefix(srv.URL, "http://")
	if code, out, said := run(t, nil, "healthcheck", "--admin-listen", addr); code != exitOK || out != "ready\n" {
		t.Errorf("ready: exit code %d, printed %q, said %q", code, out, said)
	}
	ready = false
	if code, _, said := run(t, nil, "healthcheck", "--admin-listen", addr); code != exitFailed || !strings.Contains(said, "normalizer: not a member; sink x: closed") {
		t.Errorf("not ready: exit code %d, said %q", code, said)
	}
	if code, _, said := run(t, nil, "healthcheck", "--live", "--admin-listen", addr); code != exitOK {
		t.Errorf("alive: exit code %d, said %q", code, said)
	}
	srv.Close()
	if code, _, said := run(t, nil, "healthcheck", "--admin-listen", addr); code != exitFailed || !strings.Contains(said, "admin.listen") {
		t.Errorf("nobody there: exit code %d, said %q", code, said)
	}
	if code, _, said := run(t, nil, "healthcheck", "--admin-listen="); code != exitFailed || !strings.Contains(said, "admin.listen") {
		t.Errorf("no address: exit code %d, said %q", code, said)
	}
}

// TestAliveWhileKafkaIsAway pins that a role which waits for Kafka is alive and
// not ready, and says so, and that it ends in order.
func TestAliveWhileKafkaIsAway(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := taken.Addr().String()
	if code, _, said := run(t, nil, "normalizer", "--brokers", nobody, "--admin-listen", admin); code != exitFailed || !strings.Contains(said, "admin.listen") {
		t.Errorf("admin address in use: exit code %d, said %s", code, said)
	}
	taken.Close()

	ctx, stop := context.WithCancel(t.Context())
	var said bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, Default(), []string{"normalizer", "--brokers", nobody, "--admin-listen", admin}, Streams{Out: io.Discard, Err: &said}, nil)
	}()
	await(t, "the admin address to answer", func() bool {
		_, err := ask(t.Context(), "http://"+admin+"/livez")
		return err == nil
	})
	if answer, err := ask(t.Context(), "http://"+admin+"/readyz"); err == nil || !strings.Contains(err.Error(), "waiting for kafka") {
		t.Errorf("ready: %q, %v; want what is waited for", answer, err)
	}
	stop()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d after a signal, want 0; said %s", got, &said)
	}
}
