package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/message"
	"sluice/sinks"
	"sluice/sinks/dashboard/fleet"
)

// Plugin returns the dashboard as a kind of sink.
func Plugin() sinks.Plugin {
	return sinks.Define(DefaultSettings, func(s Settings, env sinks.Env) (sinks.Sink, sinks.Traits, error) {
		d, err := New(s, env)
		if err != nil {
			return nil, sinks.Traits{}, err
		}
		return d, sinks.Traits{Delivery: sinks.Broadcast, Bodies: true, History: s.History, Window: s.Window}, nil
	})
}

// sweepEvery is how often what is forgotten is dropped.
const sweepEvery = 30 * time.Second

// Sink is one dashboard.
type Sink struct {
	settings Settings
	env      sinks.Env
	hub      *hub
	server   *http.Server

	mu    sync.Mutex // guards what is below
	fleet *fleet.Fleet
	rate  rate
	shown picture // the latest, made again when it is older than an update

	listener net.Listener
	stop     context.CancelFunc
	tasks    *errgroup.Group
	serving  context.Context // ends, with the reason, when a task fails
}

// picture is all that a page shows. It is never changed once made.
type picture struct {
	fleet.View
	now    time.Time
	rate   fleet.Number // messages a second
	caught bool         // all of the history is in it
}

// New returns a dashboard. It does not listen before Open.
func New(s Settings, env sinks.Env) (*Sink, error) {
	if err := s.Validate(); err != nil {
		return nil, errors.Join(sinks.ErrUnusable, err)
	}
	d := &Sink{settings: s, env: env, fleet: fleet.New()}
	m, err := newMeters(env.Meters)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of sink %s: %w", env.Name, err)
	}
	d.hub = newHub(s, d.picture, m)
	handler, err := newHandler(s, d.picture, d.hub, env.Log)
	if err != nil {
		return nil, fmt.Errorf("build the pages of sink %s: %w", env.Name, err)
	}
	d.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          quietLog(env.Log),
	}
	return d, nil
}

// Open listens and serves. An address that cannot be listened on makes the sink
// unusable: to wait for another process to leave it would hide the mistake.
func (d *Sink) Open(ctx context.Context) error {
	if d.listener != nil {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.settings.Listen)
	if err != nil {
		return fmt.Errorf("%w: %w", sinks.ErrUnusable, err)
	}
	if a, err := netip.ParseAddrPort(l.Addr().String()); !d.settings.Insecure && (err != nil || !a.Addr().Unmap().IsLoopback()) {
		_ = l.Close()
		return fmt.Errorf("%w: listen on %s: %w", sinks.ErrUnusable, l.Addr(), errOpen)
	}
	d.listener = l
	run, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.tasks, d.serving = errgroup.WithContext(run)
	d.tasks.Go(func() error { return d.server.Serve(l) })
	d.tasks.Go(func() error { return d.hub.run(run) })
	d.tasks.Go(func() error { return d.sweep(run) })
	d.env.Log.Info("dashboard is up", "addr", cmp.Or(d.settings.URL, "http://"+l.Addr().String()))
	return nil
}

// Addr returns where the dashboard listens, nil before Open.
func (d *Sink) Addr() net.Addr {
	if d.listener == nil {
		return nil
	}
	return d.listener.Addr()
}

// Write takes the messages into the state. It rejects none, and fails only once
// nobody is served any more.
func (d *Sink) Write(_ context.Context, batch []message.Message) error {
	if d.serving != nil && d.serving.Err() != nil {
		return fmt.Errorf("serve the dashboard: %w", context.Cause(d.serving))
	}
	now := d.env.Clock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range batch {
		d.fleet.Apply(&batch[i])
		d.rate.add(batch[i].ReceivedAt, now)
	}
	return nil
}

// Close says goodbye to the viewers and stops serving. What is still being sent
// when ctx ends is cut off.
func (d *Sink) Close(ctx context.Context) error {
	if d.listener == nil {
		return nil
	}
	d.stop()
	d.hub.close(ctx)
	err := d.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, d.server.Close())
	}
	if served := d.tasks.Wait(); !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	d.listener = nil
	if err != nil {
		return fmt.Errorf("stop serving: %w", err)
	}
	return nil
}

// picture returns the state, at most one update old.
func (d *Sink) picture() picture {
	now := d.env.Clock()
	d.mu.Lock()
	defer d.mu.Unlock()
	age := now.Sub(d.shown.now)
	if d.shown.now.IsZero() || age < 0 || age >= time.Second/time.Duration(2*d.settings.Hz) {
		d.shown = picture{View: d.fleet.View(now), now: now, rate: d.rate.perSecond(now), caught: d.env.Caught == nil || d.env.Caught()}
	}
	return d.shown
}

// sweep drops what is forgotten, now and then, until ctx ends.
func (d *Sink) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.mu.Lock()
			d.fleet.Sweep(d.env.Clock())
			d.mu.Unlock()
		}
	}
}
