package services

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// stopWithin is how long a service may take to stop in order.
const stopWithin = 30 * time.Second

// quick makes Java start with two thirds of the processor time (2.3 s of it instead
// of 3.5 s for Kafka), by compiling once and simply. Who measures throughput must
// not do it here.
const quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

// clearAway kills the process group whose leader is written in the file pid of
// the folder, and removes the folder once it is gone.
const clearAway = `
pid=$(cat "$1/pid" 2>/dev/null) && kill -s KILL -- "-$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf "$1" 2>/dev/null && exit
	sleep 0.2
done`

// jvm is a service that runs as a process of this machine, in a folder of its own.
type jvm struct {
	what   string
	dir    string // its files, its log, its data
	script string
	env    []string
	guard  *guard

	mu  sync.Mutex
	pid int // 0 if it does not run
}

// newJVM makes the folder and starts the process.
func newJVM(what string, l launch, env []string) (*jvm, error) {
	dir, err := os.MkdirTemp("", "sluice-services-")
	if err != nil {
		return nil, err
	}
	g, err := newGuard(clearAway, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	for name, content := range l.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			g.act()
			return nil, err
		}
	}
	// Nothing of the test's own environment: services take settings from there.
	env = append(env, "DIR="+dir, "PATH="+os.Getenv("PATH"), "HOME="+dir, "LC_ALL=C.UTF-8")
	for name, value := range l.env {
		env = append(env, name+"="+value)
	}
	j := &jvm{what: what, dir: dir, env: env, guard: g, script: "echo $$ >pid\n" + l.script}
	if err := j.again(); err != nil {
		g.act()
		return nil, err
	}
	return j, nil
}

func (j *jvm) from() string      { return j.what }
func (j *jvm) container() string { return "" }

func (j *jvm) again() error {
	log, err := os.OpenFile(filepath.Join(j.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("sh", "-c", j.script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = j.dir, j.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", j.what, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pid = cmd.Process.Pid
	// Waited for by pid in alive: a goroutine in cmd.Wait for as long as the service
	// lives would be a leak to the tests that look for one.
	return cmd.Process.Release()
}

func (j *jvm) alive() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pid == 0 {
		return false
	}
	got, err := syscall.Wait4(j.pid, nil, syscall.WNOHANG, nil)
	if got == 0 && (err == nil || errors.Is(err, syscall.EINTR)) {
		return true
	}
	j.pid = 0
	_ = os.Remove(filepath.Join(j.dir, "pid"))
	return false
}

func (j *jvm) signal(s syscall.Signal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pid != 0 {
		_ = syscall.Kill(-j.pid, s) // it may have ended by itself
	}
}

func (j *jvm) halt(kill bool) error {
	if kill {
		j.signal(syscall.SIGKILL)
	} else {
		j.signal(syscall.SIGTERM)
	}
	for deadline := time.Now().Add(stopWithin); j.alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			j.signal(syscall.SIGKILL)
			if kill {
				return fmt.Errorf("%s did not end within %s of SIGKILL", j.what, stopWithin)
			}
			return errors.Join(fmt.Errorf("%s did not stop within %s and was killed", j.what, stopWithin), j.halt(true))
		}
	}
	return nil
}

func (j *jvm) remove() {
	_ = j.halt(true)
	j.guard.act()
}

// tailSize is how much of a log an error shows, in bytes.
const tailSize = 4 << 10

func (j *jvm) tail() string {
	f, err := os.Open(filepath.Join(j.dir, "log"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-tailSize), io.SeekStart)
	}
	text, _ := io.ReadAll(f)
	return string(text)
}
