package page

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A turn is a part of a dialogue: commands and the replies to them. The first turn is the
// greeting.
type turn struct {
	After  string // when it began
	Blocks []block
}

// A block is either lines that passed unchanged, or lines that the same rules have
// changed, or an event.
type block struct {
	Event   string
	Changed bool     // otherwise the lines passed unchanged
	Why     []reason // the causes of a change; none: not shown
	Rows    []row
}

// A row is one line on both sides. If it was changed, one side may have no line.
type row struct{ Client, Server cell }

// A cell is a line on one side, with its margin.
type cell struct {
	Margin, Text string // Margin "": there is no line
	Removed      bool   // in a change, the line was removed; otherwise it was added
}

// A reason is a rule, or a setting of the configuration, that changed a line.
type reason struct {
	Name, Says, Source string
	Described          bool // there is a description of the rule
}

// turns arranges a dialogue with the client's and the server's lines side by side.
func turns(lines []Line, describe func(string) Rule) []turn {
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
			t.Blocks = append(t.Blocks, block{Changed: true, Why: reasons(l.Rule, describe), Rows: changed(lines[:n])})
			lines = lines[n:]
		}
	}
	return all
}

// example is turns without times and without the causes of changes.
func example(lines []Line) []turn {
	all := untimed(turns(lines, func(string) Rule { return Rule{} }))
	for i := range all {
		for j := range all[i].Blocks {
			all[i].Blocks[j].Why = nil
		}
	}
	return all
}

// untimed removes the times of lines.
func untimed(all []turn) []turn {
	for i := range all {
		all[i].After = ""
	}
	return all
}

// pass adds a line that passed unchanged.
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

// changed pairs lines said with lines delivered, in order. All lines are of one side.
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

// reasons explains names separated by commas. It returns at least one reason.
func reasons(names string, describe func(string) Rule) []reason {
	if names == "" {
		return []reason{{Name: "smtpshim", Says: "No rule did this: it keeps the session in order, or ends it."}}
	}
	var list []reason
	for name := range strings.SplitSeq(names, ",") {
		r := describe(name)
		list = append(list, reason{name, cmp.Or(r.Says, "The configuration has it so."), r.Source, r.Description != nil})
	}
	return list
}

// quoted returns text as a transcript has it: in printable ASCII, so that it can neither
// hide anything nor look like something else.
func quoted(text string) string {
	plain := text != "" && text[0] != '"' && text[len(text)-1] != ' ' &&
		!strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
	if plain {
		return text
	}
	return strconv.QuoteToASCII(text)
}

// after formats the time of a line in seconds.
func after(d time.Duration) string { return fmt.Sprintf("+%.2f s", d.Seconds()) }
