package sinktest_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"sluice/message"
	"sluice/sinks"
	"sluice/sinks/sinktest"
)

// table is where memory sinks write to.
type table struct {
	mu   sync.Mutex
	rows []sinktest.Item
	refs []*message.Message // what the keeping sink holds
}

// memory is a sink, right but for its fault.
type memory struct {
	*table
	fault   string
	pending []sinktest.Item
}

func (m *memory) Open(context.Context) error { return nil }

func (m *memory) Close(context.Context) error {
	if m.fault == "writes when it closes" {
		m.put(m.pending)
	}
	if m.fault == "forgets when it closes" {
		m.rows = nil
	}
	return nil
}

func (m *memory) Write(_ context.Context, batch []message.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault == "refuses an empty batch" && len(batch) == 0 {
		return errors.New("empty")
	}
	var rows []sinktest.Item
	var errs []error
	for i := range batch {
		b := &batch[i]
		if b.Kind == "none" {
			errs = append(errs, &sinks.Rejected{Index: i, Code: message.CodeUnsupported, Reason: "no such kind"})
			continue
		}
		data, err := json.Marshal(b.Body, json.Deterministic(true))
		if err != nil {
			return err
		}
		rows = append(rows, sinktest.Item{ID: b.ID, Data: b.EventTime().String() + string(data)})
		if m.fault == "keeps the batch" {
			m.refs = append(m.refs, b)
		}
	}
	switch {
	case m.fault == "writes when it closes":
		m.pending = append(m.pending, rows...)
		return errors.Join(errs...)
	case m.fault == "drops what stands beside a rejected one" && len(errs) > 0:
		return errors.Join(errs...)
	case m.fault == "rejects one too few" && len(errs) > 1:
		errs = errs[1:]
	case m.fault == "mixes errors" && len(errs) > 0:
		errs = append(errs, errors.New("throttled"))
	case m.fault == "loses the last" && len(rows) > 1:
		rows = rows[:len(rows)-1]
	case m.fault == "holds what depends on the batch":
		for i := range rows {
			rows[i].Data += " in a batch of " + string(rune('0'+len(rows)%10))
		}
	}
	m.put(rows)
	return errors.Join(errs...)
}

func (m *memory) put(rows []sinktest.Item) {
	if m.fault == "appends" {
		m.rows = append(m.rows, rows...)
		return
	}
	for _, r := range rows {
		i, found := slices.BinarySearchFunc(m.rows, r, func(a, b sinktest.Item) int { return cmp.Compare(a.ID, b.ID) })
		switch {
		case !found:
			m.rows = slices.Insert(m.rows, i, r)
		case m.fault == "counts":
			m.rows[i].Data += "+"
		default:
			m.rows[i] = r
		}
	}
}

func (m *memory) read() []sinktest.Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault == "keeps the batch" {
		ids := map[string]bool{}
		for _, ref := range m.refs {
			ids[ref.ID] = true
		}
		var items []sinktest.Item
		for id := range maps.Keys(ids) {
			items = append(items, sinktest.Item{ID: id})
		}
		return items
	}
	return slices.Clone(m.rows)
}

func run(t *testing.T, fault string) {
	sinktest.Run(t, func(*testing.T) sinktest.Harness {
		place := &memory{table: &table{}, fault: fault}
		return sinktest.Harness{
			New:    func() sinks.Sink { return &memory{table: place.table, fault: fault} },
			Read:   place.read,
			Reject: func(m *message.Message) { m.Kind = "none" },
		}
	})
}

func TestRun(t *testing.T) { run(t, "") }

// TestPlanted runs one faulty sink in a process of its own, see TestRunFinds.
func TestPlanted(t *testing.T) {
	if fault := os.Getenv("SINKTEST_FAULT"); fault != "" {
		run(t, fault)
	}
}

// TestRunFinds: each planted fault turns the test it is for red.
func TestRunFinds(t *testing.T) {
	faults := map[string]string{
		"refuses an empty batch":                  "empty_batch",
		"loses the last":                          "writes",
		"writes when it closes":                   "writes",
		"appends":                                 "the_same_batch_again",
		"forgets when it closes":                  "reopened",
		"keeps the batch":                         "the_batch_is_not_kept",
		"drops what stands beside a rejected one": "rejected",
		"rejects one too few":                     "rejected",
		"mixes errors":                            "rejected",
		"counts":                                  "any_order_and_any_number_of_times",
		"holds what depends on the batch":         "any_order_and_any_number_of_times",
	}
	for fault, test := range faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPlanted$", "-test.v")
			cmd.Env = append(os.Environ(), "SINKTEST_FAULT="+fault)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestPlanted/"+test) {
				t.Errorf("got %v, want %s to fail:\n%s", err, test, out)
			}
		})
	}
}
