package services

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// All names the services that Start knows.
var All = []string{"kafka", "dynamodb", "registry"}

// Running is services that were started for a command and all its children.
type Running struct {
	// Environment tells tests where the services are, as name=value.
	Environment []string

	machine *machine
	dir     string
}

// Start starts what names says, at the same time. What cannot be had is in the
// error, a line for each, and missing from what it returns, which is of use all the same.
func Start(names ...string) (*Running, error) {
	return newStart(here(), names)
}

func newStart(m *machine, names []string) (*Running, error) {
	dir, err := os.MkdirTemp("", "sluice-services-run-")
	if err != nil {
		return nil, err
	}
	running := &Running{machine: m, dir: dir}
	environments, errs := make([][]string, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for n, name := range names {
		all.Go(func() { environments[n], errs[n] = running.one(name) })
	}
	all.Wait()
	running.Environment = slices.Concat(environments...)
	return running, errors.Join(errs...)
}

func (r *Running) one(name string) ([]string, error) {
	switch name {
	case "kafka":
		b, err := r.machine.kafka()
		if err != nil {
			return nil, fmt.Errorf("no kafka: %w", err)
		}
		ca := ""
		if len(b.CA) > 0 {
			ca = filepath.Join(r.dir, "ca.pem")
			if err := os.WriteFile(ca, b.CA, 0o600); err != nil {
				return nil, fmt.Errorf("no kafka: %w", err)
			}
		}
		return b.environment(ca), nil
	case "dynamodb":
		d, err := r.machine.dynamoDB()
		if err != nil {
			return nil, fmt.Errorf("no dynamodb: %w", err)
		}
		return []string{envDynamoDB + "=" + d.Endpoint}, nil
	case "registry":
		found, err := r.machine.registry()
		if err != nil {
			return nil, fmt.Errorf("no registry: %w", err)
		}
		return []string{envRegistry + "=" + found.URL}, nil
	}
	return nil, fmt.Errorf("no %s: services are %v", name, All)
}

// Stop ends and removes what Start started.
func (r *Running) Stop() {
	r.machine.mu.Lock()
	defer r.machine.mu.Unlock()
	for _, i := range r.machine.kept {
		i.remove()
	}
	r.machine.kept = nil
	_ = os.RemoveAll(r.dir)
}
