package message

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestSource(t *testing.T) {
	for _, s := range []Source{{}, {Partition: 11, Offset: 1 << 60}} {
		if got, ok := ParseSource([]byte(s.String())); !ok || got != s {
			t.Errorf("%v: got %v, %v", s, got, ok)
		}
	}
	for _, bad := range []string{"", "1", "1:", ":1", "a:1", "1:b", "99999999999:1"} {
		if got, ok := ParseSource([]byte(bad)); ok {
			t.Errorf("%q: got %v, want none", bad, got)
		}
	}
}

func TestSupersedes(t *testing.T) {
	at := time.UnixMilli(1000)
	base := Message{ObservedAt: at, ReceivedAt: at.Add(time.Second), Src: Source{Partition: 1, Offset: 5}, Index: 2}
	tests := []struct {
		name string
		edit func(*Message)
		want bool
	}{
		{"the same again", func(*Message) {}, true},
		{"later event", func(m *Message) { m.ObservedAt = at.Add(1); m.Src.Offset = 1 }, true},
		{"earlier event, later in ingest", func(m *Message) { m.ObservedAt = at.Add(-1); m.Src.Offset = 9 }, false},
		{"same time, later in ingest", func(m *Message) { m.Src.Offset = 6 }, true},
		{"same time, earlier in ingest", func(m *Message) { m.Src.Offset = 4 }, false},
		{"same frame, later index", func(m *Message) { m.Index = 3 }, true},
		{"same frame, earlier index", func(m *Message) { m.Index = 1 }, false},
		{"no time of its own: reception counts", func(m *Message) { m.ObservedAt = time.Time{} }, true},
	}
	for _, tt := range tests {
		m := base
		tt.edit(&m)
		if got := m.Supersedes(&base); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		// Of two different ones exactly one wins, whichever is asked.
		if m.EventTime() != base.EventTime() || m.Src != base.Src || m.Index != base.Index {
			if base.Supersedes(&m) == tt.want {
				t.Errorf("%s: both or neither supersede the other", tt.name)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a1": true, "node.example.org:30303": true, "A_b-c@d": true, strings.Repeat("a", 128): true,
		"": false, "_gateway": false, "a/b": false, "a b": false, "ä": false, "a\n": false, "a#1": false, strings.Repeat("a", 129): false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]bool{
		"ethereum_metrics": true, "a": true, strings.Repeat("a", 64): true,
		"": false, "ingest": false, "dead_letters": false, "schemas": false, "agents": false, "control": false,
		"Weather": false, "1a": false, "_a": false, "a-b": false, "../x": false, strings.Repeat("a", 65): false,
	} {
		if got := ValidType(name); got != want {
			t.Errorf("ValidType(%q) = %v, want %v", name, got, want)
		}
	}
	if got := TypeOf(Topic("weather")); got != "weather" {
		t.Errorf("got %q", got)
	}
}

func TestMessageID(t *testing.T) {
	if got, want := MessageID("a1/s/7", 12), "a1/s/7#12"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCodes(t *testing.T) {
	seen := map[Code]bool{}
	for _, c := range Codes {
		if seen[c] || c == "" {
			t.Errorf("code %q stands twice or is empty", c)
		}
		seen[c] = true
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("plain", 10)
	f.Add("a\nb\x1b[31m\u2028\xff", 3)
	f.Add("größe", 4)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, min(limit, 1000))
		got := Printable(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Fatalf("%q, at most %d: got %q", s, limit, got)
		}
		for _, r := range got {
			if r < ' ' || r == 0x7f || r == 0x2028 {
				t.Fatalf("%q: got %q", s, got)
			}
		}
	})
}
