package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
	"sluice/message"
)

// Schemas reads the values of typed records.
type Schemas interface {
	// Read fills a message from a value: all that stands in it, and Body too if
	// bodies is true. It returns an error that wraps schemas.ErrUnknownSchema
	// if it does not know the writer's schema yet, else a *message.Fault.
	Read(value []byte, m *message.Message, bodies bool) error
	// Refresh learns every schema there is: it reads the schemas topic to its end,
	// and asks the schema registry, if there is one, for the IDs that Read did not
	// know. If Read still does not, its error says why.
	Refresh(ctx context.Context) error
}

// DeadLetters takes records of the dead letters topic; a *kafka.Producer is one.
type DeadLetters interface {
	// Produce returns nil when every in-sync replica has all records.
	Produce(ctx context.Context, rs ...*kafka.Record) error
}

// RunnerOptions are what a Runner is made of. All fields but From, Registerer,
// Tracing and Jitter must be set.
type RunnerOptions struct {
	// Name is the sink's in the configuration.
	Name   string
	Plugin Plugin
	// Settings is what Plugin.Settings returned, decoded and checked.
	Settings any
	// Types are the data types routed to the sink.
	Types []string
	// From is where a Shared sink begins in a topic for which its group has
	// committed nothing.
	From        kafka.Start
	Kafka       kafka.Config
	Schemas     Schemas
	DeadLetters DeadLetters
	Log         *slog.Logger
	Clock       func() time.Time
	// Meters are shared by the runners of a process. Registerer takes the metrics
	// that the sink has of its own.
	Meters     *Meters
	Registerer prometheus.Registerer
	// Out is Env.Out.
	Out io.Writer
	// Tracing continues the traces of messages; nil for none.
	Tracing *kafka.Tracing
	// Jitter returns numbers in [0, 1) that spread retries; nil for chance.
	Jitter func() float64
}

// Runner feeds one sink.
type Runner struct {
	o      RunnerOptions
	sink   Sink
	traits Traits
	topics []string
	log    *slog.Logger
	meters *runnerMeters
	outage *outage

	// turn is held by whoever uses the sink: live traffic, the history of a
	// Broadcast sink and replays take turns, one batch each.
	turn chan struct{}
	// batch is the working memory of whoever holds the turn.
	batch batch

	mu sync.Mutex
	// opened is closed when the sink can be written to.
	opened chan struct{}
	// reading is set once the sink is fed: as a member of its group, or up to
	// what stood in the topics at the start.
	reading, caught bool
	// member is what is known of the group of a Shared sink; nil before Run.
	member *kafka.Member
	// busy is since when a call runs, of the sink or for its dead letters; zero
	// between calls.
	busy time.Time
}

// stuck is how long one call may run before the sink is not ready: such that
// whoever asks every few seconds knows of it within 30 s.
const stuck = 25 * time.Second

// NewRunner builds the sink and returns its runner. It does no I/O; the error is
// the plugin's, about the settings.
func NewRunner(o RunnerOptions) (*Runner, error) {
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	r := &Runner{
		o:      o,
		log:    o.Log.With("sink", o.Name),
		turn:   make(chan struct{}, 1),
		opened: make(chan struct{}),
	}
	for _, t := range o.Types {
		r.topics = append(r.topics, message.Topic(t))
	}
	r.outage = &outage{log: r.log, clock: o.Clock, jitter: o.Jitter}
	var err error
	r.sink, r.traits, err = o.Plugin.New(o.Settings, Env{
		Name:   o.Name,
		Log:    r.log,
		Clock:  o.Clock,
		Meters: prometheus.WrapRegistererWith(prometheus.Labels{"sink": o.Name}, o.Registerer),
		Out:    o.Out,
		Caught: r.Caught,
	})
	if err != nil {
		return nil, fmt.Errorf("build sink %s: %w", o.Name, err)
	}
	if r.traits.Batch <= 0 {
		r.traits.Batch = 500
	}
	r.meters = o.Meters.runner(o.Name)
	return r, nil
}

// Run opens the sink and feeds it until the context ends, then closes it. It
// returns an error that names the sink if the sink cannot work as it is
// configured, or if Kafka refuses what the runner asks of it.
func (r *Runner) Run(ctx context.Context) (err error) {
	var lag kafka.Lag
	defer r.o.Meters.watch(r.o.Name, &lag, r.o.Clock)()
	defer func() {
		err = errors.Join(err, r.close(ctx))
		if err != nil {
			err = fmt.Errorf("sink %s: %w", r.o.Name, err)
		}
	}()
	if err := r.open(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	r.log.Info("sink open", "topics", r.topics)
	if r.traits.Delivery == Broadcast {
		return r.broadcast(ctx, &lag)
	}
	r.mu.Lock()
	r.member = new(kafka.Member)
	r.mu.Unlock()
	return r.o.Kafka.RunGroup(ctx, kafka.GroupOptions{
		Group:  Group(r.o.Name),
		Topics: r.topics,
		Start:  r.o.From,
		Max:    r.traits.Batch,
		Linger: r.traits.Linger,
		Lag:    &lag,
		Client: Stage(r.o.Name),
		Joined: r.joined,
		Member: r.member,
	}, r.log, r.Feed)
}

// joined is told how many partitions the member has.
func (r *Runner) joined(partitions int) {
	r.mu.Lock()
	r.reading = true
	r.mu.Unlock()
	if partitions == 0 {
		// What failed is another member's now.
		r.outage.forget()
	}
}

// Group returns the name of the consumer group of a Shared sink.
func Group(sink string) string { return "sluice.sink." + sink }

// open calls Open until it succeeds. It returns nil also when the context ends.
func (r *Runner) open(ctx context.Context) error {
	for {
		err := r.call("open", func() error { return r.sink.Open(ctx) })
		switch {
		case err == nil:
			r.outage.over()
			close(r.opened)
			return nil
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrUnusable):
			return err
		}
		r.meters.failed("open")
		if r.outage.failed(ctx, "open", err) != nil {
			return nil
		}
	}
}

// close gives the sink a moment of its own: the context has ended by then.
func (r *Runner) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return r.call("close", func() error { return r.sink.Close(ctx) })
}

// Caught is Env.Caught.
func (r *Runner) Caught() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.caught || r.traits.Delivery == Shared
}

// Ready returns nil when the sink is open, takes what it is given and is fed: a
// Shared sink as a member of its group, with or without traffic; a Broadcast
// sink from when it was given its Window. Else the error says what is waited
// for, with the last error of the sink.
func (r *Runner) Ready(context.Context) error {
	if err := r.outage.state(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.busy.IsZero() {
		if d := r.o.Clock().Sub(r.busy); d > stuck {
			return fmt.Errorf("a call has not returned for %s", d.Round(time.Second))
		}
	}
	select {
	case <-r.opened:
	default:
		return errors.New("not open yet")
	}
	switch {
	case r.reading:
		return r.member.Err()
	case r.traits.Delivery == Broadcast:
		return fmt.Errorf("reading what was received in the last %s", r.traits.Window)
	default:
		return errors.New("not a member of its consumer group yet")
	}
}

// call runs one call of the sink and makes an error of a panic.
func (r *Runner) call(what string, f func() error) (err error) {
	r.mu.Lock()
	r.busy = r.o.Clock()
	r.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(what, v)
		}
		r.mu.Lock()
		r.busy = time.Time{}
		r.mu.Unlock()
	}()
	return f()
}
