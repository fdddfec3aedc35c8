package main

import (
	"fmt"
	"io"
	"strings"
)

func printExplained(w io.Writer, e explanation) {
	told := false // the number of rules for this line
	for i, f := range e.Found {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if i == 0 || e.Found[i-1].Text != f.Text {
			for _, line := range wrap(f.Text, columns-1) {
				fmt.Fprintln(w, line)
			}
			fmt.Fprintln(w)
			told = false
		}
		if n := alternatives(e.Found[i:]); f.Rule != "" && !told {
			if told = true; n > 1 {
				entry(w, 2, "", 2, fmt.Sprintf("%d rules may heal this; try them in this order.", n))
				fmt.Fprintln(w)
			}
		}
		f.print(w)
		if f.Lines > 1 {
			entry(w, 2, "Lines:", explainColumn, fmt.Sprintf("in %d of the %d lines", f.Lines, e.Lines))
		}
	}
	if e.Found != nil && e.Unknown != nil {
		fmt.Fprintln(w)
		printRefusals(w, e)
	}
}

// alternatives returns how many rules the findings of the first line lead to; 0 if all of
// them are in force by themselves.
func alternatives(found []finding) (n int) {
	chosen := false
	for _, f := range found {
		if f.Text != found[0].Text {
			break
		}
		if f.Rule != "" {
			n++
			chosen = chosen || !strings.HasSuffix(f.Do, andStandard)
		}
	}
	if !chosen {
		return 0
	}
	return n
}

// printRefusals prints the lines with a refusal of which nothing is known.
func printRefusals(w io.Writer, e explanation) {
	which := "this line"
	if e.unknowns > 1 {
		which = fmt.Sprintf("%d lines", e.unknowns)
	}
	fmt.Fprintf(w, "Nothing is known of %s with a refusal", which)
	if e.unknowns > len(e.Unknown) {
		fmt.Fprint(w, ", among them")
	}
	fmt.Fprint(w, ":\n\n")
	for _, line := range e.Unknown {
		entry(w, 2, "", 4, line)
	}
}

// printUnknown prints that nothing is known, and how to learn more.
func printUnknown(w io.Writer, e explanation) {
	what := "this text"
	if e.Lines > 1 {
		what = fmt.Sprintf("these %d lines", e.Lines)
	}
	fmt.Fprintf(w, "smtpshim explain: nothing is known about %s.\n\n", what)
	if e.Lines > 1 && e.Unknown != nil {
		printRefusals(w, e)
		fmt.Fprintln(w)
	}
	entry(w, 0, "", 0, "Examine the two themselves: \"smtpshim probe HOST\" prints the faults of a server, and \"smtpshim probe -listen ADDR\" those of a client "+
		"that connects there, such as a scanner.")
	fmt.Fprintln(w)
	entry(w, 0, "", 0, "The dialogue tells more than a report of it. Put smtpshim between the two (deploy/doc/network.md, In front of a legacy server) and look at the "+
		"lines of a session that fails: with \"smtpshim watch\", on the page, or in a recording ([route.record] with only_failed). "+
		"Then explain the first refusal in it.")
}
