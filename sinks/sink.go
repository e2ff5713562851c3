package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/message"
)

// Sink is where messages go. The runner makes one, calls Open once, then Write
// for one batch after another, never two at a time, then Close once. It calls
// Close also when Open failed.
type Sink interface {
	// Open gets the sink ready to be written to: it connects, checks, creates.
	// The runner calls it again, with back-off, until it returns nil, an error
	// that wraps ErrUnusable, or the process ends.
	Open(ctx context.Context) error

	// Write makes a batch durable. The batch is in the order of each partition
	// and belongs to the sink, which may change the slice, only until Write
	// returns. A batch may hold the same message twice. It returns
	//   - nil: every message of the batch is durable,
	//   - *Rejected, alone or several in an errors.Join: exactly those messages can
	//     never be written and become dead letters, all others are durable,
	//   - any other error, alone or joined with a *Rejected: nothing is known; the
	//     whole batch comes again, with back-off and without end, and the sink is
	//     not ready meanwhile. A panic counts as such an error.
	// The context ends when a partition of the batch is taken away or the process
	// stops; what Write returns then is not looked at and nothing is committed.
	Write(ctx context.Context, batch []message.Message) error

	// Close gives back what Open took. Everything written is durable already.
	Close(ctx context.Context) error
}

// ErrUnusable says that a sink can never work as it is configured: an address
// in use, a directory that is a file. Open returns an error that wraps it, and
// the process ends with it instead of trying again.
var ErrUnusable = errors.New("sink cannot be used as configured")

// Delivery is how the instances of one sink share the messages.
type Delivery int

const (
	// Shared makes all instances one consumer group, sluice.sink.NAME: each
	// message goes to one of them.
	Shared Delivery = iota
	// Broadcast gives every instance all messages of all partitions. Nothing is
	// committed: an instance rebuilds itself from History when it starts, first
	// the last of it, then, behind that, the rest, so messages come in any order.
	Broadcast
)

// Traits is what a plugin tells the runner about its sinks.
type Traits struct {
	Delivery Delivery
	// Bodies asks for Message.Body to be filled, which costs several times as
	// much as reading the message without.
	Bodies bool
	// History is how far back, by the time of reception, a Broadcast sink is
	// rebuilt. Window is the last part of it, after which the sink is ready.
	History, Window time.Duration
	// Batch is the most messages in one Write, 0 for 500. Linger is how long the
	// runner waits for a batch to fill once it holds a message, 0 for not at all.
	Batch  int
	Linger time.Duration
}

// Env is what a sink is given to work with.
type Env struct {
	// Name is the sink's in the configuration.
	Name  string
	Log   *slog.Logger
	Clock func() time.Time
	// Meters takes the sink's own metrics and labels them with its name.
	Meters prometheus.Registerer
	// Out is where a sink that prints puts its data; os.Stdout in a process.
	Out io.Writer
	// Caught is called by no one but the sink: it reports whether a Broadcast
	// sink was given everything of its History that stood in its topics when it
	// started. It is always true for a Shared sink, which does not start anew.
	Caught func() bool
}

// Plugin is a kind of sink. Define makes one.
type Plugin struct {
	// Settings returns a pointer to a fresh struct that holds the defaults.
	Settings func() any
	// New builds a sink from what Settings returned, decoded and checked. It
	// does no I/O.
	New func(settings any, env Env) (Sink, Traits, error)
}

// Define makes a plugin of a struct of settings, whose fields carry koanf and
// doc tags and hold the defaults, and the function that builds a sink from it.
func Define[C any](defaults func() C, build func(C, Env) (Sink, Traits, error)) Plugin {
	return Plugin{
		Settings: func() any {
			c := defaults()
			return &c
		},
		New: func(settings any, env Env) (Sink, Traits, error) {
			c, ok := settings.(*C)
			if !ok {
				return nil, Traits{}, fmt.Errorf("settings of sink %s: got %T, want %T", env.Name, settings, c)
			}
			return build(*c, env)
		},
	}
}
