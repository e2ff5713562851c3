package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"sluice/internal/wire"
)

// header says where and how the figures came about.
func (b *bench) header(w io.Writer) error {
	broker := "embedded broker in a process of its own, data on disk"
	if len(b.o.brokers) > 0 {
		broker = "Kafka at " + strings.Join(b.o.brokers, ", ")
	}
	_, err := fmt.Fprintf(w, "%s\n%s, %d cores of %s, kernel %s; %s\nmean frame %d bytes as JSON, %d as MessagePack; %d runs\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.Version(), runtime.NumCPU(), processor(),
		first("/proc/sys/kernel/osrelease"), broker, meanSize(wire.JSON), meanSize(wire.Msgpack), b.o.runs)
	return err
}

// footer says how busy the machine was.
func (b *bench) footer(w io.Writer) error {
	if len(b.load) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "load average before the runs, theirs before included: median %.1f (%.1f..%.1f)\n",
		median(b.load), slices.Min(b.load), slices.Max(b.load))
	return err
}

// first returns the first line of a file, or "unknown".
func first(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// loadAverage returns how many tasks ran in the last minute; 0 where nothing
// says so.
func loadAverage() float64 {
	var v float64
	_, _ = fmt.Sscan(first("/proc/loadavg"), &v)
	return v
}
