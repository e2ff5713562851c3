package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/message"
	"sluice/sinks"
)

// Bounds of what the sink holds. Beyond them it lets go of what it used longest
// ago, but never of what it used in the last idle: a replay of much old data, or
// very much traffic, takes what it needs.
const (
	maxIDs  = 4_000_000 // message IDs known, about 40 bytes each
	maxOpen = 256       // files open
	idle    = time.Minute
)

// writers is how many partitions are written at once: their syncs overlap.
const writers = 8

// Sink writes Avro files.
type Sink struct {
	config Config
	log    *slog.Logger
	clock  func() time.Time
	hash   hasher

	// maxIDs and maxOpen are the constants; tests lower them.
	maxIDs, maxOpen int

	// shapes are those of the schemas seen; Write alone uses them.
	shapes map[string]*shape

	mu    sync.Mutex // guards lanes, not what is in them
	lanes map[laneKey]*lane

	stop context.CancelFunc
	done chan struct{}
}

type laneKey struct {
	dataType  string
	partition int32
}

// New returns a sink with settings that are valid.
func New(c Config, env sinks.Env) *Sink {
	return &Sink{
		config: c, log: env.Log, clock: env.Clock, hash: newHasher(),
		maxIDs: maxIDs, maxOpen: maxOpen,
		shapes: map[string]*shape{}, lanes: map[laneKey]*lane{},
	}
}

// Open makes the directory, and finishes files that a process left behind.
func (s *Sink) Open(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	if err := s.sweep(ctx); err != nil {
		return err
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.done = make(chan struct{})
	go s.tend(ctx)
	return nil
}

// check makes sure that files can be made in the directory.
func (s *Sink) check() error {
	err := makeDir(s.config.Dir)
	var probe *os.File
	if err == nil {
		probe, err = os.CreateTemp(s.config.Dir, ".probe-*")
	}
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("dir %s: %w: %w", s.config.Dir, sinks.ErrUnusable, err)
	case err != nil:
		return fmt.Errorf("dir %s: %w", s.config.Dir, err)
	}
	return nil
}

// Write appends the messages that their hours do not hold yet, and syncs.
func (s *Sink) Write(ctx context.Context, batch []message.Message) error {
	var rejected []error
	var order []*lane
	parts := map[*lane][]*message.Message{}
	for i := range batch {
		if code, why := s.refuse(&batch[i]); why != "" {
			rejected = append(rejected, &sinks.Rejected{Index: i, Code: code, Reason: why})
			continue
		}
		l := s.lane(batch[i].Type, batch[i].Partition)
		if parts[l] == nil {
			order = append(order, l)
		}
		parts[l] = append(parts[l], &batch[i])
	}
	var g errgroup.Group
	g.SetLimit(writers)
	for _, l := range order {
		g.Go(func() error { return l.write(ctx, parts[l]) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("archive batch of %d: %w", len(batch), err)
	}
	if err := s.bound(ctx); err != nil {
		// The batch is durable.
		s.log.Warn("files not finished", "err", err)
	}
	return errors.Join(rejected...)
}

// refuse says why a message can have no place in a file.
func (s *Sink) refuse(m *message.Message) (message.Code, string) {
	if !message.ValidType(m.Type) || m.Partition < 0 {
		return message.CodeUnsupported, "no directory for its type and partition"
	}
	if y := m.EventTime().UTC().Year(); y < 1 || y > 9999 {
		return message.CodeTime, fmt.Sprintf("no directory for the year %d", y)
	}
	sh, ok := s.shapes[m.Schema]
	if !ok {
		var err error
		if sh, err = compile(m.Schema); err != nil {
			return message.CodeUnsupported, err.Error()
		}
		s.shapes[m.Schema] = sh
	}
	// One record that is not whole would make all behind it unreadable.
	if id, rest, ok := sh.record(m.Avro); !ok || len(rest) > 0 || string(id) != m.ID {
		return message.CodeUnreadable, "not one Avro record of its schema with its ID"
	}
	return "", ""
}

func (s *Sink) lane(dataType string, partition int32) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := laneKey{dataType, partition}
	l := s.lanes[k]
	if l == nil {
		l = &lane{a: s, dir: filepath.Join(s.config.Dir, dataType), partition: partition, hours: map[string]*hour{}}
		s.lanes[k] = l
	}
	return l
}

func (s *Sink) all() []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*lane, 0, len(s.lanes))
	for _, l := range s.lanes {
		all = append(all, l)
	}
	return all
}

