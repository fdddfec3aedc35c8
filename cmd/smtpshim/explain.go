package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

func explain(args []string, stdout, stderr io.Writer) int {
	return explainFrom(args, os.Stdin, stdout, stderr)
}

// explainFrom is explain with a given standard input.
func explainFrom(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	f := flags("explain", "[-json] TEXT...", "Explains a text from a bounce, a log or the display of a device, and prints what heals it. "+
		"TEXT is one line, in quotes or not, one or several files, or - for standard input: a bounce, without the message that it returns; "+
		"a part of a log of smtpshim, Postfix, Exim, Sendmail, Exchange or IIS; or the output of swaks or curl -v. "+
		"Lines may be broken or quoted. \"Perhaps\" marks a guess. The exit status is 1 if nothing is known.", stderr)
	asJSON := f.Bool("json", false, "print the findings as JSON")
	if status, ok := parse(f, args, anyText); !ok {
		return status
	}
	if f.NArg() == 0 {
		fmt.Fprint(stderr, "smtpshim explain: TEXT is missing: a line of a bounce or of a log, or - to read such lines\n\n")
		f.Usage()
		return misused
	}
	list, note, err := inputs(f.Args(), stdin)
	if err != nil {
		fmt.Fprintf(stderr, "smtpshim explain: %v\n", err)
		return failed
	}
	defer closeAll(list)
	if note != "" {
		fmt.Fprintf(stderr, "smtpshim explain: %s\n\n", note)
	}
	var readers []io.Reader
	for _, s := range list {
		readers = append(readers, s)
	}
	explained, err := newExplainer().explain(readers...)
	if err != nil {
		fmt.Fprintf(stderr, "smtpshim explain: reading %s: %v\n", names(list), err)
		return failed
	}
	if *asJSON {
		if err := json.NewEncoder(stdout).Encode(explained); err != nil {
			fmt.Fprintf(stderr, "smtpshim explain: %v\n", err)
			return failed
		}
	} else {
		printExplained(stdout, explained)
	}
	if explained.Found == nil {
		switch {
		case *asJSON:
		case explained.Lines == 0:
			fmt.Fprintf(stderr, "smtpshim explain: there is no text in %s\n", names(list))
		default:
			printUnknown(stderr, explained)
		}
		return failed
	}
	return succeeded
}

// An explanation is what is known about some lines.
type explanation struct {
	Lines int       `json:"lines"`
	Found []finding `json:"found"`
	// Unknown are lines about a refusal of which nothing is known; only the first few.
	Unknown  []string `json:"unknown,omitempty"`
	unknowns int      // the number of these lines
}

// A finding is one cause, and the lines that show it.
type finding struct {
	Text  string `json:"text"`  // the first of these lines
	Lines int    `json:"lines"` // the number of these lines
	cause
	rank int // the lowest is shown first
}

// explain explains texts together. A cause that several lines show is one finding. Guesses
// are returned only if there is nothing else, or behind what their line shows for
// certain.
//
// Causes from lines about a refusal come first, because a bounce also describes in its
// own words what the refusal may mean. Other causes follow, and last those that only say
// that something failed.
func (e *explainer) explain(texts ...io.Reader) (explanation, error) {
	b := builder{explains: e, sure: map[string]int{}}
	for _, r := range texts {
		b.before = nil
		if err := eachLine(r, b.line); err != nil {
			return explanation{}, err
		}
	}
	b.description()
	known := b.explanation
	known.Unknown, known.unknowns = b.refusals.lines, b.refusals.n
	slices.SortStableFunc(known.Found, func(a, b finding) int { return cmp.Compare(a.rank, b.rank) })
	if known.Found != nil {
		known.Found = alongside(known.Found, b.guesses)
	} else {
		slices.SortStableFunc(b.guesses, func(a, b finding) int { return cmp.Compare(b.weight, a.weight) })
		known.Found = b.guesses[:min(len(b.guesses), maxGuesses)]
		known.Unknown, known.unknowns = b.unguessed()
	}
	if len(known.Found) == 0 {
		known.Found = b.findings()
		for _, f := range known.Found {
			b.refusals.remove(f.Text)
		}
		known.Unknown, known.unknowns = b.refusals.lines, b.refusals.n
	}
	return known, nil
}

// A builder makes an explanation line by line.
type builder struct {
	explanation
	explains *explainer
	sure     map[string]int // the index in Found, by key of the cause
	guesses  []finding
	first    string  // the first line that is not empty
	before   []part  // up to two last lines of which nothing is known, if the next line may continue them
	refusals unknown // refusals of which nothing is known for certain
	mere     unknown // those of them that show no guess either

	replied   bool   // a line repeats the reply of another server, in the form of Exchange 5.5
	described string // the last line with Exchange's own words for it
}

// A part is a line that the next one may continue.
type part struct {
	line             string
	refusal, guessed bool
}

// unknown are lines with a refusal; only the first few are kept.
type unknown struct {
	lines []string
	n     int // the number of all
}

func (u *unknown) add(line string) {
	if u.n++; len(u.lines) < maxUnknown && !slices.Contains(u.lines, line) {
		u.lines = append(u.lines, line)
	}
}

