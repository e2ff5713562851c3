package config

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads what time.ParseDuration reads, and days before it: "30d",
// "1d12h". A day is 24 hours. "-1" is -1 ns, which settings that allow it read
// as no limit; no other negative duration is read.
func ParseDuration(s string) (time.Duration, error) {
	if s == "-1" {
		return -1, nil
	}
	var total time.Duration
	if days, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 64)
		if err != nil || n > 100_000 {
			return 0, errors.New("not a duration")
		}
		if total, s = time.Duration(n)*24*time.Hour, rest; s == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || strings.HasPrefix(s, "-") || total+d < total {
		return 0, errors.New("not a duration")
	}
	return total + d, nil
}

// FormatDuration returns d as ParseDuration reads it, without the zero parts
// that Duration.String adds.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == -1:
		return "-1"
	case d >= day && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
