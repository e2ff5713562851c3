package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// SessionOptions say what a transforming member of a consumer group does.
type SessionOptions struct {
	Group  string
	Topics []string
	// Client names the client in metrics; empty for one that has none.
	Client string
	// Slot makes the transactional and the instance ID: one name for each live
	// member, kept over restarts, so that a successor ends its predecessor's
	// transaction at once and takes its partitions without waiting.
	Slot string
	// Fresh takes an ID of its own for every start instead, and no instance ID:
	// for the embedded broker, on which a stable one can hide records after a
	// kill (an open transaction is aborted there without a marker).
	Fresh bool
	// Every is the time between commits, 0 for 50 ms. Readers wait half of it.
	Every time.Duration
	// Parallel is how many partitions are transformed at once, 0 for 1.
	Parallel int
	// Lag, if not nil, is told of the positions.
	Lag *Lag
	// Joined, if not nil, is told with every change how many partitions this
	// member reads.
	Joined func(partitions int)
	// Member, if not nil, is told whether the group counts us in.
	Member *Member
	// Ended, if not nil, is called after every transaction. All that Transform
	// was called for since the last call belongs to it.
	Ended func(Transaction)
	// Restarted, if not nil, is called when the session's client is to be
	// replaced by another.
	Restarted func(err error)
}

// Transaction is what became of one.
type Transaction struct {
	// Records is how many records were transformed, Took the time from its begin.
	Records int
	Took    time.Duration
	// Err is nil if it is committed, and wraps ErrAborted if its records come
	// again after a rebalance. After any other error nothing of it is to be
	// relied on.
	Err error
}

// ErrAborted says that a rebalance took away partitions of a transaction.
var ErrAborted = errors.New("transaction aborted by a rebalance")

// Transform turns records of one partition, in order, into records to produce,
// which it gives to emit. It is called for several partitions at a time and again
// for the same records after an abort, so it changes nothing but what it emits.
// committed, if not nil, is called once when the transaction is committed: what
// counts outcomes belongs there. An error ends the session, and nothing of the
// transaction is kept.
type Transform func(ctx context.Context, rs []*Record, emit func(*Record)) (committed func(), err error)

const (
	// A transaction that a dead member left open is aborted by the broker after
	// transactionTimeout. It is longer than memberTimeout: while others join, a
	// dead member is waited for, and nobody can commit; the transactions of the
	// living must outlast that (ADR 7).
	transactionTimeout = 10 * time.Second
	// stopTimeout is what a process that stops leaves to its last transaction.
	stopTimeout = 6500 * time.Millisecond
	pollMax     = 5000
	// mentionEvery is how often sessions that end one after the other are mentioned.
	mentionEvery = 10 * time.Second
)

// RunSession consumes, transforms and produces in transactions until the context
// ends: on a real Kafka each record has its outcome exactly once for readers
// that are read_committed. An outcome that is not known, and an error of the
// client, end the session's client; a new one begins from what is committed.
// It returns an error that wraps ErrFenced when another process uses the slot,
// and the error of transform. A process that was paused for longer than the broker
// waits for its transaction goes on with a new session: Kafka fences it too, but
// nobody else has its slot.
func (c Config) RunSession(ctx context.Context, o SessionOptions, log *slog.Logger, transform Transform) error {
	if o.Every == 0 {
		o.Every = 50 * time.Millisecond
	}
	defer o.Member.left()
	var said time.Time
	for restarts, since := 0, 0; ; restarts++ {
		s := &session{c: c, o: o, log: log, transform: transform}
		err := s.run(ctx, restarts)
		var own *finalError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &own):
			return own.err
		case fenced(err) && !s.heldUp:
			return fmt.Errorf("slot %s is %w: give each normalizer a slot of its own: %w", o.Slot, ErrFenced, err)
		}
		o.Member.failed(err)
		if o.Restarted != nil {
			o.Restarted(err)
		}
		since++
		if now := time.Now(); now.Sub(said) >= mentionEvery {
			log.Warn("transaction session ended, beginning another from what is committed", "times", since, "err", err)
			said, since = now, 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff(min(restarts, 3))):
		}
	}
}

