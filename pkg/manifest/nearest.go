package manifest

import (
	"fmt"
	"strings"
)

// nearest is `: did you mean "x"?` for the known word that is meant, or "".
func nearest(word string, known []string) string {
	if name := nearestName(word, known); name != "" {
		return fmt.Sprintf(": did you mean %q?", name)
	}
	return ""
}

// nearestName is the known word at the smallest edit distance, if that is
// small for its length; upper and lower case are the same.
func nearestName(word string, known []string) string {
	best, least := "", 0
	if len(word) > 100 {
		return ""
	}
	for _, k := range known {
		d := distance(strings.ToLower(word), strings.ToLower(k))
		if d <= max(1, len(k)/3) && (best == "" || d < least) {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's: insertions, deletions and replacements.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
