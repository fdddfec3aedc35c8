//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// A Matrix has the results of a run. It is printed, and written to the page.
type Matrix struct {
	core       bool
	verbose    bool
	behaviours []*Behaviour
	dialogues  []*Dialogue
	results    []Result
	missing    []string
	versions   map[string]string
	took       time.Duration
}

// failed reports whether something is worse without a reason, or, in the core,
// missing.
func (m *Matrix) failed() bool {
	return m.core && len(m.missing) > 0 || slices.ContainsFunc(m.results, func(r Result) bool {
		return r.Verdict == Worse && r.Reason == ""
	})
}

// print writes what is worse without a reason, what is missing, and the numbers.
func (m *Matrix) print(w io.Writer) {
	for _, r := range m.results {
		if r.Verdict == Worse && r.Reason == "" {
			fmt.Fprintln(w, r)
		}
	}
	for _, name := range m.missing {
		fmt.Fprintln(w, "missing:", name)
	}
	if m.verbose {
		m.slowest(w)
	}
	count := map[Verdict]int{}
	allowed := 0
	for _, r := range m.results {
		count[r.Verdict]++
		if r.Reason != "" {
			allowed++
		}
	}
	fmt.Fprintf(w, "%d comparisons in %.0f s: %d same, %d better, %d different, %d unsteady, %d worse, of which %d are allowed; %d peers missing\n",
		len(m.results), m.took.Seconds(), count[Same], count[Better], count[Differs], count[Unsteady], count[Worse], allowed, len(m.missing))
	bad, good := count[Worse]-allowed, len(m.results)-count[Worse]+allowed
	if m.core {
		bad += len(m.missing)
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", good, bad)
}

// slowest writes which cases took longest.
func (m *Matrix) slowest(w io.Writer) {
	took := map[string]time.Duration{}
	for _, r := range m.results {
		took[r.Half+" "+r.Case] += r.took
	}
	cases := slices.SortedFunc(maps.Keys(took), func(a, b string) int { return cmp.Compare(took[b], took[a]) })
	for _, name := range cases[:min(len(cases), 30)] {
		fmt.Fprintf(w, "%.0f s: %s\n", took[name].Seconds(), name)
	}
}

// The page is a file with the matrix between two lines.
const (
	begin = "<!-- The rest is written by deploy/zoo/run -page. -->\n"
)

// write puts the matrix into a page, behind its prose.
func (m *Matrix) write(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	prose, _, ok := strings.Cut(string(text), begin)
	if !ok {
		return fmt.Errorf("%s has no line %q; the matrix goes behind it", name, strings.TrimSpace(begin))
	}
	var b strings.Builder
	b.WriteString(prose + begin)
	m.table(&b, "clients", "Clients against behaviours of a server", m.behaviourNames())
	for _, x := range m.behaviours {
		fmt.Fprintf(&b, "* `%s`: %s\n", x.Name, x.About)
	}
	m.table(&b, "servers", "Servers against groups of dialogues", m.groups())
	m.worse(&b)
	b.WriteString("\n## Versions\n\n")
	var names []string
	for name := range m.versions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s %s\n", name, m.versions[name])
	}
	if len(m.missing) > 0 {
		b.WriteString("\nMissing in this run:\n\n")
		for _, name := range m.missing {
			fmt.Fprintf(&b, "* %s\n", cut(strings.Join(strings.Fields(name), " ")))
		}
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

func (m *Matrix) behaviourNames() []string {
	var names []string
	for _, b := range m.behaviours {
		names = append(names, b.Name)
	}
	return names
}

func (m *Matrix) groups() []string {
	var names []string
	for _, d := range m.dialogues {
		if !slices.Contains(names, d.Group) {
			names = append(names, d.Group)
		}
	}
	return names
}

// table writes one half: a row for each peer, a column for each case or group. A
// cell has what standard and, where that differs, [] made of it: all verdicts but =.
func (m *Matrix) table(b *strings.Builder, half, title string, columns []string) {
	fmt.Fprintf(b, "\n## %s\n\n|  | %s |\n|---|%s\n", title, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	var peers []string
	cells := map[[3]string]string{}
	for _, r := range m.results {
		if r.Half != half {
			continue
		}
		if !slices.Contains(peers, r.Peer) {
			peers = append(peers, r.Peer)
		}
		column, _, _ := strings.Cut(r.Case, "/")
		key := [3]string{r.Peer, column, r.Rules}
		if r.Verdict != Same && !strings.Contains(cells[key], string(r.Verdict)) {
			cells[key] += string(r.Verdict)
		}
	}
	for _, p := range peers {
		fmt.Fprintf(b, "| %s |", p)
		for _, c := range columns {
			standard := cmp.Or(cells[[3]string{p, c, "standard"}], "=")
			none := cmp.Or(cells[[3]string{p, c, "[]"}], "=")
			if standard == none {
				fmt.Fprintf(b, " %s |", standard)
			} else {
				fmt.Fprintf(b, " %s/%s |", standard, none)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// worse lists what is worse, by reason.
func (m *Matrix) worse(b *strings.Builder) {
	b.WriteString("\n## Worse\n\n")
	any := false
	for _, r := range m.results {
		if r.Verdict != Worse {
			continue
		}
		any = true
		reason := cmp.Or(r.Reason, "**no reason**")
		fmt.Fprintf(b, "* %s, %s, rules %s: %s. Direct `%s`, through `%s`. %s\n", r.Peer, r.Case, r.Rules, r.Why,
			cut(r.Direct), cut(r.Through), reason)
	}
	if !any {
		b.WriteString("Nothing.\n")
	}
}
