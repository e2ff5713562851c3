package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// child is a part in a process of its own.
type child struct {
	name string
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// start starts a part and returns when it is ready.
func start(ctx context.Context, name string, t *task) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: name, cmd: exec.CommandContext(ctx, self, partCommand, name)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	b, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	r, err := c.ask(string(b))
	if err != nil {
		_ = c.stop()
		return nil, err
	}
	c.addr = r.Addr
	return c, nil
}

// ask sends a line and returns the answer.
func (c *child) ask(line string) (report, error) {
	var r report
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		return r, fmt.Errorf("ask %s: %w", c.name, err)
	}
	if !c.out.Scan() {
		return r, fmt.Errorf("%s ended: %w", c.name, errors.Join(c.out.Err(), io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("answer of %s: %w", c.name, err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s", c.name, r.Error)
	}
	return r, nil
}

// begin starts the part's work, and its profile if there is to be one.
func (c *child) begin() (report, error) { return c.ask("begin") }

func (c *child) report() (report, error) { return c.ask("report") }

// stop ends the part and waits for it.
func (c *child) stop() error {
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// patience is how long a part may get no further.
const patience = 30 * time.Second

// until asks the part again and again until it is done, and returns its first
// report in which it had done any frames beside the last.
func (c *child) until(ctx context.Context, done func(*report) bool) (first, last moment, err error) {
	moved := time.Now()
	for {
		r, err := c.report()
		if err != nil {
			return first, last, err
		}
		m := moment{r, time.Now()}
		// That connections are alive is no progress.
		if r.Frames != last.Frames || last.Own == 0 && r.Own > 0 {
			moved = m.at
		}
		if last = m; first.Frames == 0 {
			first = m
		}
		switch {
		case done(&r):
			return first, last, nil
		case time.Since(moved) > patience:
			return first, last, fmt.Errorf("%s has done %d frames (%d of the gateway's own) and gets no further", c.name, r.Frames, r.Own)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return first, last, err
		}
	}
}

// moment is a report and when it was given.
type moment struct {
	report
	at time.Time
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
