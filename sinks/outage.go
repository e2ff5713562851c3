package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// The back-off between two tries, before half of it at most is taken off by
// chance, and how often a lasting outage is mentioned.
const (
	firstWait    = 100 * time.Millisecond
	longestWait  = 30 * time.Second
	mentionEvery = 10 * time.Second
)

// outage is the time in which nothing succeeds. It waits between tries, says
// when an outage begins, every now and then that it lasts, and when it is over.
// It outlives a batch: a rebalance does not make the tries quicker.
type outage struct {
	log    *slog.Logger
	clock  func() time.Time
	jitter func() float64

	mu       sync.Mutex
	what     string
	err      error
	attempts int
	since    time.Time
	said     time.Time
}

// failed notes that a try to do what failed with err, and returns when it is
// time for the next, or with the context's error.
func (o *outage) failed(ctx context.Context, what string, err error) error {
	wait := o.note(what, err)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (o *outage) note(what string, err error) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock()
	o.what, o.err = what, err
	o.attempts++
	switch {
	case o.attempts == 1:
		o.since, o.said = now, now
		args := []any{"doing", what, "err", err}
		if p, ok := errors.AsType[*panicError](err); ok {
			args = append(args, "stack", string(p.stack))
		}
		o.log.Warn("sink failing: it is tried again until it succeeds", args...)
	case now.Sub(o.said) >= mentionEvery:
		o.said = now
		o.log.Warn("sink still failing", "doing", what, "attempts", o.attempts,
			"for", now.Sub(o.since).Round(time.Second), "err", err)
	}
	wait := min(firstWait<<min(o.attempts-1, 20), longestWait)
	return wait - time.Duration(o.jitter()*float64(wait)/2)
}

// over ends an outage, if there is one.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.attempts == 0 {
		return
	}
	o.log.Info("sink recovered", "attempts", o.attempts, "after", o.clock().Sub(o.since).Round(time.Millisecond))
	o.err, o.attempts = nil, 0
}

// forget ends an outage of which nothing more will be heard.
func (o *outage) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err, o.attempts = nil, 0
}

// state returns nil, or the last error while the outage lasts.
func (o *outage) state() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return nil
	}
	return fmt.Errorf("%s failed %d times since %s: %w", o.what, o.attempts, o.since.UTC().Format(time.RFC3339), o.err)
}

// panicError is a panic of a sink. It is a defect of the sink and not of a
// message, so the batch comes again as after any other error: nothing is skipped
// and the process lives on.
type panicError struct {
	what  string
	value any
	stack []byte
}

func newPanicError(what string, v any) *panicError {
	return &panicError{what, v, debug.Stack()}
}

// Error returns what panicked and the value, without the stack.
func (p *panicError) Error() string { return fmt.Sprintf("panic in %s: %v", p.what, p.value) }
