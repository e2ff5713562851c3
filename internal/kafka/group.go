package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// GroupOptions say what a member of a consumer group reads.
type GroupOptions struct {
	Group  string
	Topics []string
	// Client names the client in metrics; empty for one that has none.
	Client string
	// Start is where to begin in a partition for which the group has no offset.
	Start Start
	// Max is the most records in a batch, 0 for 500. Linger is how long to wait
	// for a batch to fill once it holds a record.
	Max    int
	Linger time.Duration
	// Lag, if not nil, is told of the positions.
	Lag *Lag
	// Joined, if not nil, is told with every change how many partitions this
	// member reads.
	Joined func(partitions int)
	// Member, if not nil, is told whether the group counts us in.
	Member *Member
}

// memberTimeout is how long a group waits for a member that died: the shortest
// that brokers allow unless told otherwise (group.min.session.timeout.ms).
const memberTimeout = 6 * time.Second

// commitEvery is how long offsets of handled batches may wait to be committed.
const commitEvery = 200 * time.Millisecond

// RunGroup reads as a member of a consumer group, at least once, until the
// context ends. It gives batches to handle, one at a time, each partition in
// order.
//
// The context of handle ends when one of the batch's partitions is taken away or
// the outer one ends. When handle returns nil, the batch's offsets are committed,
// within a moment and before any of its partitions goes to another member. When
// a partition is taken away meanwhile, nothing of the batch is committed, and
// handle is called again with the records of the partitions that stay. Any other
// error of handle ends RunGroup with it.
func (c Config) RunGroup(ctx context.Context, o GroupOptions, log *slog.Logger, handle func(context.Context, []*Record) error) error {
	g := &group{o: o, log: log, handle: handle, owned: map[topicPartition]bool{}, at: Offsets{}}
	if g.o.Max == 0 {
		g.o.Max = 500
	}
	cl, err := c.client(log, append(readCommitted(),
		kgo.ConsumerGroup(o.Group),
		kgo.ConsumeTopics(o.Topics...),
		kgo.ConsumeStartOffset(o.Start.offset(time.Now())),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		// A member that died holds its partitions for so long, having no instance ID.
		kgo.SessionTimeout(memberTimeout),
		kgo.HeartbeatInterval(memberTimeout/4),
		kgo.OnPartitionsAssigned(g.assigned),
		kgo.OnPartitionsRevoked(g.revoked),
		kgo.OnPartitionsLost(g.lost),
		o.Member.hook(o.Group),
		c.observers.hooks(o.Client, false),
	)...)
	if err != nil {
		return fmt.Errorf("join group %s: %w", o.Group, err)
	}
	defer o.Member.left()
	err = g.run(ctx, cl)
	// Closing leaves the group, which revokes and so commits what was handled.
	cl.CloseAllowingRebalance()
	return err
}

// group is one member. Its loop and franz-go's callbacks meet at mu:
//
//	run:      poll ─ hold ─────── handle ───── release ─ commit ─ poll …
//	callback:          revoked ─► cancel ─ wait ──┘ ─ commit ─ give back
type group struct {
	o      GroupOptions
	log    *slog.Logger
	handle func(context.Context, []*Record) error

	mu    sync.Mutex
	owned map[topicPartition]bool
	// at holds the positions handled and not committed.
	at        Offsets
	committed time.Time
	// held is the batch that handle works on; nil between batches.
	held *hold
}

// hold is one call of handle.
type hold struct {
	parts  map[topicPartition]bool
	cancel context.CancelFunc
	done   chan struct{}
}

func (g *group) run(ctx context.Context, cl *kgo.Client) error {
	for {
		rs, at, err := g.poll(ctx, cl)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if len(rs) > 0 {
			if err := g.work(ctx, cl, rs, at); err != nil {
				return err
			}
		} else {
			g.passed(at)
			cl.AllowRebalance()
		}
		if ctx.Err() != nil {
			return nil
		}
		g.commit(ctx, cl, false)
	}
}

// poll returns a batch: at most Max records, gathered for at most Linger. It
// returns without any when offsets wait to be committed.
func (g *group) poll(ctx context.Context, cl *kgo.Client) ([]*Record, Offsets, error) {
	var rs []*Record
	at := Offsets{}
	wait := ctx
	if g.waiting() {
		short, stop := context.WithTimeout(ctx, commitEvery)
		defer stop()
		wait = short
	}
	for lingering := false; ; {
		fs := cl.PollRecords(wait, g.o.Max-len(rs))
		if fs.IsClientClosed() {
			return nil, nil, errors.New("kafka client closed")
		}
		if err := fetchError(fs); err != nil {
			return nil, nil, err
		}
		more, next := split(fs, g.o.Lag)
		rs = append(rs, more...)
		for topic, ps := range next {
			for p, o := range ps {
				at.set(topic, p, o)
			}
		}
		switch {
		case len(rs) == 0, len(rs) >= g.o.Max, g.o.Linger <= 0, ctx.Err() != nil:
			return rs, at, nil
		case !lingering:
			lingering = true
			fill, stop := context.WithTimeout(ctx, g.o.Linger)
			defer stop()
			wait = fill
		case wait.Err() != nil:
			return rs, at, nil
		}
	}
}

