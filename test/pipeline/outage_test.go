package pipeline

import (
	"bytes"
	crand "crypto/rand"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"sluice/internal/kafka"
	"sluice/internal/kafka/kafkatest"
	"sluice/message"
	"sluice/test/process"
)

// startGateway runs `sluice gateway` against the broker of u, on addresses of its
// own, and returns a view of u whose gateway it is, and what ends it in order.
func startGateway(t *testing.T, u *up, environ ...string) (at *up, stop func()) {
	t.Helper()
	view := *u
	view.gateway, view.admin = process.Addr(t), process.Addr(t)
	log := new(process.Log)
	cmd := exec.Command(program, "gateway", "--brokers", u.broker, "--listen", view.gateway, "--admin-listen", view.admin)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = t.TempDir(), append(os.Environ(), environ...), log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("log of sluice gateway:\n%s", log.Tail(10_000))
		}
	})
	process.Wait(t, "sluice gateway to be ready", func() bool {
		code, _ := process.Get("http://" + view.admin + "/readyz")
		return code == http.StatusOK
	})
	return &view, func() {
		t.Helper()
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("sluice gateway: exit code %d after an interrupt, want 0", code)
		}
	}
}

// TestKafkaAway proves that while Kafka does not answer the gateway takes nothing
// and says so, that the connections it has live through it, and that everything
// goes on afterwards without one being made again.
func TestKafkaAway(t *testing.T) {
	u := newUp(t, "", "--agent=false")
	u.start()
	g, stopGateway := startGateway(t, u, "SLUICE_GATEWAY__INGEST__STALL=1s")
	r := newReporter(t, g.gateway, "n1", u.addAgent("n1"), nil, crand.Reader)
	f := runFleet(t, r)
	stop := r.sendSteadily()
	process.Wait(t, "acknowledgements", func() bool { return r.ackedSeq() > 100 })

	const body = `{"id":"a1","type":"ethereum_metrics","data":{"type":"pending","body":{"pending":3}}}`
	for range 2 {
		if err := u.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		process.Wait(t, "the gateway to take nothing", func() bool {
			code, why := process.Get("http://" + g.admin + "/readyz")
			return code == http.StatusServiceUnavailable && strings.Contains(why, "kafka has owed an answer")
		})
		if code, answer := g.post("application/json", body); code != http.StatusServiceUnavailable || !strings.Contains(answer, `"busy"`) {
			t.Errorf("while Kafka is away: %d %s, want 503", code, answer)
		}
		if err := u.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		mark := r.ackedSeq()
		process.Wait(t, "acknowledgements to go on", func() bool { return r.ackedSeq() > mark+100 })
		process.Wait(t, "the gateway to be ready again", func() bool {
			code, _ := process.Get("http://" + g.admin + "/readyz")
			return code == http.StatusOK
		})
		if code, answer := g.post("application/json", body); code != http.StatusOK {
			t.Errorf("with Kafka back: %d %s", code, answer)
		}
	}
	stop()
	f.close(t)
	stopGateway()

	connected := 0
	for _, rec := range kafkatest.Read(t, u.kafka(), message.TopicIngest) {
		var fr message.Frame
		kafka.Frame(rec, &fr)
		if fr.Agent == "n1" && fr.Protocol == "gateway" && bytes.Contains(fr.Value, []byte(`"connected"`)) {
			connected++
		}
	}
	if connected != 1 {
		t.Errorf("the agent connected %d times, want once", connected)
	}
	judge(t, u, r)
}
