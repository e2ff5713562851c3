package config

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestBombs loads small files that stand for much, and counts what it costs.
func TestBombs(t *testing.T) {
	levels := func(first, next string) string {
		var b strings.Builder
		b.WriteString(first)
		for i := range 12 {
			one := fmt.Sprintf("*a%d", i)
			fmt.Fprintf(&b, next, i+1, strings.Join([]string{one, one, one, one, one, one, one, one, one, one}, ", "))
		}
		return b.String()
	}
	keys := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	const tooMany, tooDeep = "more than 20000 values", "nested deeper than 32"
	tests := []struct{ name, file, want string }{
		{"lists", levels("a0: &a0 [x, x]\n", "a%d: &a%[1]d [%[2]s]\n"), tooMany},
		{"merges", levels("a0: &a0 {x: 1}\n", "a%d: &a%[1]d {<<: [%[2]s]}\n"), tooMany},
		{"deep list", "a: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000), tooDeep},
		{"deep mapping", "a: " + strings.Repeat("{a: ", 9000) + strings.Repeat("}", 9000), tooDeep},
		{"deeper than yaml reads", "a: " + strings.Repeat("[", 500_000), "not YAML"},
		{"wide", keys(100_000, "k%d: \n"), tooMany},
		{"many sinks", "sinks:\n" + keys(2000, "  s%d: {plugin: dynamodb, table: t}\n") + "x: 1\n", "unknown key"},
		{"key given twice in an anchor", "a: &a {" + strings.Repeat("k: 1, ", 10) + "}\nb: [" + strings.Repeat("*a, ", 100) + "]\n", "given twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := Sources{File: write(t, tt.file)}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := load(src)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.300v, want %q", err, tt.want)
			}
			if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(256<<20); got > limit {
				t.Errorf("got %d MiB allocated for %d bytes, want at most %d", got>>20, len(tt.file), limit>>20)
			} else {
				t.Logf("%d KiB allocated for %d bytes", got>>10, len(tt.file))
			}
		})
	}
}
