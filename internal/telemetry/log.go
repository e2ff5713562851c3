package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// Log says how a process logs.
type Log struct {
	Format string `koanf:"format" doc:"auto, json or text; auto is text on a terminal and json elsewhere"`
	Level  string `koanf:"level" doc:"debug, info, warn or error"`
	Color  string `koanf:"color" doc:"auto, always or never; auto honours NO_COLOR and TERM=dumb"`
}

// DefaultLog returns the settings of a process nobody configured.
func DefaultLog() Log { return Log{Format: "auto", Level: "info", Color: "auto"} }

// Validate reports every setting that cannot be.
func (l *Log) Validate() error {
	var errs []error
	oneOf := func(key, got string, want ...string) {
		if slices.Contains(want, got) {
			return
		}
		errs = append(errs, fmt.Errorf("%s: %q is none of %v", key, got, want))
	}
	oneOf("format", l.Format, "auto", "json", "text")
	oneOf("level", l.Level, "debug", "info", "warn", "error")
	oneOf("color", l.Color, "auto", "always", "never")
	return errors.Join(errs...)
}

// New returns a logger that writes to w as l says. The environment is asked for
// NO_COLOR and TERM by getenv.
func (l Log) New(w io.Writer, getenv func(string) string) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
	terminal := isTerminal(w)
	if l.Format == "json" || (l.Format != "text" && !terminal) {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	color := terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	switch l.Color {
	case "always":
		color = true
	case "never":
		color = false
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !color}))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
