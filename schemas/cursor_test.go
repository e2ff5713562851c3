package schemas

import (
	"bytes"
	"math"
	"strconv"
	"testing"
)

// TestPlain holds the search by eight bytes to one by single bytes: every byte
// at every place.
func TestPlain(t *testing.T) {
	for place := range 40 {
		for ch := range 256 {
			b := bytes.Repeat([]byte("~ "), 20)
			b[place] = byte(ch)
			want := len(b)
			if ch < ' ' || ch == '"' || ch == '\\' || ch > '~'+1 {
				want = place
			}
			for from := range place + 1 {
				if got := plain(b, from); got != want {
					t.Fatalf("byte %#x at %d, from %d: got %d, want %d", ch, place, from, got, want)
				}
			}
		}
	}
}

func TestParseInt(t *testing.T) {
	for _, s := range []string{
		"0", "-0", "1", "-1", "007", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
		"18446744073709551615", "18446744073709551616", "92233720368547758070", "99999999999999999999999999", "", "-", "1a", "a", "--1",
	} {
		want, err := strconv.ParseInt(s, 10, 64)
		got, ok := parseInt([]byte(s))
		if ok != (err == nil) || ok && got != want {
			t.Errorf("%q: got %d, %v, want %d, %v", s, got, ok, want, err)
		}
	}
	if got, ok := parseInt(strconv.AppendInt(nil, math.MinInt64, 10)); !ok || got != math.MinInt64 {
		t.Errorf("the least: got %d, %v", got, ok)
	}
}
