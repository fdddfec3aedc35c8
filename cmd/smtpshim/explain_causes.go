package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"smtpshim/proxy/login/token"
	providers "smtpshim/proxy/provider"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

// A cause is what a line tells: an ill that a rule heals, a refusal of a provider's or
// of its token endpoint, or how a session of ours ended.
type cause struct {
	Rule    string   `json:"rule,omitempty"`
	Entries []string `json:"entries,omitempty"` // of the catalogue
	Means   string   `json:"means"`
	Do      string   `json:"do"`
	Symptom string   `json:"symptom,omitempty"` // that the line has
	Source  string   `json:"source,omitempty"`
	Guess   bool     `json:"guess,omitempty"` // by words alone
	weight  float64  // the heaviest is told first
}

// key tells causes apart.
func (c cause) key() string { return c.Rule + "\n" + c.Means }

func (c cause) print(w io.Writer) {
	head := "Means:"
	if c.Guess {
		head = "Perhaps:"
	}
	for _, row := range [][2]string{{head, c.Means}, {"Do:", c.Do}, {"Known as:", c.Symptom}, {"Catalogue:", strings.Join(c.Entries, ", ")}, {"Source:", c.Source}} {
		if row[1] != "" {
			entry(w, 2, row[0], explainColumn, row[1])
		}
	}
}

// explainColumn is where the texts of an explanation begin.
const explainColumn = 14

// An explainer knows the symptoms and the words of every rule.
type explainer struct {
	rules []described
	in    map[string]int // how many rules have a word in their description
}

// A described is a rule as a text is compared with it.
type described struct {
	rewrite.Rule
	symptoms []symptom
	words    []string // of all that is known of the rule, sorted
}

// A symptom is what is seen of an ill.
type symptom struct {
	text  string
	words []string
	exact bool // with the enhanced code, since there is nothing else but the code
}

func newSymptom(text string) symptom {
	s := symptom{text: text, words: wordsIn(text)}
	if all := allWordsIn(text); len(s.words) == 1 && len(all) > 1 {
		s.words, s.exact = all, true
	}
	return s
}

func newExplainer() *explainer {
	e, catalogue := &explainer{in: map[string]int{}}, covered()
	for _, r := range heal.Table() {
		x := described{Rule: r, words: wordsOf(r, catalogue)}
		for _, s := range r.Symptoms {
			x.symptoms = append(x.symptoms, newSymptom(s))
		}
		slices.Sort(x.words)
		x.words = slices.Compact(x.words)
		for _, w := range x.words {
			e.in[w]++
		}
		e.rules = append(e.rules, x)
	}
	return e
}

// causesOf returns what a line tells, the surest first.
func (e *explainer) causesOf(line string) []cause {
	line = unplus(line)
	causes := slices.Concat(refusalCauses(line), ordinaryCauses(line), e.symptomCauses(line))
	if means, do := token.Explain(line); means != "" {
		causes = append(causes, cause{Means: means, Do: do, Source: "smtpshim's table of refusals, deploy/doc/login.md", weight: 100})
	}
	if c, ok := outcomeCause(line); ok {
		causes = append(causes, c)
	}
	if causes == nil {
		causes = e.guesses(line)
	}
	slices.SortStableFunc(causes, func(a, b cause) int { return cmp.Compare(b.weight, a.weight) })
	return causes
}

// unplus gives a line of a W3C log, in which a plus stands for each blank, its blanks
// back (www.w3.org/TR/WD-logfile).
func unplus(line string) string {
	if plussed.MatchString(line) {
		return strings.ReplaceAll(line, "+", " ")
	}
	return line
}

var plussed = regexp.MustCompile(`\b[245][0-9]{2}[+-][0-9A-Za-z#.]+\+`)

// replyCodes are the places of what looks like the code of a refusal.
var replyCodes = regexp.MustCompile(`\b[45][0-9]{2}\b`)

// refusalCauses are those of providers and of servers that want a login.
func refusalCauses(line string) []cause {
	var causes []cause
	for _, at := range replyCodes.FindAllStringIndex(line, -1) {
		code, _ := strconv.Atoi(line[at[0]:at[1]])
		m, ok := providers.Explain(code, line[at[1]:])
		if ok && !slices.ContainsFunc(causes, func(c cause) bool { return c.Means == m.Means }) {
			causes = append(causes, cause{Means: m.Means, Do: m.Do, Source: "smtpshim's table of refusals, deploy/doc/login.md", weight: 100})
		}
	}
	return causes
}