// work gives a batch to handle until it is done or all of it was taken away.
func (g *group) work(ctx context.Context, cl *kgo.Client, rs []*Record, at Offsets) error {
	for first := true; len(rs) > 0; first = false {
		bctx, h := g.hold(ctx, rs)
		if first {
			// From here on a rebalance finds the hold and waits for it.
			cl.AllowRebalance()
		}
		var err error
		if bctx.Err() == nil {
			err = g.handle(bctx, rs)
		}
		interrupted := bctx.Err() != nil
		rest := g.release(h, rs, at, err == nil && !interrupted)
		switch {
		case ctx.Err() != nil:
			return nil
		case interrupted:
			rs = rest
		case err != nil:
			return err
		default:
			return nil
		}
	}
	return nil
}

func (g *group) hold(ctx context.Context, rs []*Record) (context.Context, *hold) {
	bctx, cancel := context.WithCancel(ctx)
	h := &hold{parts: map[topicPartition]bool{}, cancel: cancel, done: make(chan struct{})}
	for _, r := range rs {
		h.parts[topicPartition{r.Topic, r.Partition}] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = h
	for p := range h.parts {
		if !g.owned[p] {
			cancel()
		}
	}
	return bctx, h
}

// release ends a hold. It notes the positions of a batch that is done, and
// returns the records of the partitions that are still this member's.
func (g *group) release(h *hold, rs []*Record, at Offsets, done bool) []*Record {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer h.cancel()
	defer close(h.done)
	g.held = nil
	if done {
		g.note(at, rs)
		return nil
	}
	var rest []*Record
	for _, r := range rs {
		if g.owned[topicPartition{r.Topic, r.Partition}] {
			rest = append(rest, r)
		}
	}
	return rest
}

func (g *group) passed(at Offsets) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.note(at, nil)
}

// note remembers what is handled of the partitions that are still ours, rs among
// it. The lock is held.
func (g *group) note(at Offsets, rs []*Record) {
	ours := Offsets{}
	for topic, ps := range at {
		for p, next := range ps {
			if g.owned[topicPartition{topic, p}] {
				g.at.set(topic, p, next)
				ours.set(topic, p, next)
			}
		}
	}
	g.o.Lag.advance(ours, rs)
}

func (g *group) waiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.at) > 0
}

// commit commits what was handled, if the last time is long enough ago.
func (g *group) commit(ctx context.Context, cl *kgo.Client, now bool) {
	g.mu.Lock()
	if len(g.at) == 0 || (!now && time.Since(g.committed) < commitEvery) {
		g.mu.Unlock()
		return
	}
	at := g.at
	g.at, g.committed = Offsets{}, time.Now()
	g.mu.Unlock()

	if err := commitOffsets(ctx, cl, at); err != nil {
		g.log.Warn("offsets not committed: a restart now repeats some messages", "err", err)
		g.mu.Lock()
		defer g.mu.Unlock()
		for topic, ps := range at {
			for p, next := range ps {
				if _, newer := g.at[topic][p]; !newer && g.owned[topicPartition{topic, p}] {
					g.at.set(topic, p, next)
				}
			}
		}
	}
}

func commitOffsets(ctx context.Context, cl *kgo.Client, at Offsets) error {
	offsets := make(map[string]map[int32]kgo.EpochOffset, len(at))
	for topic, ps := range at {
		offsets[topic] = make(map[int32]kgo.EpochOffset, len(ps))
		for p, next := range ps {
			offsets[topic][p] = kgo.EpochOffset{Epoch: -1, Offset: next}
		}
	}
	return commitSync(ctx, cl, offsets)
}

func (g *group) assigned(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	g.mu.Lock()
	for topic, ps := range parts {
		for _, p := range ps {
			g.owned[topicPartition{topic, p}] = true
		}
	}
	n := len(g.owned)
	g.mu.Unlock()
	g.log.Info("partitions assigned", "partitions", parts, "total", n)
	g.o.Member.joined()
	g.joined(n)
}

func (g *group) revoked(ctx context.Context, cl *kgo.Client, parts map[string][]int32) {
	n := g.drop(parts, false)
	// What was handled of the partitions that go is committed before they do.
	g.commit(context.WithoutCancel(ctx), cl, true)
	g.forget(parts)
	if len(parts) > 0 {
		g.log.Info("partitions revoked", "partitions", parts, "total", n)
	}
	g.joined(n)
}

func (g *group) lost(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	g.o.Member.left()
	n := g.drop(parts, true)
	g.forget(parts)
	g.log.Warn("partitions lost: the group did not hear from this member in time", "partitions", parts, "total", n)
	g.joined(n)
}

// drop takes partitions away: it ends a batch that holds one of them, waits for
// it, and returns how many partitions are left. What was handled of lost
// partitions is not committed: they are another member's already.
func (g *group) drop(parts map[string][]int32, lost bool) int {
	gone := map[topicPartition]bool{}
	for topic, ps := range parts {
		for _, p := range ps {
			gone[topicPartition{topic, p}] = true
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.owned, func(p topicPartition, _ bool) bool { return gone[p] })
	if h := g.held; h != nil {
		for p := range h.parts {
			if gone[p] {
				h.cancel()
				g.mu.Unlock()
				<-h.done
				g.mu.Lock()
				break
			}
		}
	}
	if lost {
		g.discard(parts)
	}
	return len(g.owned)
}

func (g *group) forget(parts map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.discard(parts)
	g.o.Lag.forget(parts)
}

func (g *group) discard(parts map[string][]int32) {
	for topic, ps := range parts {
		for _, p := range ps {
			delete(g.at[topic], p)
		}
		if len(g.at[topic]) == 0 {
			delete(g.at, topic)
		}
	}
}

func (g *group) joined(n int) {
	if g.o.Joined != nil {
		g.o.Joined(n)
	}
}
