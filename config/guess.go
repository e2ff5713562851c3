package config

// Guess returns the word of known that word was probably meant to be, or ""
// when none is near. Callers use it for what only they know, such as the names
// of sinks in routes.
func Guess(word string, known []string) string {
	best, limit := "", min(3, len(word)/3)
	for _, k := range known {
		if abs(len(k)-len(word)) > limit {
			continue
		}
		d := distance(word, k)
		if d > 0 && (d < limit || d == limit && best == "") {
			best, limit = k, d
		}
	}
	return best
}

// suggest returns Guess as the end of a message, with its leading space.
func suggest(word string, known []string) string {
	if g := Guess(word, known); g != "" {
		return " (did you mean " + g + "?)"
	}
	return ""
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours that make a into b, in bytes (Damerau-Levenshtein, no substring
// edited twice).
func distance(a, b string) int {
	var before []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, prev[j]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
