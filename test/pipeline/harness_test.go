package pipeline

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"

	"sluice/internal/kafka"
	"sluice/message"
	"sluice/sinks"
	"sluice/test/process"
)

// program is sluice, built once for all tests.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sluice-pipeline-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if program, err = process.Build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// up is one installation of `sluice up`: addresses and a data directory that
// stay the same from one start to the next.
type up struct {
	t                                 *testing.T
	program                           string
	data                              string
	gateway, dashboard, admin, broker string
	config                            string
	args                              []string

	cmd  *exec.Cmd
	log  *process.Log
	done chan struct{}
}

// newUp returns an installation that is not started. config is the text of its
// configuration file, empty for none.
func newUp(t *testing.T, config string, args ...string) *up {
	t.Helper()
	u := &up{t: t, program: program, data: t.TempDir(), args: args, log: new(process.Log)}
	for _, addr := range []*string{&u.gateway, &u.dashboard, &u.admin, &u.broker} {
		*addr = process.Addr(t)
	}
	if config != "" {
		u.config = filepath.Join(t.TempDir(), "sluice.yaml")
		if err := os.WriteFile(u.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		u.kill()
		if t.Failed() {
			t.Logf("log of sluice up:\n%s", u.log.Tail(20_000))
		}
	})
	return u
}

// start starts it and waits until it is ready.
func (u *up) start() {
	u.t.Helper()
	args := append([]string{"up", "--data", u.data, "--gateway-listen", u.gateway, "--dashboard-listen", u.dashboard,
		"--admin-listen", u.admin, "--broker-listen", u.broker}, u.args...)
	if u.config != "" {
		args = append(args, "--config", u.config)
	}
	u.cmd = exec.Command(u.program, args...)
	u.cmd.Dir = u.t.TempDir()
	u.cmd.Stdout, u.cmd.Stderr = u.log, u.log
	if err := u.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.done = make(chan struct{})
	go func() {
		_ = u.cmd.Wait()
		close(u.done)
	}()
	process.Wait(u.t, "sluice up to be ready", func() bool {
		select {
		case <-u.done:
			u.t.Fatalf("sluice up ended: %s\n%s", u.cmd.ProcessState, u.log.Tail(4000))
		default:
		}
		code, _ := process.Get("http://" + u.admin + "/readyz")
		return code == http.StatusOK
	})
}

// kill ends it as kill -9 does.
func (u *up) kill() {
	if u.cmd == nil {
		return
	}
	_ = u.cmd.Process.Kill()
	<-u.done
	u.cmd = nil
}

// stop ends it as Ctrl-C does and checks that it ended well and in time.
func (u *up) stop() {
	u.t.Helper()
	_ = u.cmd.Process.Signal(os.Interrupt)
	select {
	case <-u.done:
	case <-time.After(time.Minute):
		u.t.Fatal("sluice up did not stop within a minute")
	}
	if code := u.cmd.ProcessState.ExitCode(); code != 0 {
		u.t.Errorf("exit code %d after an interrupt, want 0", code)
	}
	u.cmd = nil
}

// kafka returns how to reach the embedded broker.
func (u *up) kafka() kafka.Config {
	c := kafka.DefaultConfig()
	c.Brokers = []string{u.broker}
	return c
}

// token returns that of agent a1.
func (u *up) token() string {
	u.t.Helper()
	b, err := os.ReadFile(filepath.Join(u.data, "token-a1"))
	if err != nil {
		u.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// addAgent makes an agent with the command for it and returns the token.
func (u *up) addAgent(name string) string {
	u.t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.Command(u.program, "agents", "add", name, "--brokers", u.broker)
	cmd.Dir, cmd.Stdout, cmd.Stderr = u.t.TempDir(), &out, &errOut
	if err := cmd.Run(); err != nil {
		u.t.Fatalf("agents add %s: %v\n%s", name, err, errOut.String())
	}
	return strings.TrimSpace(out.String())
}

// post sends a body to the REST protocol as agent a1.
func (u *up) post(contentType, body string, headers ...string) (int, string) {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), http.MethodPost, "http://"+u.gateway+"/data", strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+u.token())
	for i := 0; i+1 < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// drained waits until a sink has committed everything that stands on a data
// type's topic.
func (u *up) drained(sink, dataType string) {
	u.t.Helper()
	topic := message.Topic(dataType)
	process.Wait(u.t, "sink "+sink+" to commit all of "+topic, func() bool {
		stands, err := u.kafka().Range(u.t.Context(), time.Time{}, quiet, topic)
		if err != nil {
			return false
		}
		at, err := u.kafka().Committed(u.t.Context(), sinks.Group(sink), quiet)
		if err != nil {
			return false
		}
		for partition, end := range stands.End[topic] {
			if end > stands.Start[topic][partition] && at[topic][partition] < end {
				return false
			}
		}
		return true
	})
}

// archived returns how often each message ID stands in the archive's finished
// files, by data type.
func (u *up) archived(dataType string) map[string]int {
	u.t.Helper()
	ids := map[string]int{}
	err := filepath.WalkDir(filepath.Join(u.data, "archive", dataType), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".avro") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		r, err := goavro.NewOCFReader(f)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for r.Scan() {
			datum, err := r.Read()
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			ids[datum.(map[string]any)["id"].(string)]++
		}
		return r.Err()
	})
	if err != nil && !os.IsNotExist(err) {
		u.t.Fatal(err)
	}
	return ids
}

var quiet = slog.New(slog.DiscardHandler)
