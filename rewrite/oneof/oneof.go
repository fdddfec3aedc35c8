// Package oneof makes error messages about a word that is not one of the known words.
// The messages list the known words, and suggest the one that was probably meant.
package oneof

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Index returns the index of word in words. If word is not in words, the error names
// word, lists words and, if one of them is similar to word, suggests that.
func Index[W ~string](word string, words []W) (int, error) {
	if i := slices.Index(words, W(word)); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%q is not one of %s%s", word, Or(words), DidYouMean(word, words))
}

// Or returns words as text, each in quotes, as in "a", "b" or "c".
func Or[W ~string](words []W) string { return list(words, " or ") }

// And returns words as text, each in quotes, as in "a", "b" and "c".
func And[W ~string](words []W) string { return list(words, " and ") }

func list[W ~string](words []W, last string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = strconv.Quote(string(word))
	}
	return join(quoted, last)
}

// Names returns words as text without quotes, as in a, b and c.
func Names(words []string) string { return join(words, " and ") }

func join(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + last + words[len(words)-1]
}

// DidYouMean returns a question to append to an error about word, which is not in
// known, such as `; did you mean "auto"?`. It suggests the word that Nearest returns.
// If there is none, it suggests up to six words that have word as a part, as cisco-pix
// has pix. If there are none of these either, or more than six, the result is "".
func DidYouMean[W ~string](word string, known []W) string {
	if best := Nearest(word, known); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	var longer []string
	for _, k := range known {
		if word != "" && strings.Contains(between(string(k)), between(word)) {
			longer = append(longer, string(k))
		}
	}
	if len(longer) == 0 || len(longer) > 6 {
		return ""
	}
	return "; did you mean " + Or(longer) + "?"
}

// Nearest returns the word of known that differs from word by the fewest typing errors.
// It ignores case. It allows one error, and in longer words as many as a third of the
// length of word. The result is "" if every word has more errors.
func Nearest[W ~string](word string, known []W) string {
	best, least := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(string(k))); d < least {
			best, least = string(k), d
		}
	}
	return best
}

// between returns word with a hyphen before each of its parts and after the last.
func between(word string) string {
	return "-" + strings.ReplaceAll(strings.ToLower(word), "_", "-") + "-"
}

// distance returns the least number of octets to insert, delete, replace or swap with a
// neighbour to make b from a.
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
