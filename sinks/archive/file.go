package archive

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// openSuffix ends the name of a file that is still written to.
const openSuffix = ".open"

// names are those of our files: partition, first offset, when it was begun.
var names = regexp.MustCompile(`^([0-9]{1,10})-([0-9]{1,19})-([0-9]{1,19})\.avro(\.open)?$`)

// parseName returns the partition of a file, when it was begun and whether it is
// still written to; false for a file that is none of ours.
func parseName(name string) (partition int32, begun time.Time, open, ok bool) {
	m := names.FindStringSubmatch(name)
	if m == nil {
		return 0, time.Time{}, false, false
	}
	p, err := strconv.ParseInt(m[1], 10, 32)
	ms, err2 := strconv.ParseInt(m[3], 10, 64)
	if err != nil || err2 != nil {
		return 0, time.Time{}, false, false
	}
	return int32(p), time.UnixMilli(ms), m[4] != "", true
}

// file is one that is written to. It is used only under its lane's lock.
type file struct {
	header
	f    *os.File
	path string // ends in openSuffix
	// size is what is whole and synced.
	size  int64
	begun time.Time
	used  time.Time
}

func (f *file) name() string { return filepath.Base(f.path) }

// createFile makes a file of the header and a first block. Unless it returns
// nil, nothing is left of the file.
func createFile(dir string, partition int32, offset int64, now time.Time, h header, count int, data []byte) (*file, error) {
	if _, err := rand.Read(h.sync[:]); err != nil {
		return nil, fmt.Errorf("make marker: %w", err)
	}
	content, err := h.appendBlock(h.append(nil), count, data)
	if err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	f := &file{header: h, begun: now, size: int64(len(content))}
	for ms := now.UnixMilli(); ; ms++ {
		name := fmt.Sprintf("%d-%d-%d.avro", partition, offset, ms)
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			continue
		}
		f.path = filepath.Join(dir, name+openSuffix)
		f.f, err = os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("create file: %w", err)
		}
		break
	}
	_, err = f.f.Write(content)
	if err == nil {
		err = f.f.Sync()
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		_ = f.f.Close()
		_ = os.Remove(f.path)
		return nil, fmt.Errorf("begin file: %w", err)
	}
	return f, nil
}

// append adds a block and syncs it. Unless it returns nil, the file is as before.
func (f *file) append(count int, data []byte) error {
	block, err := f.appendBlock(nil, count, data)
	if err != nil {
		return err
	}
	_, err = f.f.WriteAt(block, f.size)
	if err == nil {
		err = f.f.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("append block: %w", err), f.f.Truncate(f.size))
	}
	f.size += int64(len(block))
	return nil
}

// finish gives the file its last name.
func (f *file) finish() error {
	return errors.Join(f.f.Close(), finish(f.path))
}

func finish(path string) error {
	if err := os.Rename(path, path[:len(path)-len(openSuffix)]); err != nil {
		return fmt.Errorf("finish file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// makeDir makes a directory and those above it, synced.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
