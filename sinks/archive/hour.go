package archive

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// key stands for a message ID in memory. Two IDs of one hour with the same key
// would lose a message; with 128 bits that is not to be expected.
type key [2]uint64

// hasher makes keys that nobody outside can foresee.
type hasher [2]maphash.Seed

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

func (h hasher) key(id []byte) key {
	return key{maphash.Bytes(h[0], id), maphash.Bytes(h[1], id)}
}

// hour is what is known of the files of one type, partition and hour. It is used
// only under its lane's lock.
type hour struct {
	dir       string
	partition int32
	hash      hasher
	log       *slog.Logger

	ids map[key]struct{}
	// files are those that ids stands for, with the sizes they had.
	files map[string]int64
	open  map[string]*file // by name
	used  time.Time
}

// look brings what is known in line with the directory, which another process
// may have written to since, and which a person may have moved files out of: it
// reads what is new and lets go of what is gone. IDs of files that are gone stay
// known.
func (h *hour) look() error {
	entries, err := os.ReadDir(h.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list hour: %w", err)
	}
	there := make(map[string]int64, len(entries))
	for _, e := range entries {
		partition, _, _, ok := parseName(e.Name())
		if !ok || partition != h.partition {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list hour: %w", err)
		}
		there[e.Name()] = info.Size()
	}
	for name := range h.files {
		if size, ok := there[name]; !ok || size != h.files[name] {
			h.forget(name)
		}
	}
	for name := range there {
		if _, known := h.files[name]; !known {
			if err := h.read(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget lets a file go that is not as it was.
func (h *hour) forget(name string) {
	delete(h.files, name)
	if f := h.open[name]; f != nil {
		_ = f.f.Close()
		delete(h.open, name)
	}
}

// read learns the IDs of a file. One that is still written to, by nobody now
// that the lock is ours, is cut back to its last whole block and taken over.
func (h *hour) read(name string) error {
	path := filepath.Join(h.dir, name)
	_, begun, open, _ := parseName(name)
	mode := os.O_RDONLY
	if open {
		mode = os.O_RDWR
	}
	f, err := os.OpenFile(path, mode, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	var keys []key
	c, err := readContents(f, info.Size(), func(id []byte) { keys = append(keys, h.hash.key(id)) })
	if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	if !open {
		if c.whole < info.Size() {
			h.log.Warn("file is damaged: what stands behind the damage is written again when it comes again", "path", path)
		}
		h.learn(name, info.Size(), keys)
		return nil
	}
	switch {
	case info.Size() == 0:
		// The process ended right after it had made the file.
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove empty file: %w", err)
		}
		return nil
	case c.damaged, c.whole == 0:
		h.log.Warn("file is damaged and set aside: replay the sink to write its messages again", "path", path+".damaged")
		if err := os.Rename(path, path+".damaged"); err != nil {
			return fmt.Errorf("set file aside: %w", err)
		}
		return syncDir(h.dir)
	}
	if c.whole < info.Size() {
		h.log.Warn("file ends in a part of a block, which is cut off", "path", path, "bytes", info.Size()-c.whole)
		if err := f.Truncate(c.whole); err != nil {
			return fmt.Errorf("cut file: %w", err)
		}
	}
	// What was written may not have been synced.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	keep = true
	h.open[name] = &file{header: c.header, f: f, path: path, size: c.whole, begun: begun, used: h.used}
	h.learn(name, c.whole, keys)
	return nil
}

func (h *hour) learn(name string, size int64, keys []key) {
	for _, k := range keys {
		h.ids[k] = struct{}{}
	}
	h.files[name] = size
}

// finish finishes a file.
func (h *hour) finish(f *file) error {
	name := f.name()
	size := h.files[name]
	delete(h.open, name)
	delete(h.files, name)
	if err := f.finish(); err != nil {
		return err
	}
	h.files[name[:len(name)-len(openSuffix)]] = size
	return nil
}

// put appends records to the file for their schema, or to a new one, and says
// that they are there.
func (h *hour) put(a *Sink, hd header, offset int64, keys []key, data []byte, now time.Time) error {
	var f *file
	for _, o := range h.open {
		if o.schema == hd.schema {
			f = o
		}
	}
	if f != nil && a.due(f, now) {
		if err := h.finish(f); err != nil {
			return err
		}
		f = nil
	}
	if f != nil {
		if err := f.append(len(keys), data); err != nil {
			h.forget(f.name())
			return err
		}
	} else {
		var err error
		if f, err = createFile(h.dir, h.partition, offset, now, hd, len(keys), data); err != nil {
			return err
		}
		h.open[f.name()] = f
	}
	f.used = now
	h.learn(f.name(), f.size, keys)
	if a.due(f, now) {
		return h.finish(f)
	}
	return nil
}
