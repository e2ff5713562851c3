package process

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Build compiles sluice into dir and returns the program's path.
func Build(dir string) (string, error) {
	program := filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", program, "sluice").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sluice: %w\n%s", err, out)
	}
	return program, nil
}

// Options say how a program is run.
type Options struct {
	Args []string
	// Env is added to that of the test.
	Env []string
	// Admin is the address of its health.
	Admin string
}

// Process is one program of an installation, which may run or not. Its methods
// may be called from any goroutine; what goes wrong fails the test.
type Process struct {
	t       testing.TB
	name    string
	program string
	opts    Options
	dir     string
	log     *Log

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
}

// New returns a process that does not run yet. It is killed when the test ends,
// and its log is shown if that failed; with SLUICE_TEST_LOGS=DIR all of it is
// kept there.
func New(t testing.TB, name, program string, o Options) *Process {
	t.Helper()
	p := &Process{t: t, name: name, program: program, opts: o, dir: t.TempDir(), log: new(Log)}
	t.Cleanup(func() {
		p.Kill()
		if dir := os.Getenv("SLUICE_TEST_LOGS"); dir != "" {
			file := strings.NewReplacer("/", "-", " ", "-").Replace(t.Name() + "-" + name + ".log")
			if err := os.WriteFile(filepath.Join(dir, file), []byte(p.log.String()), 0o600); err != nil {
				t.Errorf("keep the log of %s: %v", name, err)
			}
		}
		if t.Failed() {
			t.Logf("the log of %s ends:\n%s", p.name, p.log.Tail(6000))
		}
	})
	return p
}

// Name is what the test calls it.
func (p *Process) Name() string { return p.name }

// Log is all that it ever wrote.
func (p *Process) Log() *Log { return p.log }

// Start starts it.
func (p *Process) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		p.t.Errorf("%s is to be started, but runs", p.name)
		return
	}
	cmd := exec.Command(p.program, p.opts.Args...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.opts.Env...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		p.t.Errorf("start %s: %v", p.name, err)
		return
	}
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
}

// running is for who holds the lock.
func (p *Process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Running reports whether it runs.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

// Ready reports whether it says that it is.
func (p *Process) Ready() bool {
	code, _ := Get("http://" + p.opts.Admin + "/readyz")
	return code == http.StatusOK
}

// AwaitReady waits until it is ready, and fails the test if it ends before.
func (p *Process) AwaitReady() {
	p.t.Helper()
	Wait(p.t, p.name+" to be ready", func() bool {
		if !p.Running() {
			p.t.Fatalf("%s ended before it was ready: %s", p.name, p.log.Tail(4000))
		}
		return p.Ready()
	})
}

// Signal sends it a signal, if it runs.
func (p *Process) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		_ = p.cmd.Process.Signal(s) // it may have ended by itself
	}
}

// Kill ends it as kill -9 does, if it runs, and reports whether it did.
func (p *Process) Kill() bool {
	p.mu.Lock()
	running, ended := p.running(), p.ended
	if running {
		_ = p.cmd.Process.Kill()
	}
	p.mu.Unlock()
	if running {
		<-ended
	}
	return running
}

// Stop ends it with SIGTERM and returns its exit code.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Exit(time.Minute)
}

// Exit waits for it to end by itself and returns its exit code. After the
// timeout it is killed, and the test has failed.
func (p *Process) Exit(timeout time.Duration) int {
	p.t.Helper()
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		p.t.Errorf("%s is to end, but was never started", p.name)
		return -1
	}
	select {
	case <-ended:
	case <-time.After(timeout):
		p.t.Errorf("%s did not end within %s", p.name, timeout)
		p.Kill()
	}
	return cmd.ProcessState.ExitCode()
}
