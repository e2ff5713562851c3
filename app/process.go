package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sluice/internal/kafka"
	"sluice/internal/telemetry"
)

// part is one thing that a process runs.
type part struct {
	name string
	// run works until the context ends, and returns nil then.
	run func(context.Context) error
	// ready returns nil when the part can do its work; nil for a part that
	// always can.
	ready func(context.Context) error
	// close, if not nil, gives back what the part was made with, after run.
	close func()
}

// process is what every command that serves has in common.
type process struct {
	*settings
	plugins  Plugins
	log      *slog.Logger
	out      io.Writer
	meters   *prometheus.Registry
	health   telemetry.Health
	traces   *telemetry.Traces // nil without
	tracing  *kafka.Tracing    // nil without
	started  atomic.Bool
	stopping atomic.Bool
}

func newProcess(s *settings, plugins Plugins, log *slog.Logger, out io.Writer) *process {
	p := &process{settings: s, plugins: plugins, log: log, out: out, meters: prometheus.NewRegistry()}
	p.meters.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sluice_build_info", Help: "1, with the version of this build.",
	}, []string{"version"})
	p.meters.MustRegister(info)
	info.WithLabelValues(version()).Set(1)
	p.health.Add("process", func(context.Context) error {
		switch {
		case p.stopping.Load():
			return errors.New("stopping")
		case !p.started.Load():
			return errors.New("starting: waiting for kafka and its topics; the log says what to check")
		}
		return nil
	})
	for _, w := range s.warnings {
		log.Warn("configuration", "warning", w)
	}
	p.kafka = p.kafka.Observed(p.meters, nil)
	return p
}

// trace has the traces of frames sent to where the environment says. What it says
// wrongly costs the traces and nothing else.
func (p *process) trace(ctx context.Context, getenv func(string) string) {
	traces, err := telemetry.StartTraces(ctx, getenv, version(), p.log)
	if err != nil {
		p.log.Warn("no traces are sent: check the environment variables of OpenTelemetry", "err", err)
	}
	if traces == nil {
		return
	}
	p.traces, p.tracing = traces, kafka.NewTracing(traces.Provider())
	p.kafka = p.kafka.Observed(p.meters, p.tracing)
	p.log.Info("traces are sent")
}

// stopWithin is how long a process may take from its first signal to its end,
// the configured delay not counted.
const stopWithin = 10 * time.Second

// observed does work while the admin address is served: from before it begins,
// since a process that waits for Kafka is alive too, until after it has ended.
func (p *process) observed(ctx context.Context, work func(context.Context) error) error {
	if p.admin.Listen == "" {
		return work(ctx)
	}
	admin := telemetry.NewAdmin(p.admin.Listen, &p.health, p.meters, version(), p.log)
	working, abandon := context.WithCancel(ctx)
	defer abandon()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- admin.Run(serving)
		abandon()
	}()
	err := work(working)
	stop()
	if failed := <-ended; failed != nil {
		return failed // work ended because of it
	}
	return err
}

// serve runs parts, given in the order in which they feed from one another: the
// last is stopped first, and each only when those after it have ended. It
// returns nil after the context ended, and the error of the first part that
// ended by itself.
func (p *process) serve(ctx context.Context, parts []part) error {
	type end struct {
		part string
		err  error
	}
	ended := make(chan end, len(parts))
	stops := make([]func(), len(parts))
	for _, part := range parts {
		if part.ready != nil {
			p.health.Add(part.name, part.ready)
		}
	}
	p.started.Store(true)
	for i, part := range parts {
		pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		stops[i] = func() { cancel(); <-done }
		go func() {
			err := part.run(pctx)
			if part.close != nil {
				part.close()
			}
			ended <- end{part.name, err}
			close(done)
		}()
	}

	var first error
	select {
	case <-ctx.Done():
		// Whoever sends agents here sees first that it should not, and then,
		// shutdown.delay later, what it still sends refused.
		p.stopping.Store(true)
		p.log.Info("stopping 1/3: not ready, still serving", "delay", p.shutdown.Delay)
		wait(p.shutdown.Delay, ended)
	case e := <-ended:
		p.stopping.Store(true)
		first = e.err
		if first == nil {
			first = fmt.Errorf("%s ended by itself", e.part)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, stop := range slices.Backward(stops) {
			p.log.Info("stopping 2/3: a part ends", "stage", parts[i].name)
			stop()
		}
		p.traces.Close()
	}()
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		// What is unacknowledged or uncommitted comes again; waiting on would
		// only have the process killed from outside.
		return errors.Join(first, fmt.Errorf("not stopped within %s, ended by force", stopWithin))
	}
	for len(ended) > 0 {
		if e := <-ended; e.err != nil && first == nil {
			first = e.err
		}
	}
	p.log.Info("stopping 3/3: all parts have ended")
	return first
}

// wait waits for a duration, or less if something ends meanwhile. What ended
// stays in the channel.
func wait[T any](d time.Duration, ended chan T) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case e := <-ended:
		ended <- e
	}
}
