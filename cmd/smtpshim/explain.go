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
	f := flags("explain", "[-json] TEXT...", "Says what a text means that a bounce, a log or a device's display has, and what heals it. "+
		"TEXT is one line, in quotes or not, or a file or - for standard input: a bounce, of which the message that it returns is "+
		"not read, a part of a log of smtpshim, Postfix, Exim, Sendmail, Exchange or IIS, or what swaks or curl -v printed; "+
		"lines may be broken or quoted. What is only guessed is told as \"Perhaps\". The exit status is 1 if nothing is known.", stderr)
	asJSON := f.Bool("json", false, "print what is found as JSON")
	if status, ok := parse(f, args, anyText); !ok {
		return status
	}
	if f.NArg() == 0 {
		fmt.Fprint(stderr, "smtpshim explain: TEXT is missing: a line of a bounce or of a log, or - to read such lines\n\n")
		f.Usage()
		return misused
	}
	text, of := io.Reader(strings.NewReader(strings.Join(f.Args(), " "))), "the text"
	if f.Arg(0) == "-" {
		text, of = stdin, "standard input"
	} else if file := fileNamed(f.Args()); file != nil {
		defer file.Close()
		text, of = file, file.Name()
	}
	explained, err := newExplainer().explain(text)
	if err != nil {
		fmt.Fprintf(stderr, "smtpshim explain: reading %s: %v\n", of, err)
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
		if !*asJSON {
			printUnknown(stderr, explained.Lines)
		}
		return failed
	}
	return succeeded
}

// fileNamed opens the file that args name; nil: args are a text.
func fileNamed(args []string) *os.File {
	if len(args) != 1 {
		return nil
	}
	if info, err := os.Stat(args[0]); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	file, err := os.Open(args[0])
	if err != nil {
		return nil
	}
	return file
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

// explain explains the text of r. A cause that several lines show is one finding. Guesses
// are returned only if there is nothing else, or behind what their line shows for certain.
//
// Causes from lines about a refusal come first, because a bounce also describes in its
// own words what the refusal may mean. Other causes follow, and last those that only say
// that something failed.
func (e *explainer) explain(r io.Reader) (explanation, error) {
	b := builder{explains: e, sure: map[string]int{}}
	if err := eachLine(r, b.line); err != nil {
		return explanation{}, err
	}
	known := b.explanation
	slices.SortStableFunc(known.Found, func(a, b finding) int { return cmp.Compare(a.rank, b.rank) })
	if known.Found != nil {
		known.Found = alongside(known.Found, b.guesses)
	} else {
		slices.SortStableFunc(b.guesses, func(a, b finding) int { return cmp.Compare(b.weight, a.weight) })
		known.Found = b.guesses[:min(len(b.guesses), maxGuesses)]
	}
	if len(known.Found) == 0 {
		known.Found = b.findings()
	}
	return known, nil
}

// A builder makes an explanation line by line.
type builder struct {
	explanation
	explains *explainer
	sure     map[string]int // the index in Found, by key of the cause
	guesses  []finding
	first    string   // the first line that is not empty
	before   []string // up to two last lines of which nothing is known, if the next line may continue them
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
	if b.tell(line, b.explains.causesOf(line)) {
		return
	}
	if before == nil || begins.MatchString(line) {
		before = nil
	} else if joined := strings.Join(before, " ") + " " + line; b.tell(joined, b.explains.knownCauses(joined)) {
		return
	}
	if len(line) <= maxBroken {
		b.before = append(before[max(0, len(before)-1):], line)
	}
	if tellsRefusal(line) {
		b.unknown(line)
	}
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

func (b *builder) unknown(line string) {
	if b.unknowns++; len(b.Unknown) < maxUnknown && !slices.Contains(b.Unknown, line) {
		b.Unknown = append(b.Unknown, line)
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
	return strings.Contains(line, "status=bounced") || strings.Contains(line, "status=deferred") || strings.Contains(line, " R=") && failedInExim.MatchString(line) ||
		strings.Contains(line, " - ") && refusedInW3C.MatchString(line)
}

var (
	statusBegins = regexp.MustCompile(`^#?[45]\.[0-9]{1,3}\.[0-9]{1,3}\b`)
	refusedInW3C = regexp.MustCompile(` (?:EHLO|HELO|MAIL|RCPT|DATA|AUTH|STARTTLS) - \S+ [45][0-9]{2}[ -]`)
	failedInExim = regexp.MustCompile(` (?:\*\*|==) \S+ R=`)
)

func printExplained(w io.Writer, e explanation) {
	for i, f := range e.Found {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if i == 0 || e.Found[i-1].Text != f.Text {
			for _, line := range wrap(f.Text, columns-1) {
				fmt.Fprintln(w, line)
			}
			fmt.Fprintln(w)
		}
		f.print(w)
		if f.Lines > 1 {
			entry(w, 2, "Lines:", explainColumn, fmt.Sprintf("in %d of the %d lines", f.Lines, e.Lines))
		}
	}
	if e.Found == nil || e.Unknown == nil {
		return
	}
	which := "this line"
	if e.unknowns > 1 {
		which = fmt.Sprintf("%d lines", e.unknowns)
	}
	fmt.Fprintf(w, "\nNothing is known of %s with a refusal", which)
	if e.unknowns > len(e.Unknown) {
		fmt.Fprint(w, ", among them")
	}
	fmt.Fprint(w, ":\n\n")
	for _, line := range e.Unknown {
		entry(w, 2, "", 4, line)
	}
}

// printUnknown prints that nothing is known, and how to learn more.
func printUnknown(w io.Writer, lines int) {
	what := "this text"
	if lines > 1 {
		what = fmt.Sprintf("these %d lines", lines)
	}
	fmt.Fprintf(w, "smtpshim explain: nothing is known about %s.\n\n", what)
	entry(w, 0, "", 0, "Ask the two themselves: \"smtpshim probe HOST\" says what a server gets wrong, and \"smtpshim probe -listen ADDR\" what a client "+
		"does that is pointed there, such as a scanner.")
	fmt.Fprintln(w)
	entry(w, 0, "", 0, "The dialogue tells more than a report of it. Put smtpshim between the two (deploy/doc/network.md, In front of a legacy server) and look at the "+
		"lines of a session that fails: with \"smtpshim watch\", on the page, or in a recording ([route.record] with only_failed). "+
		"Then explain the first refusal in it.")
}
