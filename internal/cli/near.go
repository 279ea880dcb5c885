package cli

import (
	"cmp"
	"slices"
	"strings"
)

// near returns the candidates that a misspelled word may mean, the closest first: at most three.
func near(word string, candidates []string) []string {
	type match struct {
		name string
		far  int
	}
	var found []match
	for _, c := range candidates {
		far := distance(word, c)
		if strings.HasPrefix(c, word) {
			far = 1
		}
		if far > 0 && far <= max(1, min(3, len(word)/3)) {
			found = append(found, match{c, far})
		}
	}
	slices.SortFunc(found, func(x, y match) int { return cmp.Or(cmp.Compare(x.far, y.far), cmp.Compare(x.name, y.name)) })
	var out []string
	for _, m := range found[:min(3, len(found))] {
		out = append(out, m.name)
	}
	return out
}

// distance is the optimal string alignment distance of two words: insertions, deletions,
// substitutions and swaps of neighbours.
func distance(x, y string) int {
	a, b := []rune(x), []rune(y)
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// didYouMean is the end of a message about a misspelled word; "" when none is close.
func didYouMean(word string, candidates []string) (en, zh string) {
	close := near(word, candidates)
	if len(close) == 0 {
		return "", ""
	}
	return "; did you mean " + strings.Join(close, ", ") + "?", "；是否要用 " + strings.Join(close, "、") + "？"
}
