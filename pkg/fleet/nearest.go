package fleet

import "strings"

// Nearest is the known word that was probably meant by another: the one at the
// smallest edit distance, if that is small for its length, or "". Upper and lower
// case are the same.
func Nearest(word string, known []string) string {
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

// distance counts insertions, deletions, replacements, and neighbours that changed
// places (Levenshtein's, with Damerau's transpositions of letters that stay adjacent).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, row[j]+1, last[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
