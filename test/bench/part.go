package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"sluice/internal/kafka"
	"sluice/internal/wire"
	"sluice/message"
)

// shape is how a load comes. Each write of a connection holds Burst frames.
type shape struct {
	Conns  int
	Window int // most frames unacknowledged of a connection
	Burst  int // frames in a write
	Rate   int // frames a second in all; 0 for as many as go
}

// String says the shape as it stands in the table.
func (s shape) String() string {
	if s.Rate > 0 {
		return fmt.Sprintf("%d conns, paced %d/s, %d a write", s.Conns, s.Rate, s.Burst)
	}
	return fmt.Sprintf("%d conns, window %d, %d a write", s.Conns, s.Window, s.Burst)
}

// task is what a part is told when it starts.
type task struct {
	Brokers  []string
	Embedded bool   // the broker is the embedded one
	Dir      string // of the broker's data
	Addr     string // of the gateway
	Load     shape
	Format   wire.Format
	Frames   int64  // how many to send; 0 for no end
	Profile  string // where to write a processor profile; empty for none
}

func (t *task) kafka() kafka.Config {
	c := kafka.DefaultConfig()
	c.Brokers, c.ClientID = t.Brokers, "sluice-bench"
	return c
}

// report is what a part answers.
type report struct {
	Addr   string
	Frames int64   // done so far: acknowledged, read, produced, committed
	Own    int64   // of the gateway's own frames, committed
	Acks   int64   // messages of the gateway that said so
	CPU    float64 // seconds of this process, the kernel's for it included
	Peak   int64   // most memory so far, resident, bytes
	Error  string
}

// work is a part that runs.
type work struct {
	addr   string
	begin  func()
	frames func() int64
	acks   func() int64
	own    func() int64
	end    func() error
	failed <-chan error // what the part ended with, if it did so by itself
}

// parts are the processes there are.
var parts = map[string]func(context.Context, *task, *slog.Logger) (*work, error){
	"broker":     broker,
	"gateway":    gatewayPart,
	"normalizer": normalizerPart,
	"load":       load,
	"read":       bareRead,
	"produce":    bareProduce,
	"copy":       bareCopy,
}

// runPart is the process of a part: it does what the lines of in say and answers
// each with a line, until in ends.
func runPart(name string, in io.Reader, out io.Writer) error {
	start, ok := parts[name]
	if !ok {
		return fmt.Errorf("no part %q", name)
	}
	lines, answers := bufio.NewScanner(in), json.NewEncoder(out)
	if !lines.Scan() {
		return errors.New("no task")
	}
	var t task
	if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})).With("stage", name)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := start(ctx, &t, log)
	if err != nil {
		return answers.Encode(report{Error: err.Error()})
	}
	defer stopProfile(t.Profile)
	for answer := (report{Addr: w.addr}); ; answer = w.report() {
		if err := answers.Encode(answer); err != nil {
			return err
		}
		if !lines.Scan() {
			break
		}
		if lines.Text() == "begin" {
			if err := startProfile(t.Profile, name); err != nil {
				return err
			}
			if w.begin != nil {
				w.begin()
			}
		}
	}
	if w.end == nil {
		return nil
	}
	return w.end()
}

func (w *work) report() report {
	var r report
	if w.frames != nil {
		r.Frames = w.frames()
	}
	if w.acks != nil {
		r.Acks = w.acks()
	}
	if w.own != nil {
		r.Own = w.own()
	}
	select {
	case err := <-w.failed:
		r.Error = fmt.Sprintf("ended by itself: %v", err)
	default:
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		r.Error = err.Error()
	}
	r.CPU = seconds(u.Utime) + seconds(u.Stime)
	if r.Peak = peak(); r.Peak == 0 {
		r.Peak = u.Maxrss << 10
	}
	return r
}

// peak returns the most memory this process has had, in bytes, or 0 where the
// system does not say. What getrusage says begins with the memory of whoever
// started the process.
func peak() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// startProfile and stopProfile enclose the measured time.
func startProfile(dir, part string) error {
	if dir == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", part, os.Getpid())))
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return pprof.StartCPUProfile(f)
}

func stopProfile(dir string) {
	if dir != "" {
		pprof.StopCPUProfile()
	}
}

// feed writes frames of many agents to ingest, as a gateway would, one of each
// hundred bad. It is not measured.
func feed(ctx context.Context, t *task, frames int64, log *slog.Logger) error {
	const agents, ring = 100, 99
	pool := make([][][]byte, agents)
	for i := range pool {
		m := newMix(i, t.Format)
		for range ring {
			pool[i] = append(pool[i], m.next())
		}
		pool[i] = append(pool[i], m.bad())
	}
	p, err := t.kafka().NewProducer(kafka.ProducerOptions{MaxRecords: 1 << 20, MaxBytes: 1 << 30}, log)
	if err != nil {
		return err
	}
	defer p.Close()
	const batch = 20_000
	for sent := int64(0); sent < frames; {
		rs := make([]*kafka.Record, 0, batch)
		now := time.Now()
		for ; len(rs) < batch && sent < frames; sent++ {
			agent, n := int(sent%agents), int(sent/agents)
			rs = append(rs, kafka.FrameRecord(&message.Frame{
				ID: fmt.Sprintf("%s/feed-%d/%d", agentName(agent), now.UnixNano(), n), Agent: agentName(agent),
				Protocol: "websocket", ContentType: t.Format.ContentType(), Connection: "c0ffee00c0ffee00",
				Value: pool[agent][n%(ring+1)], ReceivedAt: now,
			}))
		}
		if err := p.Produce(ctx, rs...); err != nil {
			return err
		}
	}
	return nil
}
