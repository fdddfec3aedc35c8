package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// symptomGroups are headings for symptoms, by the beginning of the first word, a reply
// code. The longest beginning applies.
var symptomGroups = []struct {
	heading string
	codes   []string
}{
	{"A greeting or a positive reply that the other side does not take for one: 2xx", []string{"2", "3"}},
	{"The session ends: 421", []string{"421"}},
	{"Later, perhaps: 4xx", []string{"4"}},
	{"A command is not known or not understood, or comes too early: 500 to 505, 555", []string{"50", "555"}},
	{"A login or TLS is asked for or refused: 530 to 538", []string{"53"}},
	{"An address or a message is refused: other 5xx", []string{"5"}},
	{"Without a code: what programs, devices and logs show", []string{""}},
}

// symptomGroup returns the index of the heading for a symptom.
func symptomGroup(symptom string) int {
	best, length := len(symptomGroups)-1, 0
	for i, g := range symptomGroups {
		for _, code := range g.codes {
			if len(code) > length && hasReplyCode(symptom) && strings.HasPrefix(symptom, code) {
				best, length = i, len(code)
			}
		}
	}
	return best
}

// hasReplyCode reports whether a text begins with a reply code.
func hasReplyCode(text string) bool {
	return len(text) >= 3 && text[0] >= '2' && text[0] <= '5' && isDigit(text[1]) && isDigit(text[2]) && (len(text) == 3 || !isDigit(text[3]))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// listSymptoms prints what administrators see, with the rules for it.
func listSymptoms(w io.Writer) {
	fmt.Fprint(w, "What is seen in bounces, logs and displays, and the rules that heal it.\n")
	groups := make([]map[string][]string, len(symptomGroups))
	for _, r := range heal.Table() {
		for _, s := range r.Symptoms {
			i := symptomGroup(s)
			if groups[i] == nil {
				groups[i] = map[string][]string{}
			}
			groups[i][s] = append(groups[i][s], r.Name)
		}
	}
	for i, symptoms := range groups {
		if symptoms == nil {
			continue
		}
		fmt.Fprintf(w, "\n%s\n\n", symptomGroups[i].heading)
		for _, s := range slices.Sorted(maps.Keys(symptoms)) {
			entry(w, 4, "", 4, s)
			entry(w, 4, "", 24, strings.Join(symptoms[s], ", "))
		}
	}
}

// A found is a rule, or an entry without a rule, found for a text.
type found struct {
	rule     rewrite.Rule
	symptoms []string // symptoms that match the text
}

// findRules returns the rules for a text that an administrator sees. Those with a symptom
// in the text come first. If there are none, it returns those whose description has all
// words of the text.
func findRules(text string) []found {
	var symptom, words []found
	catalogue := covered()
	for _, r := range heal.Table() {
		f := found{rule: r}
		for _, s := range r.Symptoms {
			if sameSymptom(s, text) {
				f.symptoms = append(f.symptoms, s)
			}
		}
		switch {
		case f.symptoms != nil:
			symptom = append(symptom, f)
		case hasWords(wordsOf(r, catalogue), tokens(text)):
			words = append(words, f)
		}
	}
	if symptom != nil {
		return symptom
	}
	return words
}

// wordsOf returns everything that is known about a rule, as words.
func wordsOf(r rewrite.Rule, catalogue heal.Coverage) []string {
	texts := append([]string{r.Name, r.Heals, r.Doc, r.Source}, r.Symptoms...)
	for _, number := range r.Entries {
		if e, ok := catalogue.Entry(number); ok {
			texts = append(texts, e.Number, e.Wrong, e.Source)
		}
	}
	return tokens(strings.Join(texts, " "))
}

// sameSymptom reports whether one of two texts contains the other. It ignores case, marks
// and enhanced status codes, which differ between servers.
func sameSymptom(symptom, text string) bool {
	s, t := strings.ToLower(symptom), strings.Join(strings.Fields(strings.ToLower(text)), " ")
	if strings.Contains(t, s) || len(t) >= 3 && strings.Contains(s, t) {
		return true
	}
	short, long := tokens(symptom), tokens(text)
	if len(short) > len(long) {
		short, long = long, short
	}
	for at := 0; len(short) > 1 && at+len(short) <= len(long); at++ {
		if slices.Equal(short, long[at:at+len(short)]) {
			return true
		}
	}
	return false
}

// tokens returns the words of a text in lower case, without the digits of enhanced status
// codes.
func tokens(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.DeleteFunc(words, func(w string) bool { return len(w) == 1 && isDigit(w[0]) })
}

// hasWords reports whether each of words begins some word in all. It returns false for no
// words.
func hasWords(all, words []string) bool {
	for _, w := range words {
		if !slices.ContainsFunc(all, func(a string) bool { return strings.HasPrefix(a, w) }) {
			return false
		}
	}
	return len(words) > 0
}

func printFound(w io.Writer, list []found) {
	for i, f := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, f.rule.Name)
		entry(w, 2, "", 2, "heals "+f.rule.Heals)
		head := "Seen:"
		for _, s := range f.symptoms {
			entry(w, 2, head, 12, s)
			head = ""
		}
		if sets := setsOf(f.rule.Name); sets != nil {
			entry(w, 2, "In sets:", 12, strings.Join(sets, ", "))
		}
	}
	fmt.Fprint(w, "\n\"smtpshim rules NAME\" describes one.\n")
}
