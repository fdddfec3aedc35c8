package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/testdata"
)

// covered returns the coverage of the catalogue by the rules.
func covered() heal.Coverage { return heal.Cover(heal.Catalogue(), heal.Table()) }

// printWire prints the transcript of a rule, if it has one.
func printWire(w io.Writer, rule string) error {
	f, err := testdata.Of(rule)
	if f == nil || err != nil {
		return err
	}
	fmt.Fprint(w, "\nOn the wire; - marks a line that does not pass, + the line sent instead:\n\n")
	for _, line := range strings.Split(f.About, "\n") {
		entry(w, 2, "", 2, line)
	}
	fmt.Fprintln(w)
	for _, l := range f.Dialogue {
		line := l.String()
		if most := columns - 4; len(line) > most {
			line = line[:most-3] + "..."
		}
		fmt.Fprintln(w, strings.TrimRight("  "+line, " "))
	}
	return nil
}

func printEntry(w io.Writer, e heal.Entry) {
	c := covered()
	fmt.Fprintln(w, e.Number)
	entry(w, 2, "", 2, e.Wrong)
	fmt.Fprintln(w)
	entry(w, 2, "Source:", 12, e.Source)
	entry(w, 2, "State:", 12, c.State(e))
	if e.How != "" {
		entry(w, 2, "In code:", 12, e.How)
	}
}

// sum counts the entries of the catalogue by status.
func sum(c heal.Coverage) string {
	n, all := map[heal.Status]int{}, 0
	for _, s := range heal.Catalogue() {
		for _, e := range s.Entries {
			n[c.Status(e)]++
			all++
		}
	}
	return fmt.Sprintf("Of %d entries %d are healed and %d in part; for %d a rule can be written, and %d stay out.",
		all, n[heal.Healed], n[heal.InPart], n[heal.Possible], n[heal.StaysOut])
}

func listCoverage(w io.Writer) {
	c := covered()
	for _, s := range heal.Catalogue() {
		fmt.Fprintf(w, "%s\n\n", s.Name)
		for _, e := range s.Entries {
			entry(w, 2, e.Number, 8, e.Wrong)
			entry(w, 2, "", 10, strings.ReplaceAll(c.State(e), "`", ""))
		}
		fmt.Fprintln(w)
	}
	entry(w, 0, "", 0, sum(c))
}

// markdownCoverage prints the table in the README of package rewrite.
func markdownCoverage(w io.Writer) {
	c := covered()
	fmt.Fprintln(w, sum(c))
	for _, s := range heal.Catalogue() {
		fmt.Fprintf(w, "\n### %s\n\n| | what goes wrong | source | how | state |\n|---|---|---|---|---|\n", s.Name)
		for _, e := range s.Entries {
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", e.Number, cell(e.Wrong), cell(e.Source), cell(e.How), cell(c.State(e)))
		}
	}
}

// A ruleJSON is a rule as -json prints it.
type ruleJSON struct {
	Name     string       `json:"name"`
	Heals    string       `json:"heals"`
	Doc      string       `json:"doc"`
	Symptoms []string     `json:"symptoms,omitempty"`
	Source   string       `json:"source"`
	Entries  []string     `json:"entries,omitempty"`
	Sets     []string     `json:"sets,omitempty"`
	Options  []optionJSON `json:"options,omitempty"`
}

type optionJSON struct {
	Name    string   `json:"name"`
	Doc     string   `json:"doc"`
	Default any      `json:"default"`
	Values  []string `json:"values,omitempty"`
}

type setJSON struct {
	Name    string                    `json:"name"`
	Doc     string                    `json:"doc"`
	Rules   []string                  `json:"rules"`
	Options map[string]map[string]any `json:"options,omitempty"`

	Products []string `json:"products,omitempty"` // the sets whose products it looks for
	Untold   string   `json:"untold,omitempty"`   // why auto does not look for it
}

type entryJSON struct {
	Number  string      `json:"number"`
	Subject string      `json:"subject"`
	Wrong   string      `json:"wrong"`
	Source  string      `json:"source"`
	Status  heal.Status `json:"status"`
	State   string      `json:"state"`
	Rules   []string    `json:"rules,omitempty"`
}

// jsonRules prints all rules, sets and entries, each list in its usual order.
func jsonRules(stdout, stderr io.Writer) int {
	var all struct {
		Rules   []ruleJSON  `json:"rules"`
		Sets    []setJSON   `json:"sets"`
		Entries []entryJSON `json:"entries"`
	}
	for _, r := range heal.Table() {
		all.Rules = append(all.Rules, ruleJSON{r.Name, r.Heals, r.Doc, r.Symptoms, r.Source, r.Entries, setsOf(r.Name), optionsJSON(r.Options)})
	}
	for _, s := range heal.Sets() {
		all.Sets = append(all.Sets, setJSON{s.Name, s.Doc, s.Rules, s.Options, s.Products, heal.Untold()[s.Name]})
	}
	c := covered()
	for _, s := range heal.Catalogue() {
		for _, e := range s.Entries {
			all.Entries = append(all.Entries, entryJSON{e.Number, s.Name, e.Wrong, e.Source, c.Status(e), c.State(e), c.Rules(e)})
		}
	}
	out := json.NewEncoder(stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(all); err != nil {
		fmt.Fprintf(stderr, "smtpshim rules: writing JSON: %v\n", err)
		return failed
	}
	return succeeded
}

func optionsJSON(options []rewrite.Option) (list []optionJSON) {
	for _, o := range options {
		list = append(list, optionJSON{o.Name, o.Doc, o.Default, o.Values})
	}
	return list
}
