package page

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A turn is what belongs together in a dialogue: commands, and the replies to
// them. The first is the greeting.
type turn struct {
	After  string // when it began
	Blocks []block
}

// A block is lines that passed, lines that the same rules have changed, or an
// event.
type block struct {
	Event   string
	Changed bool     // else the lines passed
	Why     []reason // of a change; none: that is not told
	Rows    []row
}

// A row is one line on both legs. Where it was changed one of them may have
// none.
type row struct{ Client, Server cell }

// A cell is a line on one leg, behind its margin.
type cell struct {
	Margin, Text string // Margin "": there is no line
	Removed      bool   // else, in a change, it was added
}

// A reason is a rule, or what of the configuration changed a line.
type reason struct {
	Name, Says, Source string
	Described          bool // there is a description of the rule
}

// turns sets a dialogue's legs against each other.
func turns(lines []Line, rules map[string]Rule) []turn {
	var all []turn
	last := byte('S') // who spoke before
	for len(lines) > 0 {
		l := lines[0]
		if len(all) == 0 || l.Side == 'C' && last == 'S' {
			all = append(all, turn{After: after(l.After)})
		}
		if l.Side != 0 {
			last = l.Side
		}
		t := &all[len(all)-1]
		switch {
		case l.Side == 0:
			t.Blocks = append(t.Blocks, block{Event: quoted(l.Text)})
			lines = lines[1:]
		case l.Mark == ':':
			t.pass(row{unchanged(l), unchanged(l)})
			lines = lines[1:]
		default:
			n := 1
			for n < len(lines) && lines[n].Side == l.Side && lines[n].Mark != ':' && lines[n].Rule == l.Rule {
				n++
			}
			t.Blocks = append(t.Blocks, block{Changed: true, Why: reasons(l.Rule, rules), Rows: changed(lines[:n])})
			lines = lines[n:]
		}
	}
	return all
}

// example sets a dialogue's legs against each other without saying when lines passed,
// and why they were changed.
func example(lines []Line) []turn {
	all := untimed(turns(lines, nil))
	for i := range all {
		for j := range all[i].Blocks {
			all[i].Blocks[j].Why = nil
		}
	}
	return all
}

// untimed leaves out when lines passed.
func untimed(all []turn) []turn {
	for i := range all {
		all[i].After = ""
	}
	return all
}

// pass adds a line that passed.
func (t *turn) pass(r row) {
	if n := len(t.Blocks); n > 0 && t.Blocks[n-1].Event == "" && !t.Blocks[n-1].Changed {
		t.Blocks[n-1].Rows = append(t.Blocks[n-1].Rows, r)
		return
	}
	t.Blocks = append(t.Blocks, block{Rows: []row{r}})
}

func unchanged(l Line) cell {
	return cell{Margin: string(rune(l.Side)) + ":", Text: quoted(l.Text)}
}

// changed sets the first line that was said against the first that was
// delivered, and so on. All are of one side.
func changed(lines []Line) []row {
	var said, delivered []cell
	for _, l := range lines {
		c := cell{Margin: string(rune(l.Side)) + string(rune(l.Mark)), Text: quoted(l.Text)}
		if l.Mark == '-' {
			c.Removed = true
			said = append(said, c)
		} else {
			delivered = append(delivered, c)
		}
	}
	rows := make([]row, max(len(said), len(delivered)))
	for i := range rows {
		var from, to cell
		if i < len(said) {
			from = said[i]
		}
		if i < len(delivered) {
			to = delivered[i]
		}
		if lines[0].Side == 'C' {
			rows[i] = row{Client: from, Server: to}
		} else {
			rows[i] = row{Client: to, Server: from}
		}
	}
	return rows
}

// reasons explain names that have commas between them. There is always one.
func reasons(names string, rules map[string]Rule) []reason {
	if names == "" {
		return []reason{{Name: "smtpshim", Says: "No rule did this: it keeps the session in order, or ends it."}}
	}
	var list []reason
	for name := range strings.SplitSeq(names, ",") {
		list = append(list, reason{name, cmp.Or(rules[name].Says, "The configuration has it so."), rules[name].Source, rules[name].Description != nil})
	}
	return list
}

// quoted is text as a transcript has it: printable ASCII whatever it was, so that
// it can neither hide something nor look like something else.
func quoted(text string) string {
	plain := text != "" && text[0] != '"' && text[len(text)-1] != ' ' &&
		!strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
	if plain {
		return text
	}
	return strconv.QuoteToASCII(text)
}

// after is when something was said, in seconds.
func after(d time.Duration) string { return fmt.Sprintf("+%.2f s", d.Seconds()) }
