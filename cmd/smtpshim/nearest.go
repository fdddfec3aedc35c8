package main

import (
	"fmt"
	"slices"
	"strings"
)

// didYouMean is what to add to an error about a word that is not in known:
// the one it was probably meant to be, or nothing.
func didYouMean(word string, known []string) string {
	best, least := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of octets to put in, take out, replace or swap with
// their neighbours that make b of a.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// oneOf returns word if it is one of words.
func oneOf(word string, words ...string) (string, error) {
	if !slices.Contains(words, word) {
		return "", fmt.Errorf(`%q is not one of "%s"`, word, strings.Join(words, `", "`))
	}
	return word, nil
}
