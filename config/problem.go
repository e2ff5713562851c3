package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one thing wrong with the configuration.
type Problem struct {
	// From is where the value stands: "sluice.yaml:12", the name of a variable,
	// "flag", or empty where nothing was given.
	From string
	// Path is the setting, such as gateway.listen; empty for the file as a whole.
	Path string
	// Text is what is wrong and what was wanted.
	Text string

	rank, line int
}

// String returns the problem as one line.
func (p Problem) String() string {
	var b strings.Builder
	for _, s := range []string{p.From, p.Path} {
		if s != "" {
			b.WriteString(s)
			b.WriteString(": ")
		}
	}
	b.WriteString(p.Text)
	return b.String()
}

// Error is every problem found, at least one. The process maps it to exit
// code 78.
type Error struct{ Problems []Problem }

// Error returns one line for each problem: those of the file in its order, then
// those of the environment, the flags and what is missing.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// asError returns the problems as an *Error, sorted and without repetitions, or
// nil for none.
func asError(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	problems = slices.Clone(problems)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.line, b.line), cmp.Compare(a.From, b.From))
	})
	seen := map[string]bool{}
	return &Error{Problems: slices.DeleteFunc(problems, func(p Problem) bool {
		s := p.String()
		again := seen[s]
		seen[s] = true
		return again
	})}
}

// source is a layer, the lowest first.
type source int

const (
	fromStruct source = iota // the default a struct came with
	fromDefault
	fromFile
	fromEnv
	fromFlag
)

// origin is where a value came from. Its fields are exported, as are those of
// value, because koanf copies what it merges by reflection.
type origin struct {
	Source source
	Name   string // the file or the variable
	Line   int    // in the file, from 1
}

// String returns the origin as messages and Print show it.
func (o origin) String() string {
	switch o.Source {
	case fromFile:
		if o.Line == 0 {
			return printable(o.Name)
		}
		return printable(o.Name) + ":" + strconv.Itoa(o.Line)
	case fromEnv:
		return printable(o.Name)
	case fromFlag:
		return "flag"
	default:
		return "default"
	}
}

// problem makes the problem of path at o.
func (o origin) problem(path []string, text string) Problem {
	p := Problem{Path: display(path), Text: text, rank: int(o.Source), line: o.Line}
	switch o.Source {
	case fromFile, fromEnv, fromFlag:
		p.From = o.String()
	default:
		p.rank = int(fromFlag) + 1
	}
	return p
}

// display joins a path with dots and quotes the parts in which a dot would
// mislead.
func display(path []string) string {
	parts := make([]string, len(path))
	for i, s := range path {
		if s = printable(s); strings.ContainsAny(s, ".: ") {
			s = strconv.Quote(s)
		}
		parts[i] = s
	}
	return strings.Join(parts, ".")
}

// printable returns s fit for one line of a terminal.
func printable(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}
