package main

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"

	"smtpshim/rewrite/heal"
)

// An explainer knows the symptoms of all rules, and the ordinary refusals.
type explainer struct {
	symptoms []symptom
	whole    map[string][]int   // indexes of symptoms to look for if a line has this word
	with     map[string][]int   // indexes of symptoms that contain this word
	rarity   map[string]float64 // of a word, from 0: how much it says
	ordinary []ordinary
	own      []ownText
}

// A symptom is what an administrator sees of a fault that a rule heals.
type symptom struct {
	rule     string
	told     cause // the cause that a line with the symptom shows
	words    []string
	enhanced string // its enhanced status code; "": none
	exact    bool   // the enhanced status code must match, since there is nothing else but the code
}

// newSymptom returns a symptom with this text.
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

// symptomCauses returns the rules with a symptom that the line contains. For several
// symptoms of one rule it uses the longest. It omits rules whose symptom is much shorter
// than the longest one found, and rules whose symptoms answer other commands than the
// line.
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
		c.weight, c.generic = weight, isGeneric(s.words, said)
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
	slices.SortStableFunc(causes, byOptions)
	causes = slices.DeleteFunc(causes, func(c cause) bool { return c.weight < longest/2 })
	return withGeneric(line, ofCommands(line, causes))
}

// byOptions compares two causes: rules that need no options come first.
func byOptions(a, b cause) int {
	switch {
	case a.options && !b.options:
		return 1
	case b.options && !a.options:
		return -1
	}
	return strings.Compare(a.Rule, b.Rule)
}

// ofCommands removes the rules whose symptoms answer other commands than the line.
func ofCommands(line string, causes []cause) []cause {
	if !slices.ContainsFunc(causes, func(c cause) bool { return answersTo[c.Rule] != nil }) {
		return causes
	}
	commands := commandsNamed(line)
	return slices.DeleteFunc(causes, func(c cause) bool { return !mayAnswer(c.Rule, commands) })
}

// A line with minPiece to maxPiece words may be a piece of a symptom, if it has at least
// half of the symptom's words.
const minPiece, maxPiece = 2, 16

// isIn reports whether a line contains the words of the symptom contiguously. For a
// symptom of one word, the line must have little else.
func (s symptom) isIn(line []string) bool {
	return (len(s.words) > 1 || len(line) <= 3) && isIn(s.words, line)
}

// isIn reports whether line contains words contiguously. Names and addresses of examples
// match any others.
func isIn(words, line []string) bool {
	for at := range len(line) - len(words) + 1 {
		if slices.EqualFunc(words, line[at:at+len(words)], func(s, l string) bool { return s == l || isExample(s) }) {
			return true
		}
	}
	return false
}

// contains reports whether list contains words contiguously.
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

// guesses returns the rules of which the line has most of a symptom, weighted by how much
// its words say: at least three words, in order, and not far apart.
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
	causes = ofCommands(line, causes)
	slices.SortStableFunc(causes, func(a, b cause) int { return cmp.Compare(b.weight, a.weight) })
	return causes[:min(len(causes), maxGuesses)]
}

// inOrder returns how much the words of a symptom that the line has, in order, say. It
// uses the part of the line with the greatest result. There must be three words besides a
// code, with at most maxBetween others between two of them.
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

// maxBetween is the largest number of other words between two of a symptom.
const maxBetween = 3

// sameKind reports whether line and symptom have the same code. It is true if one of them
// has no code of a refusal.
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

// wordsIn returns the words of a text without enhanced status codes (RFC 3463), which
// differ between servers.
func wordsIn(text string) []string { return withoutStatus(allWordsIn(text)) }

func withoutStatus(words []string) []string {
	return slices.DeleteFunc(words, func(w string) bool { return w[0] >= '2' && w[0] <= '5' && enhanced.MatchString(w) })
}

// allWordsIn returns the words of a text in lower case, without surrounding marks. The
// code of a reply line is one word, and the text after its hyphen another. Text that a
// PIX has masked is a word of its own.
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

// isMark reports whether a character separates words.
func isMark(r rune) bool {
	switch r {
	case ' ', '\t', '\r', '\n', '"', '\'', '`', '(', ')', '[', ']', '<', '>', '{', '}', ',', ';', '=', '|', '*', '#', '_':
		return true
	}
	return false
}

var (
	// codeAndHyphen matches the beginning of all lines of a reply but the last.
	codeAndHyphen = regexp.MustCompile(`\b([2-5][0-9]{2})-`)
	// painted matches a greeting masked by a PIX, which leaves 2, 0 and blanks
	// (KB320027).
	painted  = regexp.MustCompile(`\*{8}[*20 ]*`)
	enhanced = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)
)
