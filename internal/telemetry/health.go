package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Health gathers the checks of one process. The zero value is ready for use and
// says that all is well. It is safe for concurrent use.
type Health struct {
	mu     sync.Mutex
	checks []check
}

type check struct {
	name  string
	ready func(context.Context) error
}

// Add adds a check that returns nil when the part called name can do its work,
// else an error that says what to do about it.
func (h *Health) Add(name string, ready func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, ready})
}

// checkTimeout bounds one check.
const checkTimeout = 2 * time.Second

// report asks every check, in the order they were added.
func (h *Health) report(ctx context.Context) (ok bool, parts []part) {
	h.mu.Lock()
	checks := h.checks
	h.mu.Unlock()
	ok = true
	for _, c := range checks {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		err := c.ready(ctx)
		cancel()
		p := part{Name: c.name, Ready: err == nil}
		if err != nil {
			ok, p.Reason = false, err.Error()
		}
		parts = append(parts, p)
	}
	return ok, parts
}

// Ready returns nil when every part can do its work, else what the first that
// cannot says.
func (h *Health) Ready(ctx context.Context) error {
	_, parts := h.report(ctx)
	for _, p := range parts {
		if !p.Ready {
			return fmt.Errorf("%s: %s", p.Name, p.Reason)
		}
	}
	return nil
}

type part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

func (h *Health) readyz(w http.ResponseWriter, r *http.Request) {
	ok, parts := h.report(r.Context())
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	if r.URL.Query().Has("verbose") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(struct {
			Ready bool   `json:"ready"`
			Parts []part `json:"parts"`
		}{ok, parts})
		return
	}
	w.WriteHeader(status)
	for _, p := range parts {
		if !p.Ready {
			_, _ = w.Write([]byte(p.Name + ": " + p.Reason + "\n"))
		}
	}
	if ok {
		_, _ = w.Write([]byte("ready\n"))
	}
}
