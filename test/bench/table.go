package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// sample is one measurement. What is zero was not measured.
type sample struct {
	rate float64 // frames a second
	cpu  float64 // processor seconds per million frames
	peak float64 // MiB resident
	bare float64 // cpu as a multiple of what the bare libraries took
	acks float64 // per frame
}

// row is the samples of one part of one case.
type row struct {
	name, part, shape string
	samples           []sample
}

// table gathers samples; its rows stand in the order in which they first came.
type table struct{ rows []*row }

func (t *table) add(name, part, shape string, s sample) {
	i := slices.IndexFunc(t.rows, func(r *row) bool { return r.name == name && r.part == part && r.shape == shape })
	if i < 0 {
		i = len(t.rows)
		t.rows = append(t.rows, &row{name: name, part: part, shape: shape})
	}
	t.rows[i].samples = append(t.rows[i].samples, s)
}

var columns = []struct {
	title string
	value func(sample) float64
	form  func(float64) string
}{
	{"frames/s", func(s sample) float64 { return s.rate }, thousands},
	{"CPU-s per million", func(s sample) float64 { return s.cpu }, decimals},
	{"peak MiB", func(s sample) float64 { return s.peak }, thousands},
	{"CPU × bare", func(s sample) float64 { return s.bare }, decimals},
	{"acks/frame", func(s sample) float64 { return s.acks }, func(v float64) string { return fmt.Sprintf("%.3f", v) }},
}

// write writes the table: of each value the median, and the least and the most
// where there are several.
func (t *table) write(w io.Writer) error {
	lines := [][]string{{"case", "load", "part"}}
	for _, c := range columns {
		lines[0] = append(lines[0], c.title)
	}
	last := ""
	for _, r := range t.rows {
		line := []string{r.name, r.shape, r.part}
		if r.name+r.shape == last {
			line[0], line[1] = "", ""
		}
		last = r.name + r.shape
		for _, c := range columns {
			var values []float64
			for _, s := range r.samples {
				if v := c.value(s); v != 0 {
					values = append(values, v)
				}
			}
			line = append(line, summary(values, c.form))
		}
		lines = append(lines, line)
	}
	width := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			b.WriteString("| " + cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+1))
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, n := range width {
				b.WriteString("|" + strings.Repeat("-", n+2))
			}
			b.WriteString("|\n")
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	return nil
}

func summary(values []float64, form func(float64) string) string {
	switch len(values) {
	case 0:
		return ""
	case 1:
		return form(values[0])
	}
	return fmt.Sprintf("%s (%s..%s)", form(median(values)), form(slices.Min(values)), form(slices.Max(values)))
}

// median returns the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func decimals(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// thousands writes a whole number with a comma before each three digits.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
