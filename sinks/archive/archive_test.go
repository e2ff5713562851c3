package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/linkedin/goavro/v2"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"sluice/message"
	"sluice/sinks"
	"sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSink(dir string, change ...func(*Config)) *Sink {
	c := DefaultConfig()
	c.Dir, c.Codec = dir, "null"
	for _, f := range change {
		f(&c)
	}
	return New(c, sinks.Env{Name: "archive", Log: slog.New(slog.DiscardHandler), Clock: time.Now})
}

// opened returns an open sink that is closed with the test, whatever that gives.
func opened(t *testing.T, dir string, change ...func(*Config)) *Sink {
	t.Helper()
	s := newSink(dir, change...)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func write(t *testing.T, s *Sink, ms []message.Message) {
	t.Helper()
	if err := s.Write(t.Context(), ms); err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, s *Sink) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// files returns the files of dir whose names match, relative to it.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*/*/*/*/*", pattern))
	if err != nil {
		t.Fatal(err)
	}
	for i := range paths {
		paths[i], _ = filepath.Rel(dir, paths[i])
	}
	return paths
}

// read returns what goavro finds in the files: it knows nothing of this package.
func read(t *testing.T, dir, pattern string) []sinktest.Item {
	t.Helper()
	var items []sinktest.Item
	for _, name := range files(t, dir, pattern) {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := goavro.NewOCFReader(f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for r.Scan() {
			v, err := r.Read()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			data, err := json.Marshal(v, json.Deterministic(true))
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, sinktest.Item{ID: v.(map[string]any)["id"].(string), Data: filepath.Dir(name) + string(data)})
		}
		if err := r.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = f.Close()
	}
	return items
}

// once checks that the items are these messages, each once.
func once(t *testing.T, items []sinktest.Item, want []message.Message) {
	t.Helper()
	var got, ids []string
	for _, i := range items {
		got = append(got, i.ID)
	}
	for i := range want {
		ids = append(ids, want[i].ID)
	}
	slices.Sort(got)
	slices.Sort(ids)
	if ids = slices.Compact(ids); !slices.Equal(got, ids) {
		t.Fatalf("got %d records, want %d, each once\n%v\n%v", len(got), len(ids), got, ids)
	}
}

func TestContract(t *testing.T) {
	for codec := range codecs {
		t.Run(codec, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				dir := t.TempDir()
				return sinktest.Harness{
					New:    func() sinks.Sink { return newSink(dir, func(c *Config) { c.Codec = codec }) },
					Read:   func() []sinktest.Item { return read(t, dir, "*.avro*") },
					Reject: func(m *message.Message) { m.ObservedAt = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC) },
				}
			})
		})
	}
}

// TestLayout: records are where their event time says, as the messages have
// them, under the writer's schema, and no tool sees a file before it is finished.
func TestLayout(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	ms := sinktest.Messages(t, 200)
	write(t, s, ms)
	if got := files(t, dir, "*.avro"); len(got) > 0 {
		t.Errorf("got finished files %v while they are written to", got)
	}
	closed(t, s)
	if got := files(t, dir, "*.open"); len(got) > 0 {
		t.Errorf("got open files %v after Close", got)
	}
	once(t, read(t, dir, "*.avro"), ms)
	want := map[string]string{}
	for i := range ms {
		codec, err := goavro.NewCodec(ms[i].Schema)
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := codec.NativeFromBinary(ms[i].Avro)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := json.Marshal(v, json.Deterministic(true))
		hour := "18"
		if !ms[i].EventTime().Before(time.Date(2026, 11, 23, 19, 0, 0, 0, time.UTC)) {
			hour = "19"
		}
		want[ms[i].ID] = ms[i].Type + "/2026/11/23/" + hour + string(data)
	}
	for _, item := range read(t, dir, "*.avro") {
		if item.Data != want[item.ID] {
			t.Errorf("got %s, want %s", item.Data, want[item.ID])
		}
	}
	hours := map[string]bool{}
	for _, name := range files(t, dir, "*.avro") {
		hours[filepath.Dir(name)] = true
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := goavro.NewOCFReader(f)
		if err != nil {
			t.Fatal(err)
		}
		dataType, _, _ := strings.Cut(name, "/")
		i := slices.IndexFunc(ms, func(m message.Message) bool { return m.Type == dataType })
		if got := string(r.MetaData()["avro.schema"]); got != ms[i].Schema {
			t.Errorf("%s: got schema %s, want the writer's %s", name, got, ms[i].Schema)
		}
		_ = f.Close()
	}
	if len(hours) != 6 {
		t.Errorf("got directories %v, want three types in two hours", hours)
	}
}

