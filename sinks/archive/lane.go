package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"sluice/message"
)

// lane is the messages of one type and partition. The lock on its file keeps
// other processes out while one writes; mu does so inside this one.
type lane struct {
	a         *Sink
	dir       string
	partition int32

	mu    sync.Mutex
	hours map[string]*hour // by directory
}

// locked calls f while nobody else uses the files of the lane.
func (l *lane) locked(ctx context.Context, f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := makeDir(l.dir); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(l.dir, ".lock-"+strconv.Itoa(int(l.partition))))
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	return errors.Join(f(), lock.Unlock())
}

// hour returns what is known of an hour.
func (l *lane) hour(dir string, now time.Time) *hour {
	h := l.hours[dir]
	if h == nil {
		h = &hour{
			dir: dir, partition: l.partition, hash: l.a.hash, log: l.a.log,
			ids: map[key]struct{}{}, files: map[string]int64{}, open: map[string]*file{},
		}
		l.hours[dir] = h
	}
	h.used = now
	return h
}

// blockBytes is about how large a block gets before it is packed.
const blockBytes = 4 << 20

// write makes messages of the lane durable, those of one hour and one schema
// together, in the order in which the batch has them.
func (l *lane) write(ctx context.Context, ms []*message.Message) error {
	return l.locked(ctx, func() error {
		type place struct{ dir, schema string }
		var order []place
		parts := map[place][]*message.Message{}
		for _, m := range ms {
			p := place{filepath.Join(l.dir, m.EventTime().UTC().Format("2006/01/02/15")), m.Schema}
			if parts[p] == nil {
				order = append(order, p)
			}
			parts[p] = append(parts[p], m)
		}
		for _, p := range order {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := l.part(p.dir, p.schema, parts[p]); err != nil {
				// What is known may not be what is there.
				l.drop(p.dir)
				return err
			}
		}
		return nil
	})
}

// part writes messages of one hour and one schema that the hour does not hold.
func (l *lane) part(dir, schema string, ms []*message.Message) error {
	now := l.a.clock()
	h := l.hour(dir, now)
	if err := h.look(); err != nil {
		return err
	}
	var (
		data   []byte
		keys   []key
		here   = map[key]bool{}
		offset int64
	)
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		err := h.put(l.a, header{schema: schema, codec: l.a.config.Codec}, offset, keys, data, now)
		data, keys = data[:0], nil
		return err
	}
	for _, m := range ms {
		k := l.a.hash.key([]byte(m.ID))
		if _, held := h.ids[k]; held || here[k] {
			continue
		}
		here[k] = true
		if len(keys) == 0 {
			offset = max(m.Offset, 0)
		}
		data, keys = append(data, m.Avro...), append(keys, k)
		if len(data) >= blockBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// drop forgets an hour, so that its files are read before it is used again.
func (l *lane) drop(dir string) {
	if h := l.hours[dir]; h != nil {
		for name := range h.open {
			h.forget(name)
		}
		delete(l.hours, dir)
	}
}

// finish finishes the open files of the lane for which due holds, if they are
// still as this process left them.
func (l *lane) finish(ctx context.Context, due func(*file) bool) error {
	if !l.any(due) {
		return nil
	}
	return l.locked(ctx, func() error {
		var errs []error
		for _, h := range l.hours {
			if err := h.look(); err != nil {
				errs = append(errs, err)
				continue
			}
			for _, f := range h.open {
				if due(f) {
					errs = append(errs, h.finish(f))
				}
			}
		}
		return errors.Join(errs...)
	})
}

// any reports whether an open file is due.
func (l *lane) any(due func(*file) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.hours {
		for _, f := range h.open {
			if due(f) {
				return true
			}
		}
	}
	return false
}
