package transcript

import (
	"fmt"
	"io"
	"strings"
)

// widest is the longest line that still moves the column of the rules.
const widest = 72

// The colours of a terminal (ECMA-48, 8.3.117).
const (
	plain = "\x1b[0m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	cyan  = "\x1b[36m"
)

// Print writes lines for people, in one write: as in a file, with the rule
// behind each line that one changed. In colour, what was removed is red, what was
// added green, an event cyan and a rule dim; nothing that a peer said can do
// anything to the terminal.
func Print(w io.Writer, lines []Line, colour bool) error {
	column := 0
	for _, l := range lines {
		if n := len(l.String()); l.Rule != "" && n <= widest {
			column = max(column, n)
		}
	}
	paint := func(how, text string) string {
		if !colour || how == "" {
			return text
		}
		return how + text + plain
	}
	var b strings.Builder
	for _, l := range lines {
		text := l.String()
		b.WriteString(paint(l.colour(), text))
		if l.Rule != "" {
			fmt.Fprintf(&b, "%*s", max(0, column-len(text))+2, "")
			b.WriteString(paint(dim, quoteUnlessPlain(l.Rule)))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l Line) colour() string {
	switch {
	case l.Side == 0 && l.Text != "":
		return cyan
	case l.Mark == Removed:
		return red
	case l.Mark == Added:
		return green
	}
	return ""
}
