package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"sluice/internal/kafka"
	"sluice/message"
)

// Producer takes records for Kafka. The gateway offers each once, never blocking,
// and relies on the promise being called exactly once, in order for one key, from
// one goroutine; *kafka.Producer is one.
type Producer interface {
	TryProduce(r *kafka.Record, promise func(*kafka.Record, error))
}

// Directory knows the agents. The gateway calls Watch once, before it runs, and
// Lookup for each login; *Agents is one.
type Directory interface {
	// Lookup returns the agent that a token belongs to, ErrUnauthorized or
	// ErrBanned.
	Lookup(token string) (agent string, err error)
	// Ready returns nil once everything that is known can be looked up.
	Ready() error
	// Watch has gone called with an agent that lost a token or may no longer
	// come in.
	Watch(gone func(agent string))
}

// Enabled is a protocol that is to be served, under its name, with its settings
// as Protocol.Settings makes them.
type Enabled struct {
	Name     string
	Protocol Protocol
	Settings any
}

// Deps is what a Gateway is given to work with.
type Deps struct {
	// Producer is made with Config.ProducerOptions and closed by the caller,
	// after Run.
	Producer  Producer
	Agents    Directory
	Protocols []Enabled
	// Types reports whether a data type has a schema.
	Types      func(dataType string) bool
	Log        *slog.Logger
	Clock      func() time.Time
	Rand       io.Reader
	Registerer prometheus.Registerer
	// Instance names this gateway in its own frames.
	Instance string
	// Tracer begins a trace for each frame that it samples; nil for none.
	Tracer trace.Tracer
}

// Gateway serves protocols and puts what they receive into Kafka. It is the Host
// of all of them.
type Gateway struct {
	cfg      Config
	producer Producer
	agents   Directory
	log      *slog.Logger
	clock    func() time.Time
	rand     io.Reader
	instance string
	tracer   trace.Tracer // or nil

	mux      *http.ServeMux
	patterns []string
	room     room
	ages     ages
	counts   map[string]*counts // by protocol
	metrics  *metrics
	own      *own

	addr    atomic.Pointer[string]
	active  atomic.Int64 // requests being handled
	stalled atomic.Bool

	mu       sync.Mutex
	draining bool
	opened   uint64 // connections so far
	byAgent  map[string][]*Conn
	conns    map[*Conn]struct{}
	due      [aliveEvery / tick]map[*Conn]struct{} // by when alive is said
}

// tick is how often the gateway looks after itself.
const tick = 250 * time.Millisecond

// New returns a Gateway. It does no I/O.
func New(cfg Config, deps Deps) (*Gateway, error) {
	g := &Gateway{
		cfg: cfg, producer: deps.Producer, agents: deps.Agents, log: deps.Log,
		clock: deps.Clock, rand: &lockedReader{r: deps.Rand}, instance: deps.Instance, tracer: deps.Tracer,
		mux: http.NewServeMux(), counts: make(map[string]*counts),
		byAgent: make(map[string][]*Conn), conns: make(map[*Conn]struct{}),
	}
	g.room.size = int64(cfg.Ingest.InFlight)
	for i := range g.due {
		g.due[i] = make(map[*Conn]struct{})
	}
	for _, p := range deps.Protocols {
		g.counts[p.Name] = new(counts)
	}
	g.metrics = newMetrics(g)
	g.own = &own{
		producer: deps.Producer, ages: &g.ages,
		dropped: func(why string) { g.metrics.dropped.WithLabelValues(why).Inc() },
		// No connection is let in while Kafka stalls, so this holds the ends
		// of all there are, with room for those that come and go before.
		most: 4*cfg.Limits.Connections + 1000,
	}
	if err := g.metrics.register(deps.Registerer); err != nil {
		return nil, err
	}
	for _, p := range deps.Protocols {
		h, err := p.Protocol.New(p.Settings, Env{
			Name: p.Name, Host: g, Limits: cfg.Limits, Types: deps.Types,
			Reject: g.metrics.rejected.add,
			Log:    deps.Log.With("protocol", p.Name), Clock: deps.Clock, Rand: g.rand, Meters: deps.Registerer,
		})
		if err != nil {
			return nil, fmt.Errorf("build protocol %s: %w", p.Name, err)
		}
		for _, pattern := range p.Protocol.Patterns {
			g.mux.Handle(pattern, h)
		}
		g.patterns = append(g.patterns, p.Protocol.Patterns...)
	}
	deps.Agents.Watch(g.evict)
	return g, nil
}