// symptomCauses are the rules one of whose symptoms the line has. Where it has
// several, the longest of them counts, and rules with a shorter one are left out.
func (e *explainer) symptomCauses(line string) []cause {
	var causes []cause
	said, all, longest := wordsIn(line), allWordsIn(line), 0
	for _, r := range e.rules {
		best, most := "", 0
		for _, s := range r.symptoms {
			line := said
			if s.exact {
				line = all
			}
			if n := matches(s.words, line); n > most && (!s.exact || n == len(s.words)) {
				best, most = s.text, n
			}
		}
		if most > 0 {
			c := ruleCause(r.Rule)
			c.Symptom, c.weight = best, float64(most)
			causes = append(causes, c)
			longest = max(longest, most)
		}
	}
	return slices.DeleteFunc(causes, func(c cause) bool { return c.weight < float64(longest)/2 })
}

// matches returns how many words of a symptom stand in a line, in one piece; 0 if not
// all do. A line of two words or more may be a piece of the symptom. One word is enough
// only where there is little else. The names and addresses of examples in a symptom
// stand for any.
func matches(symptom, line []string) int {
	asSaid := func(s, l string) bool { return s == l || isExample(s) }
	switch {
	case len(symptom) == 0 || len(symptom) == 1 && len(line) > 3:
		return 0
	case len(symptom) <= len(line):
		for at := range len(line) - len(symptom) + 1 {
			if slices.EqualFunc(symptom, line[at:at+len(symptom)], asSaid) {
				return len(symptom)
			}
		}
	case len(line) > 1:
		for at := range len(symptom) - len(line) + 1 {
			if slices.Equal(symptom[at:at+len(line)], line) {
				return len(line)
			}
		}
	}
	return 0
}

func isExample(word string) bool {
	return strings.Contains(word, "example.") || strings.Contains(word, "192.0.2.") || strings.Contains(word, "2001:db8")
}

// wordsIn are the words of a text without enhanced codes (RFC 3463), in which servers
// differ.
func wordsIn(text string) []string { return slices.DeleteFunc(allWordsIn(text), enhanced.MatchString) }

// allWordsIn are the words of a text in small letters, without marks around them. The
// code of a reply's line is one, and the text behind its hyphen another.
func allWordsIn(text string) []string {
	text = codeAndHyphen.ReplaceAllString(text, "$1 ")
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return strings.ContainsRune(" \t\r\n\"'`()[]<>{},;=|*#", r) })
	for i, w := range words {
		words[i] = strings.Trim(w, ".:!?-")
	}
	return slices.DeleteFunc(words, func(w string) bool { return w == "" })
}

// codeAndHyphen is how a reply's lines begin but for the last.
var codeAndHyphen = regexp.MustCompile(`\b([2-5][0-9]{2})-`)

var enhanced = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)

// outcomeIn finds the outcome of a session in a line of our log, as text or as JSON.
var outcomeIn = regexp.MustCompile(`\boutcome(?:=|":)"?([a-z-]+)`)

// outcomeCause is how a session of ours ended, of which the line tells.
func outcomeCause(line string) (cause, bool) {
	found := outcomeIn.FindStringSubmatch(line)
	if found == nil {
		return cause{}, false
	}
	o := vocabulary.Outcome(found[1])
	means := o.Means()
	if means == "" || !o.Failed() {
		return cause{}, false
	}
	return cause{Means: means, Do: "look at the attributes while, err, refused and text of the same line, and at the dialogue (smtpshim watch, the page, recordings)",
		Source: fmt.Sprintf("outcome %s of a session", o), weight: 1}, true
}

func ruleCause(r rewrite.Rule) cause {
	return cause{Rule: r.Name, Entries: r.Entries, Means: "this is known of " + r.Heals, Do: useOf(r.Name), Source: r.Source}
}

// useOf says how to have a rule in force.
func useOf(rule string) string {
	if slices.Contains(setsOf(rule), "standard") {
		return fmt.Sprintf("put smtpshim between: the rule %s heals it, and is in force where a route has no rules of its own", rule)
	}
	return fmt.Sprintf("put smtpshim between, with rules = [\"standard\", %q] in its route", rule)
}

// guesses are the rules whose descriptions have the rare words of a line.
func (e *explainer) guesses(line string) []cause {
	said := tokens(line)
	slices.Sort(said)
	said = slices.Compact(said)
	var causes []cause
	for _, r := range e.rules {
		weight, rare := 0.0, 0
		for _, w := range said {
			if _, has := slices.BinarySearch(r.words, w); !has || len(w) < 4 {
				continue
			}
			weight += math.Log(float64(len(e.rules)) / float64(e.in[w]))
			if e.in[w] <= len(e.rules)/8 {
				rare++
			}
		}
		if rare >= 3 {
			c := ruleCause(r.Rule)
			c.Guess, c.weight = true, weight
			causes = append(causes, c)
		}
	}
	return causes
}