func (u *unknown) remove(line string) {
	if at := slices.Index(u.lines, line); at >= 0 {
		u.lines = slices.Delete(u.lines, at, at+1)
		u.n--
	}
	if len(u.lines) == 0 {
		u.lines = nil
	}
}

// unguessed returns the refusals that show no guess, or one that is not shown, and their
// number.
func (b *builder) unguessed() ([]string, int) {
	shown := b.guesses[:min(len(b.guesses), maxGuesses)]
	for _, g := range b.guesses[len(shown):] {
		if tellsRefusal(g.Text) && !slices.ContainsFunc(shown, func(s finding) bool { return s.Text == g.Text }) && !slices.Contains(b.mere.lines, g.Text) {
			b.mere.add(g.Text)
		}
	}
	return b.mere.lines, b.mere.n
}

// maxGuesses is the largest number of guesses, and maxUnknown that of unknown lines, that
// are shown.
const maxGuesses, maxUnknown = 3, 3

// line explains one more line. A line of which nothing is known may continue the one
// before it, because mail readers and displays break long lines.
func (b *builder) line(line string) {
	if line == "" {
		b.before = nil
		return
	}
	if b.Lines++; b.Lines == 1 {
		b.first = line
	}
	before := b.before
	b.before = nil
	b.replied = b.replied || imsReplyIn(line) != ""
	if b.describes(line) {
		return
	}
	causes := b.explains.causesOf(line)
	if b.tell(line, causes) {
		return
	}
	if before == nil || begins.MatchString(line) {
		before = nil
	} else if joined := joinParts(before, line); b.tell(joined, b.explains.knownCauses(joined)) {
		for _, p := range before {
			b.withdraw(p)
		}
		return
	}
	p := part{line, tellsRefusal(line), causes != nil}
	if len(line) <= maxBroken {
		b.before = append(before[max(0, len(before)-1):], p)
	}
	if p.refusal {
		b.refusals.add(line)
		if !p.guessed {
			b.mere.add(line)
		}
	}
}

// withdraw removes a line from the unknown ones: the next line has completed it.
func (b *builder) withdraw(p part) {
	if p.refusal {
		b.refusals.remove(p.line)
		if !p.guessed {
			b.mere.remove(p.line)
		}
	}
}

func joinParts(parts []part, line string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.line + " ")
	}
	return b.String() + line
}

// tell records the causes that a line shows, and reports whether one of them is certain.
func (b *builder) tell(line string, causes []cause) (sure bool) {
	for _, c := range causes {
		f := finding{Text: line, Lines: 1, cause: c, rank: 1}
		switch {
		case c.Guess:
			b.guess(f)
			continue
		case c.vague:
			f.rank = 2
		case c.weight > weightStatus && tellsRefusal(line):
			f.rank = 0
		}
		sure = true
		if at, is := b.sure[c.key()]; is {
			b.Found[at].Lines++
			b.Found[at].rank = min(b.Found[at].rank, f.rank)
			continue
		}
		b.sure[c.key()] = len(b.Found)
		b.Found = append(b.Found, f)
	}
	return sure
}

// guess records a guess. For several guesses of one cause it keeps the one with the
// greatest weight.
func (b *builder) guess(f finding) {
	at := slices.IndexFunc(b.guesses, func(g finding) bool { return g.key() == f.key() })
	switch {
	case at < 0:
		b.guesses = append(b.guesses, f)
	case b.guesses[at].weight < f.weight:
		f.Lines += b.guesses[at].Lines
		b.guesses[at] = f
	default:
		b.guesses[at].Lines++
	}
}

// maxBroken is the length, in octets, of the longest line that may be a part of a broken
// one.
const maxBroken = 150

// begins matches a line that does not continue another: it begins with a code, a time, a
// mark or a key.
var begins = regexp.MustCompile(`^(?:[2-5][0-9]{2}\b|[0-9]{4}[-/]|[A-Z][a-z]{2} +[0-9]+ |[<{\[(*=~]|-+>|[A-Za-z-]+[:=]|@[0-9a-f]{8})`)

// tellsRefusal reports whether a line of a bounce, or of a log of Postfix, Exim, Sendmail
// or IIS, is about a refusal.
func tellsRefusal(line string) bool {
	for at := range codesIn(line) {
		before, after := strings.ToLower(strings.TrimSuffix(line[max(0, at-8):at], " ")), line[at+3:]
		switch {
		case after == "" || after[0] != ' ' && after[0] != '-':
		case at == 0, statusBegins.MatchString(after[1:]), strings.HasSuffix(before, "said:"), strings.HasSuffix(before, "reply="), strings.HasSuffix(before, "smtp;"):
			return true
		}
	}
	return imsReplyIn(line) != "" || strings.Contains(line, "status=bounced") || strings.Contains(line, "status=deferred") || strings.Contains(line, " R=") && failedInExim.MatchString(line) ||
		strings.Contains(line, " - ") && refusedInW3C.MatchString(line)
}

var (
	statusBegins = regexp.MustCompile(`^#?[45]\.[0-9]{1,3}\.[0-9]{1,3}\b`)
	refusedInW3C = regexp.MustCompile(` (?:EHLO|HELO|MAIL|RCPT|DATA|AUTH|STARTTLS) - \S+ [45][0-9]{2}[ -]`)
	failedInExim = regexp.MustCompile(` (?:\*\*|==) \S+ R=`)
)