// Addr returns the address that agents connect to, empty before Run listens.
func (g *Gateway) Addr() string {
	if a := g.addr.Load(); a != nil {
		return *a
	}
	return ""
}

// Ready returns nil while agents can come in, else why they cannot.
func (g *Gateway) Ready(context.Context) error {
	g.mu.Lock()
	draining := g.draining
	g.mu.Unlock()
	switch {
	case draining:
		return errors.New("the gateway is stopping")
	case g.Addr() == "":
		return errors.New("the gateway does not listen yet")
	case g.stalled.Load():
		return fmt.Errorf("kafka has owed an answer for more than %s: check the brokers of topic %s", g.cfg.Ingest.Stall, message.TopicIngest)
	}
	return g.agents.Ready()
}

// Run listens until the context ends. Then it lets nobody in, ends the
// connections spread over some seconds, each when what it sent is decided and
// answered, and returns nil.
func (g *Gateway) Run(ctx context.Context) error {
	inner, err := new(net.ListenConfig).Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for agents: %w", err)
	}
	l := newListener(inner, g.cfg.Limits.Connections, g.cfg.Limits.PerIP, g.metrics.rejected.add)
	srv := &http.Server{
		Handler:           g,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       withSocket,
		ConnState:         track,
		// OPTIONS * is for no protocol, as any other path that none has.
		DisableGeneralOptionsHandler: true,
		// What a stranger sends is not worth more.
		ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	addr := inner.Addr().String()
	g.addr.Store(&addr)
	g.log.Info("listening for agents", "addr", addr)

	tending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	served := make(chan error, 1)
	var eg errgroup.Group
	eg.Go(func() error { g.tend(tending); return nil })
	eg.Go(func() error { served <- srv.Serve(l); return nil })
	select {
	case <-ctx.Done():
	case err = <-served:
		err = fmt.Errorf("serve agents: %w", err)
	}
	g.shutdown(srv, l)
	stop()
	_ = eg.Wait()
	return err
}

// ServeHTTP hands a request to the protocol that it is for.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.active.Add(1)
	defer g.active.Add(-1)
	if over := asked(r.Context()); over != "" {
		w.Header().Set("Connection", "close")
		Unavailable(w, over, "too many connections")
		return
	}
	if h, pattern := g.mux.Handler(r); pattern == "" {
		g.unrouted(w, r, h)
		return
	}
	g.mux.ServeHTTP(w, r)
}

// tend does what is to be done every now and then, until the context ends.
func (g *Gateway) tend(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := g.clock()
		g.watchKafka(now)
		if !g.stalled.Load() {
			g.sayAlive(n%len(g.due), now)
			g.own.sumUp(g.instance, now)
			g.own.flush()
		}
	}
}

// watchKafka closes the budget while Kafka owes an answer for too long.
func (g *Gateway) watchKafka(now time.Time) {
	stalled := g.ages.oldest(now) > g.cfg.Ingest.Stall
	if g.stalled.Swap(stalled) == stalled {
		return
	}
	g.room.open(!stalled)
	if stalled {
		g.log.Warn("kafka does not answer, nothing is taken until it does: check the brokers", "topic", message.TopicIngest)
	} else {
		g.log.Info("kafka answers again", "topic", message.TopicIngest)
	}
}

// random returns n random bytes as text.
func (g *Gateway) random(n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(g.rand, b); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// lockedReader lets several goroutines read.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// without returns list without c, in its order.
func without(list []*Conn, c *Conn) []*Conn {
	return slices.DeleteFunc(list, func(o *Conn) bool { return o == c })
}