// finalError is one that another session would not mend: the transform's, or a
// setting's.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }

// session is one client's life.
type session struct {
	c         Config
	o         SessionOptions
	log       *slog.Logger
	transform Transform
	sess      *kgo.GroupTransactSession
	owned     int
	// heldUp says that the last transaction failed after the broker had stopped
	// waiting for it: being fenced then comes of that, and of no other process.
	heldUp bool
}

// ids returns the transactional and the instance ID.
func (s *session) ids(restarts int) (transactional, instance string) {
	id := s.o.Group + "." + s.o.Slot
	if s.o.Fresh {
		return fmt.Sprintf("%s.%d.%d", id, time.Now().UnixNano(), restarts), ""
	}
	return id, id
}

func (s *session) run(ctx context.Context, restarts int) (err error) {
	transactional, instance := s.ids(restarts)
	opts, err := s.c.options(s.log, append(readCommitted(),
		kgo.ConsumerGroup(s.o.Group),
		kgo.ConsumeTopics(s.o.Topics...),
		kgo.TransactionalID(transactional),
		kgo.TransactionTimeout(transactionTimeout),
		kgo.SessionTimeout(memberTimeout),
		kgo.HeartbeatInterval(memberTimeout/4),
		// A record produced right after a commit waits in the broker; a short
		// linger hides that and is faster than none.
		kgo.ProducerLinger(2*time.Millisecond),
		s.c.compressed(),
		kgo.ProducerBatchMaxBytesFn(maxBytes),
		kgo.MaxBufferedRecords(50_000),
		kgo.MaxBufferedBytes(128<<20),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			s.o.Member.joined()
			s.joined(parts, 1)
			s.log.Info("partitions assigned", "partitions", parts, "total", s.owned)
		}),
		kgo.OnPartitionsRevoked(s.gone),
		kgo.OnPartitionsLost(func(ctx context.Context, cl *kgo.Client, parts map[string][]int32) {
			s.o.Member.left()
			s.gone(ctx, cl, parts)
		}),
		s.o.Member.hook(s.o.Group),
		s.c.observers.hooks(s.o.Client, false),
	)...)
	if err != nil {
		return &finalError{err}
	}
	if instance != "" {
		opts = append(opts, kgo.InstanceID(instance))
	}
	s.sess, err = kgo.NewGroupTransactSession(opts...)
	if err != nil {
		return fmt.Errorf("make transaction session: %w", err)
	}
	defer func() {
		s.sess.CloseAllowingRebalance()
		if instance != "" && ctx.Err() != nil {
			s.leave(instance)
		}
	}()
	// Taking the producer ID ends what a killed predecessor left open. Without it
	// the offsets of that transaction hold up the first fetch until it times out.
	if _, _, err := s.sess.Client().ProducerID(ctx); err != nil {
		return fmt.Errorf("take producer ID %s: %w", transactional, err)
	}
	for ctx.Err() == nil {
		if err := s.transact(ctx); err != nil {
			return err
		}
	}
	return nil
}

// leave tells the group that this instance will not come back. Closing a client
// that has an instance ID does not: the group would wait for it.
func (s *session) leave(instance string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	cl, err := s.c.client(s.log)
	if err == nil {
		defer cl.Close()
		var resp kadm.LeaveGroupResponses
		resp, err = kadm.NewClient(cl).LeaveGroup(ctx, kadm.LeaveGroup(s.o.Group).InstanceIDs(instance).Reason("planned leave"))
		if err == nil {
			err = resp.Error()
		}
	}
	if err != nil {
		s.log.Warn("group not left: its partitions wait for the session timeout", "err", err)
	}
}

