package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

func rules(args []string, stdout, stderr io.Writer) int {
	f := flags("rules", "[-markdown] [NAME]", "Lists the rules and the sets of rules, or describes one of them.", stderr)
	markdown := f.Bool("markdown", false, "print the tables of the README")
	if status, ok := parse(f, args, 1); !ok {
		return status
	}
	name := f.Arg(0)
	switch {
	case *markdown && name != "":
		fmt.Fprintln(stderr, "smtpshim rules: -markdown prints all rules; leave NAME out")
		return misused
	case *markdown:
		markdownRules(stdout)
	case name == "":
		listRules(stdout)
	default:
		return oneRule(name, stdout, stderr)
	}
	return succeeded
}

func listRules(w io.Writer) {
	fmt.Fprint(w, "Rules, in the order in which commands meet them, and whom each heals:\n\n")
	for _, r := range heal.Table() {
		entry(w, 2, r.Name, 22, r.Heals)
	}
	fmt.Fprint(w, "\nSets, which can stand wherever a rule can:\n\n")
	for _, s := range heal.Sets() {
		entry(w, 2, s.Name, 22, s.Doc)
		entry(w, 2, "", 24, strings.Join(s.Rules, ", "))
	}
	fmt.Fprint(w, "\nEvery rule has the options clients, hello and banner, which limit it to some\n"+
		"sessions. \"smtpshim rules NAME\" describes one rule or set.\n")
}

func oneRule(name string, stdout, stderr io.Writer) int {
	for _, r := range heal.Table() {
		if r.Name == name {
			printRule(stdout, r)
			return succeeded
		}
	}
	for _, s := range heal.Sets() {
		if s.Name == name {
			fmt.Fprintln(stdout, s.Name)
			entry(stdout, 2, "", 2, s.Doc)
			fmt.Fprint(stdout, "\nRules:\n\n")
			for _, r := range heal.Table() {
				if slices.Contains(s.Rules, r.Name) {
					entry(stdout, 2, r.Name, 22, r.Heals)
				}
			}
			printSetOptions(stdout, s)
			return succeeded
		}
	}
	fmt.Fprintf(stderr, "smtpshim rules: there is no rule or set %q%s\n", name, hintRule(name))
	return failed
}

// printSetOptions prints the options whose defaults a set changes.
func printSetOptions(w io.Writer, s rewrite.Set) {
	if len(s.Options) == 0 {
		return
	}
	fmt.Fprint(w, "\nOptions, unless the route has its own:\n\n")
	for _, rule := range slices.Sorted(maps.Keys(s.Options)) {
		for _, option := range slices.Sorted(maps.Keys(s.Options[rule])) {
			fmt.Fprintf(w, "  %s.%s = %s\n", rule, option, tomlValue(s.Options[rule][option]))
		}
	}
}

func printRule(w io.Writer, r rewrite.Rule) {
	fmt.Fprintln(w, r.Name)
	entry(w, 2, "", 2, "heals "+r.Heals)
	fmt.Fprintln(w)
	entry(w, 2, "", 2, r.Doc)
	fmt.Fprintln(w)
	entry(w, 2, "Source:", 12, r.Source)
	var sets []string
	for _, s := range heal.Sets() {
		if slices.Contains(s.Rules, r.Name) {
			sets = append(sets, s.Name)
		}
	}
	if sets != nil {
		entry(w, 2, "In sets:", 12, strings.Join(sets, ", "))
	}
	fmt.Fprintf(w, "\nOptions, in [route.options.%s]:\n\n", r.Name)
	for _, o := range allOptions(r) {
		entry(w, 2, fmt.Sprintf("%s = %s", o.Name, tomlValue(o.Default)), 22, o.Doc)
	}
}

// allOptions lists a rule's own options and those that every rule has.
func allOptions(r rewrite.Rule) []rewrite.Option {
	return slices.Concat(r.Options, rewrite.ScopeOptions())
}

// tomlValue formats the default of an option as the configuration file has it.
func tomlValue(v any) string {
	switch v.(type) {
	case map[string]string:
		return "{}"
	case []string:
		return "[]"
	}
	return fmt.Sprintf("%#v", v)
}

// markdownRules prints what the README has.
func markdownRules(w io.Writer) {
	fmt.Fprint(w, "| rule | heals | source |\n|---|---|---|\n")
	for _, r := range heal.Table() {
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", r.Name, cell(r.Heals), cell(r.Source))
	}
	fmt.Fprint(w, "\n| set | for | rules |\n|---|---|---|\n")
	for _, s := range heal.Sets() {
		fmt.Fprintf(w, "| `%s` | %s | `%s` |\n", s.Name, cell(s.Doc), strings.Join(s.Rules, "`, `"))
	}
}

// cell is text as a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
