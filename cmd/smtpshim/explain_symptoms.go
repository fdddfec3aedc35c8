package main

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"

	"smtpshim/rewrite/heal"
)

// An explainer knows the symptoms of every rule, and the everyday refusals.
type explainer struct {
	symptoms []symptom
	whole    map[string][]int   // the symptoms that are looked for where this word is
	with     map[string][]int   // the symptoms that have this word
	rarity   map[string]float64 // of a word, from 0: how much it says
	ordinary []ordinary
	own      []ownText
}

// A symptom is what is seen of an ill that a rule heals.
type symptom struct {
	rule     string
	told     cause // what a line tells that has it
	words    []string
	enhanced string // the enhanced code that it has; "": none
	exact    bool   // the enhanced code counts, since there is nothing else but the code
}

// newSymptom is a text that is seen of the ill that told tells.
func newSymptom(told cause, text string) symptom {
	all := allWordsIn(text)
	s := symptom{rule: told.Rule, told: told, words: wordsIn(text)}
	s.told.Symptom = text
	if at := slices.IndexFunc(all, enhanced.MatchString); at >= 0 {
		s.enhanced = all[at]
	}
	if len(s.words) == 1 && len(all) > 1 {
		s.words, s.exact = all, true
	}
	return s
}

func newExplainer() *explainer {
	e := &explainer{whole: map[string][]int{}, with: map[string][]int{}, rarity: map[string]float64{}, ordinary: ordinaryRefusals(), own: ownTexts()}
	for _, r := range heal.Table() {
		told := ruleCause(r)
		for _, text := range r.Symptoms {
			s := newSymptom(told, text)
			for _, w := range unique(s.words) {
				e.with[w] = append(e.with[w], len(e.symptoms))
			}
			e.symptoms = append(e.symptoms, s)
		}
	}
	for w, list := range e.with {
		e.rarity[w] = math.Log(float64(len(e.symptoms)) / float64(len(list)))
	}
	for i, s := range e.symptoms {
		key, rarest := "", -1.0
		for _, w := range s.words {
			if e.rarity[w] > rarest && !isExample(w) {
				key, rarest = w, e.rarity[w]
			}
		}
		e.whole[key] = append(e.whole[key], i)
	}
	return e
}

// symptomCauses are the rules one of whose symptoms the line has. Where it has
// several, the longest of them counts, and rules with a shorter one are left out.
func (e *explainer) symptomCauses(line string) []cause {
	all := allWordsIn(line)
	said := withoutStatus(slices.Clone(all))
	var causes []cause
	longest := 0.0
	found := func(i int, weight float64) {
		s := e.symptoms[i]
		c := s.told
		switch {
		case s.enhanced == "":
		case slices.Contains(all, s.enhanced):
			weight += 0.5
		default:
			c.otherStatus = len(said) < len(all)
		}
		c.weight = weight
		longest = max(longest, weight)
		at := slices.IndexFunc(causes, func(c cause) bool { return c.Rule == s.rule })
		switch {
		case at < 0:
			causes = append(causes, c)
		case causes[at].weight < weight:
			causes[at] = c
		}
	}
	for _, w := range unique(all) {
		for _, i := range e.whole[w] {
			if s := e.symptoms[i]; s.exact && isIn(s.words, all) || !s.exact && s.isIn(said) {
				found(i, float64(len(s.words)))
			}
		}
	}
	if len(said) >= minPiece && len(said) <= maxPiece {
		for _, i := range e.with[said[0]] {
			if s := e.symptoms[i]; len(s.words) > len(said) && len(s.words) <= 2*len(said) && contains(s.words, said) {
				found(i, float64(len(said)))
			}
		}
	}
	slices.SortStableFunc(causes, func(a, b cause) int {
		switch {
		case a.options != b.options && a.options: // who has to be told what to do comes after who knows it
			return 1
		case a.options != b.options:
			return -1
		}
		return strings.Compare(a.Rule, b.Rule)
	})
	return slices.DeleteFunc(causes, func(c cause) bool { return c.weight < longest/2 })
}

// minPiece and maxPiece are between how many words a line has that may be a piece of a
// symptom: of half of its words or more.
const minPiece, maxPiece = 2, 16

// isIn reports whether a line has the words of the symptom in one piece. One word is
// enough only where there is little else.
func (s symptom) isIn(line []string) bool {
	return (len(s.words) > 1 || len(line) <= 3) && isIn(s.words, line)
}

// isIn reports whether the words of a symptom are in a line, in one piece. The names
// and addresses of examples stand for any.
func isIn(words, line []string) bool {
	for at := range len(line) - len(words) + 1 {
		if slices.EqualFunc(words, line[at:at+len(words)], func(s, l string) bool { return s == l || isExample(s) }) {
			return true
		}
	}
	return false
}

