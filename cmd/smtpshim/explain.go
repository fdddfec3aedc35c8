package main

import (
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

// explainFrom is explain with standard input.
func explainFrom(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	f := flags("explain", "[-json] TEXT...", "Says what a text means that a bounce, a log or a device's display has, and what heals it. "+
		"TEXT is one line, in quotes or not, or - for the lines of standard input: a bounce, of which the message that it returns is "+
		"not read, a part of a log of smtpshim, Postfix, Exim, Sendmail, Exchange or IIS, or what swaks or curl -v printed. The exit status is 1 if nothing is known.", stderr)
	asJSON := f.Bool("json", false, "print what is found as JSON")
	if status, ok := parse(f, args, len(args)); !ok {
		return status
	}
	if f.NArg() == 0 {
		fmt.Fprint(stderr, "smtpshim explain: TEXT is missing: a line of a bounce or of a log, or - to read such lines\n\n")
		f.Usage()
		return misused
	}
	lines := []string{strings.Join(f.Args(), " ")}
	if lines[0] == "-" {
		var err error
		if lines, err = explainedLines(stdin); err != nil {
			fmt.Fprintf(stderr, "smtpshim explain: reading standard input: %v\n", err)
			return failed
		}
	}
	explained := explainLines(lines)
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
			printUnknown(stderr, lines)
		}
		return failed
	}
	return succeeded
}

// maxLine is how long a line may be that is explained, in octets; what is longer is cut off.
const maxLine = 16 << 10

// linesOf are all lines that are not empty. One that begins with a blank goes on with
// the line before it, as the fields of a bounce do (RFC 5322, 2.2.3).
func linesOf(data []byte) (lines []string) {
	for line := range strings.Lines(string(data)) {
		text := strings.TrimSpace(line)
		switch last := len(lines) - 1; {
		case text == "":
		case last >= 0 && strings.ContainsRune(" \t", rune(line[0])):
			lines[last] = shortened(lines[last] + " " + text)
		default:
			lines = append(lines, shortened(text))
		}
	}
	return lines
}

func shortened(line string) string { return line[:min(len(line), maxLine)] }

// An explanation is what is known about some lines.
type explanation struct {
	Lines int       `json:"lines"`
	Found []finding `json:"found"`
	// Unknown are lines that tell of a refusal, and of which nothing is known; the
	// first of them.
	Unknown  []string       `json:"unknown,omitempty"`
	unknowns int            // how many there are
	known    map[string]int // the place in Found, by what was found
}

// A finding is one cause, and the lines that told it.
type finding struct {
	Text  string `json:"text"`  // the first of those lines
	Lines int    `json:"lines"` // how many there are
	cause
}

// explainLines explains lines. A cause that several lines tell is found once. What is
// only guessed counts where nothing else is found.
func explainLines(lines []string) explanation {
	e := explanation{Lines: len(lines), known: map[string]int{}}
	var guessed []finding
	explains := newExplainer()
	for _, line := range lines {
		sure := false
		for _, c := range explains.causesOf(line) {
			if c.Guess {
				guessed = append(guessed, finding{line, 1, c})
				continue
			}
			sure = true
			e.add(line, c)
		}
		if !sure && tellsRefusal.MatchString(line) {
			if e.unknowns++; len(e.Unknown) < maxUnknown && !slices.Contains(e.Unknown, line) {
				e.Unknown = append(e.Unknown, line)
			}
		}
	}
	if e.Found == nil {
		for _, g := range guessed {
			if e.add(g.Text, g.cause); len(e.Found) == maxGuesses {
				break
			}
		}
	}
	return e
}

// maxUnknown is how many lines are shown of which nothing is known.
const maxUnknown = 3

// tellsRefusal finds the refusal in a line of a bounce, or of a log of Postfix, Exim,
// Sendmail or IIS.
var tellsRefusal = regexp.MustCompile(`(?i)\b[45][0-9]{2}[- ]#?[45]\.[0-9]{1,3}\.[0-9]{1,3}\b|\b(?:said:|reply=|smtp;) ?[45][0-9]{2}\b|^[45][0-9]{2}[- ]` +
	`|\bstatus=(?:bounced|deferred)\b| (?:EHLO|HELO|MAIL|RCPT|DATA|AUTH|STARTTLS) - \S+ [45][0-9]{2} | (?:\*\*|==) \S+ R=`)

// maxGuesses is how many guesses are worth a look.
const maxGuesses = 3

func (e *explanation) add(line string, c cause) {
	key := c.key()
	at, is := e.known[key]
	if !is {
		e.known[key] = len(e.Found)
		e.Found = append(e.Found, finding{line, 1, c})
		return
	}
	e.Found[at].Lines++
}

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
			entry(w, 2, "Lines:", explainColumn, fmt.Sprintf("%d of %d say so", f.Lines, e.Lines))
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

// printUnknown says that nothing is known, and how to learn more.
func printUnknown(w io.Writer, lines []string) {
	what := "this text"
	if len(lines) != 1 {
		what = fmt.Sprintf("these %d lines", len(lines))
	}
	fmt.Fprintf(w, "smtpshim explain: nothing is known about %s.\n\n", what)
	entry(w, 0, "", 0, "The dialogue tells more than a report of it. Put smtpshim between the two (README, In front of a legacy server) and look at the "+
		"lines of a session that fails: with \"smtpshim watch\", on the page, or in a recording ([record] with only_failed). "+
		"\"smtpshim check -live\" says what the server offers and refuses. Then explain the line before the first refusal.")
}