func TestTwoSchemas(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	ms := slices.DeleteFunc(sinktest.Messages(t, 60), func(m message.Message) bool { return m.Type != "system_metrics" })
	for i := range ms {
		ms[i].Partition = 0
		if i%2 == 1 {
			ms[i].Schema = strings.Replace(ms[i].Schema, "The machine a node runs on", "The second version", 1)
		}
	}
	write(t, s, ms[:10])
	write(t, s, ms)
	closed(t, s)
	if got := files(t, dir, "*.avro"); len(got) != 2 {
		t.Errorf("got files %v, want one for each schema", got)
	}
	once(t, read(t, dir, "*.avro"), ms)
}

// TestNotReadAgain: a file that nobody else touched is not read between writes.
func TestNotReadAgain(t *testing.T) {
	s := opened(t, t.TempDir())
	ms := sinktest.Messages(t, 60)
	open := func() map[*file]bool {
		all := map[*file]bool{}
		for _, l := range s.all() {
			for _, h := range l.hours {
				for _, f := range h.open {
					all[f] = true
				}
			}
		}
		return all
	}
	write(t, s, ms[:30])
	before := open()
	write(t, s, ms[30:])
	write(t, s, ms)
	if after := open(); len(before) == 0 || !maps.Equal(before, after) {
		t.Errorf("got files %v, want %v still open", after, before)
	}
}

// TestTornTail cuts the last block of a file short at every byte, and, as a disk
// that loses power may, fills the rest with zeros: the file is taken up again
// without a record lost or twice.
func TestTornTail(t *testing.T) {
	ms := sinktest.Messages(t, 14)
	ms = slices.DeleteFunc(ms, func(m message.Message) bool { return m.Type != "system_metrics" })
	for i := range ms {
		ms[i].Partition = 2
	}
	first, second := ms[:3], ms[3:]
	for _, codec := range []string{"null", "deflate"} {
		dir := t.TempDir()
		s := opened(t, dir, func(c *Config) { c.Codec = codec })
		write(t, s, first)
		path := filepath.Join(dir, files(t, dir, "*.open")[0])
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, second)
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, tail := range []string{"cut", "zeros"} {
			for n := range after {
				if n < len(before) && n%101 != 0 {
					continue // of what was synced before only some
				}
				dir := t.TempDir()
				torn := filepath.Join(dir, "system_metrics/2026/11/23/18", filepath.Base(path))
				if err := os.MkdirAll(filepath.Dir(torn), 0o755); err != nil {
					t.Fatal(err)
				}
				content := slices.Clone(after[:n])
				if tail == "zeros" {
					content = append(content, make([]byte, len(after)-n)...)
				}
				if err := os.WriteFile(torn, content, 0o644); err != nil {
					t.Fatal(err)
				}
				s := newSink(dir, func(c *Config) { c.Codec = codec })
				// Without Open: a sink may find the file at any time.
				if n >= len(before) {
					// What was accepted comes again, as far as Kafka goes, or not.
					write(t, s, second)
				} else {
					write(t, s, ms)
				}
				closed(t, s)
				once(t, read(t, dir, "*.avro"), ms)
				if left := files(t, dir, "*.open"); len(left) > 0 {
					t.Fatalf("cut at %d: %v is left", n, left)
				}
				// Only a file without a whole header is not gone on with.
				if aside := files(t, dir, "*.damaged"); n >= len(before) && len(aside) > 0 {
					t.Fatalf("cut at %d: %v is set aside", n, aside)
				}
			}
		}
	}
}

// TestDamage: what is damaged in front of whole blocks is not cut off.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	ms := slices.DeleteFunc(sinktest.Messages(t, 60), func(m message.Message) bool { return m.Type != "system_metrics" })
	for i := range ms {
		ms[i].Partition = 0
	}
	write(t, s, ms[:5])
	path := filepath.Join(dir, files(t, dir, "*.open")[0])
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, ms[5:10])
	write(t, s, ms[10:])
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[info.Size()] ^= 1 // the count of its records turns negative
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	again := opened(t, dir)
	write(t, again, ms)
	closed(t, again)
	once(t, read(t, dir, "*.avro"), ms)
	kept, err := os.ReadFile(path + ".damaged")
	if err != nil || !bytes.Equal(kept, content) {
		t.Errorf("got %v, want the damaged file kept as it was", err)
	}
}

// TestResent writes everything a hundred times, by sinks that come, go, and end
// without a word, as after kill -9.
func TestResent(t *testing.T) {
	dir := t.TempDir()
	ms := sinktest.Messages(t, 120)
	r := rand.New(rand.NewPCG(1, 2))
	s := opened(t, dir, func(c *Config) { c.RollSize = 4000 })
	for range 100 {
		from := r.IntN(100)
		write(t, s, ms[from:])
		write(t, s, ms[:from+20])
		switch r.IntN(8) {
		case 0:
			closed(t, s)
			fallthrough
		case 1:
			s = opened(t, dir, func(c *Config) { c.RollSize = 4000 })
		}
	}
	closed(t, s)
	once(t, read(t, dir, "*.avro"), ms)
}