// due reports whether a file is large or old enough to be finished.
func (s *Sink) due(f *file, now time.Time) bool {
	return f.size >= int64(s.config.RollSize) || now.Sub(f.begun) >= s.config.RollAge
}

// bound keeps what is held within maxOpen and maxIDs.
func (s *Sink) bound(ctx context.Context) error {
	type held struct {
		l    *lane
		dir  string
		used time.Time
		ids  int
	}
	var hours []held
	var used []time.Time
	ids, lanes := 0, s.all()
	for _, l := range lanes {
		l.mu.Lock()
		for dir, h := range l.hours {
			hours = append(hours, held{l, dir, h.used, len(h.ids)})
			ids += len(h.ids)
			for _, f := range h.open {
				used = append(used, f.used)
			}
		}
		l.mu.Unlock()
	}
	recent := s.clock().Add(-idle)
	var errs []error
	if len(used) > s.maxOpen {
		slices.SortFunc(used, time.Time.Compare)
		before := used[len(used)-s.maxOpen-1]
		if before.After(recent) {
			before = recent
		}
		for _, l := range lanes {
			errs = append(errs, l.finish(ctx, func(f *file) bool { return !f.used.After(before) }))
		}
	}
	slices.SortFunc(hours, func(a, b held) int { return a.used.Compare(b.used) })
	for _, h := range hours {
		if ids <= s.maxIDs || h.used.After(recent) {
			break
		}
		ids -= h.ids
		errs = append(errs, h.l.finish(ctx, func(f *file) bool { return filepath.Dir(f.path) == h.dir }))
		h.l.mu.Lock()
		h.l.drop(h.dir)
		h.l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// tend finishes files that have become old while nothing was written to them.
func (s *Sink) tend(ctx context.Context) {
	defer close(s.done)
	const sweepEvery = time.Hour
	swept := s.clock()
	ticker := time.NewTicker(min(max(s.config.RollAge/10, time.Second), time.Minute))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var errs []error
		for _, l := range s.all() {
			errs = append(errs, l.finish(ctx, func(f *file) bool { return s.due(f, s.clock()) }))
		}
		if now := s.clock(); now.Sub(swept) >= sweepEvery {
			swept = now
			errs = append(errs, s.sweep(ctx))
		}
		if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
			s.log.Warn("files not finished", "err", err)
		}
	}
}

// sweep finishes old files of hours to which nothing more may come, whoever left
// them: a process that ended, or one that does not have their partition any more.
func (s *Sink) sweep(ctx context.Context) error {
	type left struct {
		l   *lane
		dir string
	}
	found := map[left]bool{}
	err := filepath.WalkDir(s.config.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		partition, begun, open, ok := parseName(d.Name())
		if !ok || !open || s.clock().Sub(begun) < s.config.RollAge {
			return nil
		}
		// DIR/type/year/month/day/hour
		dir := filepath.Dir(path)
		dataType, err := filepath.Rel(s.config.Dir, filepath.Join(dir, "../../../.."))
		if err != nil || !message.ValidType(dataType) {
			return nil
		}
		found[left{s.lane(dataType, partition), dir}] = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for files left behind: %w", err)
	}
	for f := range found {
		err := f.l.locked(ctx, func() error {
			h := f.l.hour(f.dir, s.clock())
			if err := h.look(); err != nil {
				return err
			}
			var errs []error
			for _, o := range h.open {
				if s.due(o, s.clock()) {
					errs = append(errs, h.finish(o))
				}
			}
			return errors.Join(errs...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Close finishes every file that is open.
func (s *Sink) Close(ctx context.Context) error {
	if s.stop != nil {
		s.stop()
		<-s.done
	}
	var errs []error
	for _, l := range s.all() {
		errs = append(errs, l.finish(ctx, func(*file) bool { return true }))
		l.mu.Lock()
		for dir := range l.hours {
			l.drop(dir)
		}
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}