// transact polls until there is something to do, and commits what comes within
// the interval as one transaction.
func (s *session) transact(ctx context.Context) (err error) {
	fs := s.sess.PollRecords(ctx, pollMax)
	if ctx.Err() != nil {
		return nil
	}
	if fs.IsClientClosed() {
		return errors.New("kafka client closed")
	}
	if err := fetchError(fs); err != nil {
		return err
	}
	if fs.NumRecords() == 0 {
		return nil
	}
	if err := s.sess.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	s.o.Member.begin()
	began, records, committed := time.Now(), 0, false
	defer func() {
		s.heldUp = err != nil && heldUp(began, time.Now())
		s.o.Member.end(committed)
		s.ended(Transaction{Records: records, Took: time.Since(began), Err: err}, committed)
	}()
	failed := kgo.AbortingFirstErrPromise(s.sess.Client())
	emit := func(r *Record) { s.sess.Client().Produce(context.Background(), r, failed.Promise()) }

	deadline := began.Add(s.o.Every)
	window, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	last, at := []*Record(nil), Offsets{}
	var terr error
	var counts []func()
	for {
		n, ends, then, err := s.batch(ctx, fs, at, emit)
		records += n
		last = append(last, ends...)
		counts = append(counts, then...)
		if err != nil {
			terr = err
			break
		}
		if !time.Now().Before(deadline) || ctx.Err() != nil {
			break
		}
		fs = s.sess.PollRecords(window, pollMax)
		if fs.IsClientClosed() {
			break
		}
		if err := fetchError(fs); err != nil {
			terr = err
			break
		}
	}
	// The outcome is waited for even while the process stops: a transaction left
	// open holds up every reader until it times out.
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), transactionTimeout)
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopTimeout, stop) })()
	perr := failed.Err()
	committed, err = s.sess.End(end, kgo.TransactionEndTry(terr == nil && perr == nil))
	switch {
	case terr != nil:
		return terr
	case err != nil:
		return fmt.Errorf("end transaction of %d records: %w", records, err)
	case perr != nil:
		return fmt.Errorf("produce in transaction: %w", perr)
	case !committed:
		s.log.Info("transaction aborted by a rebalance, its records come again", "records", records)
		return nil
	}
	s.o.Lag.advance(at, last)
	for _, count := range counts {
		count()
	}
	return nil
}

// heldUp reports whether the broker has ended by itself a transaction that began
// and failed at these times. It goes by the wall clock: the other one stands still
// while the machine sleeps.
func heldUp(began, failed time.Time) bool {
	return failed.Round(0).Sub(began.Round(0)) >= transactionTimeout
}

// ended reports a transaction.
func (s *session) ended(t Transaction, committed bool) {
	if s.o.Ended == nil {
		return
	}
	if t.Err == nil && !committed {
		t.Err = ErrAborted
	}
	s.o.Ended(t)
}

// batch transforms the partitions of a poll, several at a time, and returns how
// many records it held, the last of each partition, and what to call when they
// are committed.
func (s *session) batch(ctx context.Context, fs kgo.Fetches, at Offsets, emit func(*Record)) (int, []*Record, []func(), error) {
	var (
		work   errgroup.Group
		mu     sync.Mutex
		counts []func()
	)
	work.SetLimit(max(s.o.Parallel, 1))
	records, last := 0, []*Record(nil)
	fs.EachPartition(func(p kgo.FetchTopicPartition) {
		rs := take(make([]*Record, 0, len(p.Records)), p, s.o.Lag, at)
		if len(rs) == 0 {
			return
		}
		records += len(rs)
		last = append(last, rs[len(rs)-1])
		work.Go(func() error {
			count, err := s.transform(ctx, rs, emit)
			if err != nil {
				return &finalError{err}
			}
			if count != nil {
				mu.Lock()
				defer mu.Unlock()
				counts = append(counts, count)
			}
			return nil
		})
	})
	err := work.Wait()
	return records, last, counts, err
}

func (s *session) gone(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	s.joined(parts, -1)
	s.o.Lag.forget(parts)
	if len(parts) > 0 {
		s.log.Info("partitions revoked", "partitions", parts, "total", s.owned)
	}
}

// joined is called from franz-go's group goroutine only.
func (s *session) joined(parts map[string][]int32, sign int) {
	for _, ps := range parts {
		s.owned += sign * len(ps)
	}
	if s.o.Joined != nil {
		s.o.Joined(s.owned)
	}
}