// TestPartitionComesBack: a sink that gets a partition back sees what another
// wrote meanwhile, whether that left its files open or not.
func TestPartitionComesBack(t *testing.T) {
	for _, end := range []bool{false, true} {
		dir := t.TempDir()
		ms := sinktest.Messages(t, 150)
		a, b := opened(t, dir), opened(t, dir)
		write(t, a, ms[:60])
		write(t, b, ms[30:77])
		if end {
			closed(t, b)
		}
		write(t, a, ms[75:])
		once(t, read(t, dir, "*.avro*"), ms)
		closed(t, a)
		if !end {
			write(t, b, ms)
			closed(t, b)
		}
		once(t, read(t, dir, "*.avro"), ms)
	}
}

// TestZombie: two sinks that write the same at the same time, one of which does
// not know that it lost its partitions.
func TestZombie(t *testing.T) {
	dir := t.TempDir()
	ms := sinktest.Messages(t, 300)
	var g errgroup.Group
	for range 3 {
		s := opened(t, dir, func(c *Config) { c.RollSize = 6000 })
		g.Go(func() error {
			for batch := range slices.Chunk(ms, 25) {
				if err := s.Write(t.Context(), slices.Clone(batch)); err != nil {
					return err
				}
			}
			return s.Close(context.Background())
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	once(t, read(t, dir, "*.avro"), ms)
}

// TestFilesMoved: finished files may be taken away, and what they hold is not
// written again while this process remembers; an open file that is taken away
// does not swallow what comes after.
func TestFilesMoved(t *testing.T) {
	dir := t.TempDir()
	ms := sinktest.Messages(t, 60)
	s := opened(t, dir, func(c *Config) { c.RollSize = 1 })
	write(t, s, ms[:30])
	for _, name := range files(t, dir, "*.avro") {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, s, ms)
	once(t, read(t, dir, "*.avro"), ms[30:])

	dir = t.TempDir()
	s = opened(t, dir)
	write(t, s, ms[:30])
	if err := os.RemoveAll(filepath.Join(dir, "system_metrics")); err != nil {
		t.Fatal(err)
	}
	write(t, s, ms[30:])
	closed(t, s)
	want := slices.Clone(ms[30:])
	for _, m := range ms[:30] {
		if m.Type != "system_metrics" {
			want = append(want, m)
		}
	}
	once(t, read(t, dir, "*.avro"), want)
}

// TestAgeFinishes: a file to which nothing more comes does not stay open, nor
// does one that a process left behind.
func TestAgeFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ms := sinktest.Messages(t, 30)
		s := newSink(dir)
		if err := s.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		write(t, s, ms)
		time.Sleep(9 * time.Minute)
		if got := files(t, dir, "*.avro"); len(got) > 0 {
			t.Errorf("got %v finished after 9 minutes, want none", got)
		}
		time.Sleep(3 * time.Minute)
		if got := files(t, dir, "*.open"); len(got) > 0 {
			t.Errorf("got %v open after 12 minutes, want none", got)
		}
		once(t, read(t, dir, "*.avro"), ms)
		closed(t, s)

		dir = t.TempDir()
		left := newSink(dir)
		write(t, left, ms)
		time.Sleep(time.Hour)
		s = newSink(dir)
		if err := s.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := files(t, dir, "*.open"); len(got) > 0 {
			t.Errorf("got %v open, which a process left an hour ago", got)
		}
		once(t, read(t, dir, "*.avro"), ms)
		closed(t, s)
	})
}

// TestSizeFinishes also checks that names sort by offset in the order of writing.
func TestSizeFinishes(t *testing.T) {
	dir := t.TempDir()
	ms := sinktest.Messages(t, 100)
	s := opened(t, dir, func(c *Config) { c.RollSize = 1 })
	for i := range ms {
		write(t, s, ms[i:i+1])
	}
	if got := files(t, dir, "*.avro"); len(got) != 100 {
		t.Errorf("got %d files, want 100", len(got))
	}
	once(t, read(t, dir, "*.avro"), ms)
}

// TestBounds: neither files nor memory grow with the number of hours.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := newSink(dir)
		s.maxIDs, s.maxOpen = 100, 10
		var all []message.Message
		for hour := range 40 {
			ms := sinktest.Messages(t, 21)
			for i := range ms {
				ms[i].ObservedAt = sinktest.Start.Add(time.Duration(hour) * time.Hour)
			}
			write(t, s, ms)
			all = append(all, ms...)
			time.Sleep(15 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		write(t, s, all[:1])
		open, ids := 0, 0
		for _, l := range s.all() {
			for _, h := range l.hours {
				open += len(h.open)
				ids += len(h.ids)
			}
		}
		if open > 10 || ids > 100 {
			t.Errorf("got %d files open and %d IDs held, want at most 10 and 100", open, ids)
		}
		write(t, s, all)
		closed(t, s)
		if got := len(read(t, dir, "*.avro")); got != len(all) {
			t.Errorf("got %d records, want %d: each message once in each of 40 hours", got, len(all))
		}
	})
}

