package wire

import (
	"testing"

	"sluice/message"
)

func TestCacheOfOneSlot(t *testing.T) {
	c := newCache(1)
	for _, want := range []string{"a", "b", "b", "a", "ab"} {
		text := []byte(want)
		got := c.get(text)
		text[0] = 'x'
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCacheAllocates(t *testing.T) {
	c := newCache(8)
	text := []byte("ethereum_metrics")
	c.get(text)
	if got := testing.AllocsPerRun(100, func() { c.get(text) }); got != 0 {
		t.Errorf("got %v allocations for a string that was there, want none", got)
	}
}

// TestScannerForgets makes sure that names of a frame that broke off do not pile
// up, and that what a large frame needed is let go.
func TestScannerForgets(t *testing.T) {
	s := &scanner{names: newCache(1), words: newCache(1)}
	names := make([]string, 2000)
	for i := range names {
		names[i] = Index(i)
	}
	s.begin(DefaultLimits)
	if f := s.checkMsgpack(append(packMap(names...), 0xc1)); f == nil || f.Code != message.CodeMalformed {
		t.Fatalf("got %v, want a fault", f)
	}
	s.begin(DefaultLimits)
	if got := cap(s.keys); got > 1<<10 {
		t.Errorf("got room for %d names, want it let go", got)
	}
	if f := s.checkMsgpack([]byte("\x82\xa1a\x01\xa1b\xc1")); f == nil {
		t.Fatal("got no fault")
	}
	s.begin(DefaultLimits)
	if got := len(s.keys); got != 0 {
		t.Errorf("got %d names of the frame before, want none", got)
	}
}
