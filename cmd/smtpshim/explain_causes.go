package main

import (
	"cmp"
	"fmt"
	"io"
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

// A cause is what a line shows: a fault that a rule heals, a refusal by a provider or its
// token endpoint, or the end of a session of ours.
type cause struct {
	Rule    string   `json:"rule,omitempty"`
	Entries []string `json:"entries,omitempty"` // of the catalogue
	Means   string   `json:"means"`
	Do      string   `json:"do"`
	Symptom string   `json:"symptom,omitempty"` // the symptom that the line contains
	Source  string   `json:"source,omitempty"`
	Guess   bool     `json:"guess,omitempty"` // based on similar words only
	vague   bool     // it only says that something failed; another line says why
	weight  float64  // the greatest is shown first
	options bool     // the rule has no effect without options

	ends        vocabulary.Outcome // the outcome of sessions that end with this text of ours; "": not such a text
	generic     bool               // the line has no more of the symptom than a generic text
	otherStatus bool               // the enhanced status codes of line and symptom differ
}

// key identifies causes that are the same.
func (c cause) key() string { return c.Rule + "\n" + c.Means }

func (c cause) print(w io.Writer) {
	head := "Means:"
	if c.Guess {
		head = "Perhaps:"
	}
	for _, row := range [][2]string{{head, c.Means}, {"Do:", c.Do}, {"Known as:", c.Symptom}, {"Catalogue:", c.catalogued()}, {"Source:", c.Source}} {
		if row[1] != "" {
			entry(w, 2, row[0], explainColumn, row[1])
		}
	}
}

// catalogued names the entries of the catalogue, and the command that shows one.
func (c cause) catalogued() string {
	if c.Entries == nil {
		return ""
	}
	return fmt.Sprintf("%s; see \"smtpshim rules %s\"", strings.Join(c.Entries, ", "), c.Entries[0])
}

// explainColumn is the column at which the texts of an explanation begin.
const explainColumn = 14

// The weights of causes in one line. A symptom of a rule weighs as much as it has words:
// with six words it outweighs an enhanced status code, which is the same for many
// refusals.
const (
	weightOwn      = 200 // a text of our own
	weightProvider = 100 // a text of a large provider's
	weightOrdinary = 50  // a text of an everyday refusal
	weightStatus   = 5   // an enhanced status code
	weightVague    = 1
)

// causesOf returns the causes that a line shows, the likeliest first; guesses if none is
// known.
func (e *explainer) causesOf(line string) []cause {
	if causes := e.knownCauses(line); causes != nil {
		return causes
	}
	line = plain(line)
	if causes := e.bareCauses(line); causes != nil {
		return causes
	}
	return e.guesses(line)
}

// causesIn is knownCauses for a line without regard to replies that it repeats.
func (e *explainer) causesIn(line string) []cause {
	line = plain(line)
	said := line
	own, line := e.ownCauses(line)
	causes := slices.Concat(own, refusalCauses(line))
	symptoms := e.symptomCauses(line)
	if slices.ContainsFunc(causes, func(c cause) bool { return c.weight == weightProvider }) { // the code's meaning is known
		symptoms = slices.DeleteFunc(symptoms, func(c cause) bool { return c.otherStatus })
	}
	if c, is := maskedCause(line); is {
		causes, symptoms = append(causes, c), withoutFirewall(symptoms)
	}
	causes = slices.Concat(causes, e.ordinaryCauses(line), symptoms)
	if means, do := token.Explain(line); means != "" {
		causes = append(causes, cause{Means: means, Do: do, Source: "smtpshim's table of refusals, deploy/doc/login.md", weight: weightProvider})
	}
	if !slices.ContainsFunc(causes, func(c cause) bool { return !c.Guess }) {
		causes = slices.Concat(e.statusCauses(line), causes)
	}
	if own != nil || oursIn.MatchString(said) {
		for i := range causes {
			causes[i].Do = adviceHere(causes[i], failure{}, nil)
		}
	}
	causes = append(causes, outcomeCauses(said, own)...)
	slices.SortStableFunc(causes, func(a, b cause) int {
		switch {
		case a.Guess && !b.Guess: // guesses last
			return 1
		case b.Guess && !a.Guess:
			return -1
		}
		return cmp.Compare(b.weight, a.weight)
	})
	return distinct(causes)
}

// distinct removes duplicate causes.
func distinct(causes []cause) (list []cause) {
	for _, c := range causes {
		if !slices.ContainsFunc(list, func(o cause) bool { return o.key() == c.key() }) {
			list = append(list, c)
		}
	}
	return list
}

// refusalCauses returns the causes known for refusals of providers and of servers that
// require a login.
func refusalCauses(line string) (causes []cause) {
	tell := func(code int, text string) {
		m, ok := providers.Explain(code, text)
		if !ok || slices.ContainsFunc(causes, func(c cause) bool { return c.Means == m.Means }) {
			return
		}
		c := cause{Means: m.Means, Do: m.Do, Source: "smtpshim's table of refusals, deploy/doc/login.md", weight: weightProvider}
		if general, is := providers.Generally(code, text); is && general == m {
			c.weight = weightStatus
		}
		causes = append(causes, c)
	}
	for at := range codesIn(line) {
		code, _ := strconv.Atoi(line[at : at+3])
		tell(code, line[at+3:])
	}
	// .NET omits the code.
	if _, said, ok := strings.Cut(line, "server response was: "); ok && causes == nil {
		tell(0, said)
	}
	return causes
}

// oursIn matches a line of our log, as text or JSON. outcomeIn and whileIn match the
// outcome of the session and what it was doing.
var (
	outcomeIn = regexp.MustCompile(`\boutcome(?:=|":)"?([a-z-]+)`)
	oursIn    = regexp.MustCompile(`\bmsg(?:=|":)"?session\b`)
	whileIn   = regexp.MustCompile(`\bwhile(?:=|":)"([^"]*)"`)
)

// outcomeCauses returns why the session of a log line ended, or else how it ended, unless
// own already says so.
func outcomeCauses(line string, own []cause) []cause {
	if !strings.Contains(line, "outcome") {
		return nil
	}
	found := outcomeIn.FindStringSubmatch(line)
	if found == nil {
		return nil
	}
	o := vocabulary.Outcome(found[1])
	if !o.Failed() || o.Means() == "" {
		return nil
	}
	if while := whileIn.FindStringSubmatch(line); while != nil {
		guesses := failure{outcome: o, while: while[1]}.endings()
		for i := range guesses {
			guesses[i].Do, guesses[i].weight = adviceHere(guesses[i], failure{}, nil), weightVague
		}
		if guesses != nil {
			return guesses
		}
	}
	if slices.ContainsFunc(own, func(c cause) bool { return c.ends != "" }) {
		return nil
	}
	c := endOf(o)
	c.Do += "; the line has the error as err and the reply as text, and the dialogue is in smtpshim watch, on the page and in recordings"
	c.Source, c.vague, c.weight = fmt.Sprintf("outcome %s of a session", o), true, weightVague
	return []cause{c}
}

func ruleCause(r rewrite.Rule) cause {
	return cause{Rule: r.Name, Entries: r.Entries, Means: "this is known of " + r.Heals, Do: useOf(r.Name), Source: r.Source,
		options: alsoOptions(r.Name) != ""}
}

// useOf returns how to put a rule in force.
func useOf(rule string) string {
	switch {
	case rule == "stray-bytes":
		return "put smtpshim between: the rule stray-bytes heals it, and is in force on every route"
	case slices.Contains(setsOf(rule), "standard"):
		return fmt.Sprintf("put smtpshim between: the rule %s heals it%s", rule, andStandard)
	}
	return fmt.Sprintf("put smtpshim between, with rules = [\"standard\", %q] in its route%s", rule, alsoOptions(rule))
}

// alsoOptions says that the rule also needs options, if it has no effect without; check
// refuses it then.
func alsoOptions(rule string) string {
	if _, errs := heal.Compile([]string{rule}, nil); errs == nil {
		return ""
	}
	return fmt.Sprintf(" and its options, which \"smtpshim rules %s\" lists", rule)
}
