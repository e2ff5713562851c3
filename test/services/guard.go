package services

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// guard is a shell that waits for this process to end, however it ends, and then
// clears away what this process started: nothing that a test started outlives the
// test process, also when that is killed. It notices by a pipe that only this
// process holds open, so a guard must stay referenced as long as it is needed.
type guard struct {
	shell *exec.Cmd
	pipe  io.Closer
}

// newGuard starts a guard that will run script with args.
func newGuard(script string, args ...string) (*guard, error) {
	shell := exec.Command("sh", append([]string{"-c", "read -r _\n" + script, "guard"}, args...)...)
	// A group of its own: Ctrl-C in a terminal goes to the whole group of the test.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := shell.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make guard: %w", err)
	}
	if err := shell.Start(); err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	return &guard{shell: shell, pipe: pipe}, nil
}

// act clears away now.
func (g *guard) act() {
	g.pipe.Close()
	_ = g.shell.Wait() // what it could not remove is in the temporary folder
}
