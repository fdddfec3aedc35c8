package main

import (
	"fmt"
	"io"
	"strings"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/dialogues"
	"smtpshim/proxy/journal"
	player "smtpshim/rewrite/play"
)

// A playWriter prints the results for files.
type playWriter struct {
	out      io.Writer
	dialogue bool
	explains *explainer
	files    int
}

// The columns at which the texts of play begin.
const (
	playColumn   = 4
	playedColumn = 24
)

// each prints the resulting dialogue.
func (w *playWriter) each(p *played, d *dialogues.Dialogue, r *player.Result) {
	if !w.dialogue {
		return
	}
	out := demoOutput{w.out, colourful(w.out)}
	out.print("%s\n\n", titleOf(p.File, d.Name))
	out.dialogue(r.Lines)
	if r.Unknown.Why != "" {
		entry(w.out, 2, "", 2, "From here on the dialogue is not known: "+r.Unknown.Why+".")
	}
	out.print("\n")
}

func titleOf(file, dialogue string) string {
	if dialogue == "" {
		return journal.Printable(file)
	}
	return journal.Printable(file) + ", " + dialogue
}

// file prints the result for a file.
func (w *playWriter) file(p *played) {
	if w.files++; w.files > 1 {
		fmt.Fprintln(w.out)
	}
	were := "were"
	if p.Lines == 1 {
		were = "was"
	}
	entry(w.out, 0, "", 0, fmt.Sprintf("%s: %s (%s), of which %d of %s %s played, under %s", journal.Printable(p.File), words.Plural(p.Dialogues, "dialogue"), strings.Join(p.Sources, ", "), p.Played, words.Plural(p.Lines, "line"), were, p.Under))
	if p.Cut > 0 {
		entry(w.out, 2, "", 2, fmt.Sprintf("%s too long, and the rest of it was left out.", words.Plural(p.Cut, "dialogue")))
	}
	w.rules(p)
	w.refusals(p.Unhealed, p.MoreRefusals, "Refusals that stay")
	w.refusals(p.Healed, p.MoreHealed, "Refusals that are healed")
	w.changes(p.Unknown, p.MoreUnknown, "What follows is not known")
	w.changes(p.Assumed, p.MoreAssumed, "The server's replies from there on are assumed to be the same")
	w.textless(p)
	if p.Broke != nil {
		fmt.Fprint(w.out, "\n  Rules that failed:\n\n")
		for _, why := range p.Broke {
			entry(w.out, playColumn, "", playColumn, why)
		}
	}
	w.differences(p)
}

// textless prints the rules that need the text of messages if it is missing.
func (w *playWriter) textless(p *played) {
	if p.TextRules == nil {
		return
	}
	what := "The text of the messages is not there"
	if p.Textless < p.Messages {
		what = fmt.Sprintf("The text of %d of %s is not there", p.Textless, words.Plural(p.Messages, "message"))
	}
	fmt.Fprintln(w.out)
	entry(w.out, 2, "", 2, what+": it is not known what these rules would do with it: "+strings.Join(p.TextRules, ", ")+".")
}

func (w *playWriter) rules(p *played) {
	if len(p.Rules) == 0 {
		fmt.Fprint(w.out, "\n  No rule would act.\n")
		return
	}
	fmt.Fprint(w.out, "\n  Rules that would act:\n\n")
	for _, r := range p.Rules {
		text := times(r.Count)
		if p.Dialogues > 1 {
			text += " in " + words.Plural(r.Dialogues, "dialogue")
		}
		entry(w.out, playColumn, r.Rule, playedColumn, text+", first in "+r.First.String())
		if r.Said != "" {
			entry(w.out, playColumn, "", playedColumn, r.Said)
		}
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (w *playWriter) refusals(list []playedRefusal, more int, title string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w.out, "\n  %s:\n\n", title)
	for _, r := range list {
		by := ""
		if r.By != "" {
			by = ", by smtpshim"
		}
		if r.By != "" && r.By != "smtpshim" {
			by += " (" + r.By + ")"
		}
		if r.Healed != "" {
			by = ", by " + strings.ReplaceAll(r.Healed, ",", ", ")
		}
		entry(w.out, playColumn, "", playColumn, strings.TrimSpace(fmt.Sprintf("%s: %d %s", r.Verb, r.Code, r.Text))+by)
		entry(w.out, playColumn+2, "", playColumn+2, times(r.Count)+", first in "+r.First.String())
		for _, c := range r.Causes {
			entry(w.out, playColumn+2, "Means:", playColumn+11, c.Means)
			entry(w.out, playColumn+2, "Do:", playColumn+11, c.Do)
		}
		if r.Causes == nil && r.Healed == "" && r.By == "" {
			entry(w.out, playColumn+2, "", playColumn+2, "Nothing is known about it.")
		}
	}
	if more > 0 {
		entry(w.out, playColumn, "", playColumn, fmt.Sprintf("and %d more", more))
	}
}

func (w *playWriter) changes(list []playedChange, more int, title string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w.out, "\n  %s:\n\n", title)
	for _, c := range list {
		entry(w.out, playColumn, "", playColumn, c.At.String()+": "+c.Why)
	}
	if more > 0 {
		entry(w.out, playColumn, "", playColumn, fmt.Sprintf("and %d more", more))
	}
}

func (w *playWriter) differences(p *played) {
	if p.Against == "" {
		return
	}
	if !p.differs() {
		fmt.Fprintf(w.out, "\n  Under %s it is the same.\n", p.Against)
		return
	}
	fmt.Fprintln(w.out)
	entry(w.out, 2, "", 2, fmt.Sprintf("Differences from %s (\"want\" is there, \"got\" is what is above):", p.Against))
	for _, d := range p.Differences {
		fmt.Fprintln(w.out)
		if d.Rules != nil {
			entry(w.out, playColumn, "", playColumn, strings.TrimPrefix(d.Dialogue+": "+strings.Join(d.Rules, ", "), ": "))
		} else if d.Dialogue != "" {
			entry(w.out, playColumn, "", playColumn, d.Dialogue)
		}
		for line := range strings.Lines(d.Lines) {
			fmt.Fprintf(w.out, "    %s", line)
		}
	}
	if p.MoreDifferences > 0 {
		entry(w.out, playColumn, "", playColumn, fmt.Sprintf("and %d more dialogues", p.MoreDifferences))
	}
}