// contains reports whether words are in a list, in one piece.
func contains(list, words []string) bool {
	for at := range len(list) - len(words) + 1 {
		if slices.Equal(words, list[at:at+len(words)]) {
			return true
		}
	}
	return false
}

func isExample(word string) bool {
	return strings.Contains(word, "example.") || strings.Contains(word, "192.0.2.") || strings.Contains(word, "2001:db8")
}

// guesses are the rules of which a line has most of a symptom, by how much its words
// say: three words or more, in their order, and not far from each other.
func (e *explainer) guesses(line string) []cause {
	said := wordsIn(line)
	count := map[int]int{}
	for _, w := range unique(said) {
		for _, i := range e.with[w] {
			count[i]++
		}
	}
	var causes []cause
	for i, s := range e.symptoms {
		if count[i] < 3 || !sameKind(s.words, said) {
			continue
		}
		whole := 0.0
		for _, w := range s.words {
			whole += e.rarity[w]
		}
		if has := e.inOrder(s.words, said); has > 0 && has >= 0.7*whole {
			c := s.told
			c.Guess, c.weight = true, has
			causes = append(causes, c)
		}
	}
	slices.SortStableFunc(causes, func(a, b cause) int { return cmp.Compare(b.weight, a.weight) })
	return causes[:min(len(causes), maxGuesses)]
}

// inOrder is how much the words say that a line has of a symptom, in their order: that
// part of the line counts which has most, and three words besides a code. Between two of them there are maxBetween others
// at most.
func (e *explainer) inOrder(symptom, line []string) (most float64) {
	for begin := range line {
		at, next, words, has := begin, 0, 0, 0.0
		for ; at < len(line) && next < len(symptom); at++ {
			found := slices.Index(symptom[next:], line[at])
			if found < 0 {
				if begin == at {
					break
				}
				continue
			}
			has, next = has+e.rarity[line[at]], next+found+1
			if !isCode(line[at]) {
				words++
			}
			if rest := line[at+1:]; !slices.ContainsFunc(rest[:min(len(rest), maxBetween+1)], func(w string) bool { return slices.Contains(symptom[next:], w) }) {
				break
			}
		}
		if words >= 3 {
			most = max(most, has)
		}
	}
	return most
}

// maxBetween is how many other words may stand between two of a symptom.
const maxBetween = 3

// sameKind reports whether a line with a code of a refusal has that of the symptom, if
// the symptom has one.
func sameKind(symptom, line []string) bool {
	coded := slices.ContainsFunc(line, isCode)
	return !coded || !isCode(symptom[0]) || slices.Contains(line, symptom[0])
}

func isCode(word string) bool {
	return len(word) == 3 && word[0] >= '4' && word[0] <= '5' && isDigit(word[1]) && isDigit(word[2])
}

func unique(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

// wordsIn are the words of a text without enhanced codes (RFC 3463), in which servers
// differ.
func wordsIn(text string) []string { return withoutStatus(allWordsIn(text)) }

func withoutStatus(words []string) []string {
	return slices.DeleteFunc(words, func(w string) bool { return w[0] >= '2' && w[0] <= '5' && enhanced.MatchString(w) })
}

// allWordsIn are the words of a text in small letters, without marks around them. The
// code of a reply's line is one, and the text behind its hyphen another. What a PIX has
// painted over is a word of its own.
func allWordsIn(text string) []string {
	if strings.Contains(text, "-") {
		text = codeAndHyphen.ReplaceAllString(text, "$1 ")
	}
	if strings.Contains(text, "********") {
		text = painted.ReplaceAllString(text, " painted-over ")
	}
	words := strings.FieldsFunc(strings.ToLower(text), isMark)
	for i, w := range words {
		words[i] = strings.Trim(w, ".:!?-/")
	}
	return slices.DeleteFunc(words, func(w string) bool { return w == "" })
}

// isMark reports whether a character stands between words.
func isMark(r rune) bool {
	switch r {
	case ' ', '\t', '\r', '\n', '"', '\'', '`', '(', ')', '[', ']', '<', '>', '{', '}', ',', ';', '=', '|', '*', '#', '_':
		return true
	}
	return false
}

var (
	// codeAndHyphen is how a reply's lines begin but for the last.
	codeAndHyphen = regexp.MustCompile(`\b([2-5][0-9]{2})-`)
	// painted is a greeting of which a PIX leaves 2, 0 and blanks alone (KB320027).
	painted  = regexp.MustCompile(`\*{8}[*20 ]*`)
	enhanced = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)
)
