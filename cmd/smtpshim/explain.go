package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func explain(args []string, stdout, stderr io.Writer) int {
	return explainFrom(args, os.Stdin, stdout, stderr)
}

// explainFrom is explain with standard input.
func explainFrom(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	f := flags("explain", "[-json] TEXT...", "Says what a text means that a bounce, a log or a device's display has, and what heals it. "+
		"TEXT is one line, in quotes or not, or - for the lines of standard input: a bounce, a part of a log of smtpshim, Postfix, Exim, "+
		"Sendmail, Exchange or IIS, or what swaks or curl -v printed. The exit status is 1 if nothing is known.", stderr)
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
		if lines, err = readLines(stdin); err != nil {
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

// readLines reads all lines that are not empty. One that begins with a blank goes on
// with the line before it, as the fields of a bounce do (RFC 5322, 2.2.3).
func readLines(r io.Reader) (lines []string, err error) {
	buffered := bufio.NewReader(r)
	for err == nil {
		var line string
		line, err = buffered.ReadString('\n')
		text := strings.TrimSpace(line)
		switch last := len(lines) - 1; {
		case text == "":
		case last >= 0 && strings.ContainsRune(" \t", rune(line[0])):
			lines[last] = shortened(lines[last] + " " + text)
		default:
			lines = append(lines, shortened(text))
		}
	}
	if err == io.EOF {
		err = nil
	}
	return lines, err
}

func shortened(line string) string { return line[:min(len(line), maxLine)] }

// An explanation is what is known about some lines.
type explanation struct {
	Lines int            `json:"lines"`
	Found []finding      `json:"found"`
	known map[string]int // the place in Found, by what was found
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
		for _, c := range explains.causesOf(line) {
			if c.Guess {
				guessed = append(guessed, finding{line, 1, c})
				continue
			}
			e.add(line, c)
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
}

// printUnknown says that nothing is known, and how to learn more.
func printUnknown(w io.Writer, lines []string) {
	what := "this text"
	if len(lines) != 1 {
		what = fmt.Sprintf("these %d lines", len(lines))
	}
	fmt.Fprintf(w, "smtpshim explain: nothing is known about %s.\n\n", what)
	entry(w, 0, "", 0, "The dialogue tells more than a report of it. Put smtpshim between the two (README, Start) and look at the "+
		"lines of a session that fails: with \"smtpshim watch\", on the page, or in a recording ([record] with only_failed). "+
		"\"smtpshim check -live\" says what the server offers and refuses. Then explain the line before the first refusal.")
}
