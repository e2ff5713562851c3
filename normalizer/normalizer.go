package normalizer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/kafka"
	"sluice/message"
	"sluice/normalizer/decode"
	"sluice/schemas"
)

// Group is the consumer group of all normalizers.
const Group = "sluice.normalizer"

// Options are what a Normalizer works with.
type Options struct {
	Config Config
	Kafka  kafka.Config
	Types  *schemas.Set
	// Decoders are those of other protocols than sluice's own, by protocol.
	Decoders map[string]decode.Decoder
	// Publish makes the schemas of Types known to readers and returns the same
	// types in the form to write records in. It is called once, before the first
	// record is read.
	Publish func(context.Context) (*schemas.Set, error)
	// Embedded says that the broker is the embedded one, on which a transactional
	// ID that stays the same can hide records after a kill.
	Embedded bool
	Log      *slog.Logger
	Meters   prometheus.Registerer
	// Tracing continues the traces of frames; nil for none.
	Tracing *kafka.Tracing
	// Clock is what the age of lag is measured by; nil for time.Now.
	Clock func() time.Time
}

// Normalizer is one member of the group.
type Normalizer struct {
	o      Options
	rules  *rules
	meters *meters
	lag    *kafka.Lag
	member kafka.Member
	spans  *spans // nil without tracing
	// published is set when readers can know the schemas.
	published atomic.Bool
	// spare holds what conversions leave of the blocks that records are made in:
	// a poll of a few records does not use one up.
	spare sync.Pool // of *kafka.Typed
}

// New returns a Normalizer that has not begun.
func New(o Options) *Normalizer {
	o.Log = o.Log.With("stage", Stage)
	lag := new(kafka.Lag)
	r := &rules{
		types: o.Types, decoders: newDecoders(o.Decoders), topics: map[string]string{},
		past: o.Config.Past, future: o.Config.Future,
	}
	for _, name := range o.Types.Names() {
		r.topics[name] = message.Topic(name)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	n := &Normalizer{o: o, rules: r, meters: newMeters(o.Meters, lag, o.Clock), lag: lag}
	if o.Tracing != nil {
		n.spans = &spans{tracing: o.Tracing}
	}
	return n
}

// Run normalizes until the context ends. It returns an error that wraps
// kafka.ErrFenced when another normalizer uses the same slot.
func (n *Normalizer) Run(ctx context.Context) error {
	types, err := n.o.Publish(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("publish schemas: %w", err)
	}
	n.rules.types = types
	n.published.Store(true)
	err = n.o.Kafka.RunSession(ctx, kafka.SessionOptions{
		Group:     Group,
		Topics:    []string{message.TopicIngest},
		Slot:      n.o.Config.Slot,
		Fresh:     n.o.Embedded,
		Every:     n.o.Config.Commit,
		Parallel:  runtime.GOMAXPROCS(0),
		Lag:       n.lag,
		Member:    &n.member,
		Client:    Stage,
		Ended:     n.ended,
		Restarted: func(error) { n.meters.restarts.Inc() },
	}, n.o.Log, n.transform)
	if errors.Is(err, kafka.ErrFenced) {
		return fmt.Errorf("normalizer: %w", err)
	}
	return err
}

// Ready returns nil while this normalizer works as a member of its group, which
// may have given it nothing to do.
func (n *Normalizer) Ready(context.Context) error {
	if !n.published.Load() {
		return errors.New("schemas not published yet: check that Kafka is reachable, and the schema registry if one is set")
	}
	return n.member.Err()
}

// transform converts the frames of one partition.
func (n *Normalizer) transform(_ context.Context, rs []*kafka.Record, emit func(*kafka.Record)) (func(), error) {
	made, ok := n.spare.Get().(*kafka.Typed)
	if !ok {
		made = new(kafka.Typed)
	}
	defer n.spare.Put(made)
	c := conversion{rules: n.rules, emit: emit, made: made, tally: newTally(), panicked: n.panicked}
	var f message.Frame
	for _, r := range rs {
		kafka.Frame(r, &f)
		if n.spans != nil {
			n.spans.frame(&c, r, &f)
		} else {
			c.frame(&f)
		}
	}
	return func() { n.meters.add(&c.tally) }, nil
}

// ended is called after each transaction.
func (n *Normalizer) ended(t kafka.Transaction) {
	n.meters.ended(t)
	if n.spans != nil {
		n.spans.ended(t)
	}
}

// panicked says where a decoder failed and why.
func (n *Normalizer) panicked(f *message.Frame, what any) {
	n.o.Log.Error("decoder failed: its frame is a dead letter, please report this",
		"protocol", f.Protocol, "partition", f.Src.Partition, "offset", f.Src.Offset, "err", fmt.Sprint(what), "stack", string(debug.Stack()))
}
