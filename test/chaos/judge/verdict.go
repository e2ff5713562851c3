package judge

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fault is a way in which a pipeline breaks its word.
type Fault string

// The faults.
const (
	Lost       Fault = "lost"       // what must be there is not
	Doubled    Fault = "doubled"    // what must be there once is there again
	Invented   Fault = "invented"   // nobody sent what is there
	Changed    Fault = "changed"    // it says something else than what was sent
	Disordered Fault = "disordered" // it stands before what it must follow
)

// Verdict is what was found.
type Verdict struct {
	found    map[Fault]int
	examples map[Fault][]string
}

// shown is how many of each fault a verdict tells in full.
const shown = 5

func newVerdict() *Verdict {
	return &Verdict{found: map[Fault]int{}, examples: map[Fault][]string{}}
}

func (v *Verdict) add(f Fault, format string, args ...any) {
	v.found[f]++
	if len(v.examples[f]) < shown {
		v.examples[f] = append(v.examples[f], fmt.Sprintf(format, args...))
	}
}

// Count returns how often a fault was found.
func (v *Verdict) Count(f Fault) int { return v.found[f] }

// Good reports whether there is no fault.
func (v *Verdict) Good() bool { return len(v.found) == 0 }

// String returns each fault with its number and some examples.
func (v *Verdict) String() string {
	if v.Good() {
		return "nothing lost, doubled, invented, changed or disordered"
	}
	var b strings.Builder
	for _, f := range slices.Sorted(maps.Keys(v.found)) {
		fmt.Fprintf(&b, "%s: %d\n", f, v.found[f])
		for _, e := range v.examples[f] {
			fmt.Fprintf(&b, "\t%s\n", e)
		}
	}
	return b.String()
}
