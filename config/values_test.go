package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestSecretIsNeverShown(t *testing.T) {
	const text = "hunter2"
	s := Secret(text)
	holder := struct {
		S Secret
		P *Secret
		M map[string]Secret
		L []Secret
	}{s, &s, map[string]Secret{"k": s}, []Secret{s}}
	var shown []string
	for _, v := range []any{s, &s, holder, &holder} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T %v"} {
			if strings.Contains(verb, "T") {
				shown = append(shown, fmt.Sprintf(verb, v, v))
				continue
			}
			shown = append(shown, fmt.Sprintf(verb, v))
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		y, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "v", v)
		shown = append(shown, string(j), string(y), logged.String(), fmt.Sprint(v), fmt.Errorf("%w: %v", fmt.Errorf("x"), v).Error())
	}
	for _, got := range shown {
		if strings.Contains(got, text) || strings.Contains(strings.ToLower(got), fmt.Sprintf("%x", text)) {
			t.Errorf("got %s", got)
		}
	}
	for name, got := range map[string]string{"String": s.String(), "GoString": s.GoString(), "LogValue": s.LogValue().String()} {
		if got != mask {
			t.Errorf("%s: got %q, want %q", name, got, mask)
		}
	}
	if got := s.Reveal(); got != text {
		t.Errorf("Reveal: got %q", got)
	}
	if !s.Equal(text) || s.Equal("hunter3") || s.Equal("") || s.Equal(mask) {
		t.Error("Equal is wrong")
	}
	if got := Secret("").String(); got != "" {
		t.Errorf("not set: got %q, want nothing", got)
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want Size
		back string
	}{
		{"0", 0, "0"}, {"1024", 1 << 10, "1KiB"}, {"1000", 1000, "1kB"}, {"64MiB", 64 << 20, "64MiB"},
		{"512 MB", 512e6, "512MB"}, {"1.5GiB", 3 << 29, "1536MiB"}, {"10b", 10, "10"}, {"2tib", 2 << 40, "2TiB"},
		{" 7 kB ", 7000, "7kB"}, {"-1", -1, "-1"}, {"1048577", 1<<20 + 1, "1048577"},
	}
	for _, tt := range tests {
		got, err := ParseSize(tt.text)
		if err != nil || got != tt.want || got.String() != tt.back {
			t.Errorf("%q: got %d (%s), %v, want %d (%s)", tt.text, got, got, err, tt.want, tt.back)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%s read back: got %d, %v", got, again, err)
		}
	}
	for _, text := range []string{
		"", "MiB", "1.5", "0.1B", "1 2", "64M", "64Mi", "9223372036854775808", "8388608TiB", "1e9", "0x10", "1/2", "--1", "- 1", "1..2", "NaN",
		strings.Repeat("9", 1000),
	} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%.30q: got %d, want an error", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		text string
		want time.Duration
		back string
	}{
		{"0", 0, "0s"}, {"5s", 5 * time.Second, "5s"}, {"1m", time.Minute, "1m"}, {"60m", time.Hour, "1h"},
		{"1h10m", 70 * time.Minute, "1h10m"}, {"10m", 10 * time.Minute, "10m"}, {"30d", 30 * day, "30d"},
		{"1d12h", 36 * time.Hour, "36h"}, {"1.5s", 1500 * time.Millisecond, "1.5s"}, {"-1", -1, "-1"}, {"1h0m1s", time.Hour + time.Second, "1h0m1s"},
	}
	for _, tt := range tests {
		got, err := ParseDuration(tt.text)
		if err != nil || got != tt.want || FormatDuration(got) != tt.back {
			t.Errorf("%q: got %v (%s), %v, want %v (%s)", tt.text, got, FormatDuration(got), err, tt.want, tt.back)
		}
		if again, err := ParseDuration(FormatDuration(got)); err != nil || again != got {
			t.Errorf("%v read back: got %v, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "5", "-5s", "d", "-1d", "1.5d", "1d-2h", "1dx", "100001d", "99999999999h", "1d5", "soon"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	if got, err := ParseDuration(FormatDuration(math.MaxInt64)); err != nil || got != math.MaxInt64 {
		t.Errorf("the longest: got %v, %v", got, err)
	}
}

func TestGuess(t *testing.T) {
	known := []string{"listen", "brokers", "tls", "window", "a"}
	tests := []struct{ word, want string }{
		{"lissten", "listen"}, {"lsiten", "listen"}, {"broker", "brokers"}, {"tsl", "tls"}, {"windwo", "window"},
		{"listen", ""}, {"colour", ""}, {"b", ""}, {"", ""}, {"xls", "tls"}, {"xyz", ""},
	}
	for _, tt := range tests {
		if got := Guess(tt.word, known); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.word, got, tt.want)
		}
	}
}