// TestDiskFails: after an error nothing half-written is to be seen, and the
// batch can come again.
func TestDiskFails(t *testing.T) {
	dir := t.TempDir()
	ms := sinktest.Messages(t, 60)
	s := opened(t, dir)
	write(t, s, ms[:20])
	for _, l := range s.all() {
		for _, h := range l.hours {
			for _, f := range h.open {
				_ = f.f.Close() // every write fails now
			}
		}
	}
	if err := s.Write(t.Context(), ms); err == nil {
		t.Fatal("got nil, want an error: nothing could be written")
	} else if rejected, ok := sinks.Rejections(err, len(ms)); ok {
		t.Fatalf("got rejections %v, want an error that brings the batch again", rejected)
	}
	once(t, read(t, dir, "*.open"), ms[:20])
	write(t, s, ms)
	closed(t, s)
	once(t, read(t, dir, "*.avro"), ms)

	// A directory that cannot be made.
	dir = t.TempDir()
	s = opened(t, dir)
	block := filepath.Join(dir, "system_metrics")
	if err := os.WriteFile(block, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), ms); err == nil {
		t.Fatal("got nil, want an error")
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	write(t, s, ms)
	closed(t, s)
	once(t, read(t, dir, "*.avro"), ms)
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*message.Message)
		code   message.Code
	}{
		{"type that leaves the directory", func(m *message.Message) { m.Type = "../../etc" }, message.CodeUnsupported},
		{"year", func(m *message.Message) { m.ObservedAt = time.Date(-3, 1, 1, 0, 0, 0, 0, time.UTC) }, message.CodeTime},
		{"schema", func(m *message.Message) { m.Schema = "{" }, message.CodeUnsupported},
		{"cut short", func(m *message.Message) { m.Avro = m.Avro[:len(m.Avro)-1] }, message.CodeUnreadable},
		{"bytes behind", func(m *message.Message) { m.Avro = append(slices.Clone(m.Avro), 0) }, message.CodeUnreadable},
		{"another ID", func(m *message.Message) { m.ID += "0" }, message.CodeUnreadable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := opened(t, dir)
			ms := sinktest.Messages(t, 3)
			tt.change(&ms[1])
			got, ok := sinks.Rejections(s.Write(t.Context(), ms), 3)
			if !ok || len(got) != 1 || got[0].Index != 1 || got[0].Code != tt.code || got[0].Reason == "" {
				t.Errorf("got %v, want message 1 rejected as %s", got, tt.code)
			}
			once(t, read(t, dir, "*.open"), []message.Message{ms[0], ms[2]})
		})
	}
}

func TestUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		s := newSink(dir)
		if err := s.Open(t.Context()); !errors.Is(err, sinks.ErrUnusable) {
			t.Errorf("%s: got %v, want ErrUnusable", dir, err)
		}
		closed(t, s)
	}
}

func TestSettings(t *testing.T) {
	p := Plugin()
	if _, traits, err := p.New(p.Settings(), sinks.Env{Clock: time.Now}); err != nil || traits.Delivery != sinks.Shared || traits.Bodies {
		t.Errorf("got %+v and %v for the defaults, want shared, without bodies", traits, err)
	}
	_, _, err := p.New(&Config{Codec: "zip", RollSize: -1}, sinks.Env{})
	want := "dir: want a directory\ncodec: \"zip\" is none of deflate, snappy, null\nroll_size: -1 is not a size\nroll_age: 0s is less than a second"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// BenchmarkWrite is messages on their way to the disk, 500 in a batch, each
// batch synced, on three types and three partitions.
func BenchmarkWrite(b *testing.B) {
	for _, codec := range []string{"null", "deflate", "snappy"} {
		b.Run(codec, func(b *testing.B) {
			s := newSink(b.TempDir(), func(c *Config) { c.Codec = codec })
			if err := s.Open(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close(context.Background()) }()
			ms := sinktest.Messages(b, 500)
			n := 0
			for b.Loop() {
				for i := range ms {
					// Another ID of the same length.
					id := fmt.Sprintf("%0*d", len(ms[i].ID), n)
					ms[i].ObservedAt = sinktest.Start
					ms[i].ID = id
					copy(ms[i].Avro[1:], id)
					n++
				}
				if err := s.Write(b.Context(), ms); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
