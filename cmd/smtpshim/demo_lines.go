package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
)

// A demoOutput is the output of demo. No line is wider than a terminal.
type demoOutput struct {
	w      io.Writer
	colour bool
}

// Colours (ECMA-48, 8.3.117) and their meanings.
const (
	heading = "\x1b[1m"
	dim     = "\x1b[2m"
	good    = "\x1b[32m"
	bad     = "\x1b[31m"
	event   = "\x1b[36m"
)

func (o demoOutput) print(format string, args ...any) { fmt.Fprintf(o.w, format, args...) }

func (o demoOutput) paint(how, text string) string {
	if !o.colour || how == "" {
		return text
	}
	return how + text + "\x1b[0m"
}

// colourful reports whether w is a terminal whose user wants colours (no-color.org).
func colourful(w io.Writer) bool {
	file, ok := fileOf(w)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// verdict prints the result.
func (o demoOutput) verdict(name, how, text string) {
	const start = 11
	for _, line := range wrap(text, columns-1-start) {
		o.print("  %s  %s\n", o.paint(heading, fmt.Sprintf("%-*s", start-4, name)), o.paint(how, line))
		name = ""
	}
}

// dialogue prints lines, each followed by the rules that changed it, in one column.
func (o demoOutput) dialogue(lines []transcript.Line) {
	longest, column := 0, 0
	for _, l := range lines {
		if longest = max(longest, len(l.Rule)); l.Rule != "" {
			column = max(column, len("  "+l.String()+"  "))
		}
	}
	for _, l := range lines {
		o.line("  ", l, min(column, columns-1-longest))
	}
}

// line prints one line after a prefix, over as many lines as needed, with the rules that
// changed it at column, or further left if the names are long.
func (o demoOutput) line(prefix string, l transcript.Line, column int) {
	const hang = len("S: ")
	how, end := "", columns-1
	switch {
	case l.Side == 0:
		how = event
	case l.Mark == transcript.Removed:
		how = bad
	case l.Mark == transcript.Added:
		how = good
	}
	if l.Rule != "" {
		column = max(columns/4, min(column, columns-1-len(l.Rule)))
		end = column - len("  ")
	}
	var b strings.Builder
	for i, part := range fold(l.String(), end-len(prefix), hang) {
		b.WriteString(prefix + o.paint(how, part))
		if i == 0 && l.Rule != "" {
			fmt.Fprintf(&b, "%*s%s", column-len(prefix)-len(part), "", o.paint(dim, l.Rule))
		}
		b.WriteByte('\n')
		prefix = strings.Repeat(" ", len(prefix))
	}
	o.print("%s", b.String())
}

// fold breaks text of printable ASCII into parts of at most width octets, at blanks if
// there are any. All parts but the first begin with hang blanks.
func fold(text string, width, hang int) []string {
	var parts []string
	for len(text) > width {
		at := strings.LastIndexByte(text[:width+1], ' ')
		if at <= hang {
			at = width
		}
		parts = append(parts, strings.TrimRight(text[:at], " "))
		text = strings.Repeat(" ", hang) + strings.TrimLeft(text[at:], " ")
	}
	return append(parts, text)
}

// ruleColumn returns the column at which the longest name of a rule still fits.
func ruleColumn() int {
	longest := 0
	for _, r := range heal.Table() {
		longest = max(longest, len(r.Name))
	}
	return columns - 1 - longest
}
