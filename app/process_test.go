package app

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/config"
)

// TestServeDrains proves that a process which is told to stop says first that it
// is not ready, serves on for shutdown.delay, and then stops part after part; and
// that its log tells so.
func TestServeDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, err := load(config.Sources{}, Default(), role{})
		if err != nil {
			t.Fatal(err)
		}
		s.admin.Listen, s.shutdown.Delay = "", 7*time.Second
		var out bytes.Buffer
		p := newProcess(s, Default(), slog.New(slog.NewTextHandler(&out, nil)), nil)
		ctx, cancel := context.WithCancel(t.Context())
		var told time.Time
		var mu sync.Mutex
		ends := make(map[string]time.Duration)
		parts := make([]part, 2)
		for i, name := range []string{"front", "back"} {
			parts[i] = part{name: name, ready: func(context.Context) error { return nil }, run: func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				ends[name] = time.Since(told)
				return nil
			}}
		}
		done := make(chan error)
		go func() { done <- p.serve(ctx, parts) }()
		synctest.Wait()
		if err := p.health.Ready(t.Context()); err != nil {
			t.Errorf("before: got %v, want ready", err)
		}
		told = time.Now()
		cancel()
		synctest.Wait()
		if err := p.health.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("at once: got %v, want not ready and why", err)
		}
		mu.Lock()
		if len(ends) > 0 {
			t.Errorf("ended at once: %v", ends)
		}
		mu.Unlock()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if ends["back"] != 8*time.Second || ends["front"] != 9*time.Second {
			t.Errorf("got ends %v, want the back after the delay of 7 s and its own 1 s, and then the front", ends)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			if _, said, ok := strings.Cut(strings.TrimSpace(line), "msg="); ok && strings.Contains(said, "stopping") {
				got = append(got, said)
			}
		}
		want := []string{
			`"stopping 1/3: not ready, still serving" delay=7s`,
			`"stopping 2/3: a part ends" stage=back`,
			`"stopping 2/3: a part ends" stage=front`,
			`"stopping 3/3: all parts have ended"`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("got lines\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
