package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/oneof"
)

func rules(args []string, stdout, stderr io.Writer) int {
	f := flags("rules", "[-coverage] [-json] [-markdown] [NAME]", "Lists what administrators see, the rules that heal it, and the sets of rules. "+
		"NAME is a rule, a set or an entry of the catalogue such as L01, which is then described; or a text in quotes, such as a line of a log: "+
		"the rules that heal it are listed.", stderr)
	coverage := f.Bool("coverage", false, "list the catalogue: what goes wrong between mail\nsystems, and which rules heal it")
	asJSON := f.Bool("json", false, "print rules, sets and catalogue as JSON")
	markdown := f.Bool("markdown", false, "print the tables of deploy/doc/rules.md, or with\n-coverage that of the catalogue")
	if status, ok := parse(f, args, 1); !ok {
		return status
	}
	name := f.Arg(0)
	for _, format := range []struct {
		flag string
		set  bool
	}{{"-markdown", *markdown}, {"-json", *asJSON}, {"-coverage", *coverage}} {
		if format.set && name != "" {
			fmt.Fprintf(stderr, "smtpshim rules: %s prints all there is; leave NAME out\n", format.flag)
			return misused
		}
	}
	switch {
	case *asJSON && (*markdown || *coverage):
		fmt.Fprintln(stderr, "smtpshim rules: -json has everything; leave -markdown and -coverage out")
		return misused
	case *asJSON:
		return jsonRules(stdout, stderr)
	case *coverage && *markdown:
		markdownCoverage(stdout)
	case *coverage:
		listCoverage(stdout)
	case *markdown:
		markdownRules(stdout)
	case name == "":
		listRules(stdout)
	default:
		return tellOf(name, stdout, stderr)
	}
	return succeeded
}

func listRules(w io.Writer) {
	listSymptoms(w)
	fmt.Fprint(w, "\nRules, in the order in which commands meet them, and what each heals:\n\n")
	for _, r := range heal.Table() {
		needs := ""
		if r.Needs != "" {
			needs = "; needs " + r.Needs
		}
		entry(w, 2, r.Name, 22, r.Heals+needs)
	}
	fmt.Fprint(w, "\nSets, which can stand wherever a rule can:\n\n")
	for _, s := range heal.Sets() {
		entry(w, 2, s.Name, 22, s.Doc)
		entry(w, 2, "", 24, strings.Join(s.Rules, ", "))
		if why := heal.Untold()[s.Name]; why != "" {
			entry(w, 2, "", 24, "auto does not look for it: "+why)
		}
	}
	fmt.Fprint(w, "\nEvery rule has the options clients, hello and banner, which limit it to some\n"+
		"sessions. \"smtpshim rules NAME\" describes one rule or set; with a text in place\n"+
		"of NAME, such as a line of a log, it finds the rules for it.\n")
}

// tellOf prints what is known under a name: about a rule, a set or an entry of the
// catalogue, or the rules for a text.
func tellOf(name string, stdout, stderr io.Writer) int {
	for _, r := range heal.Table() {
		if r.Name == name {
			return printRule(stdout, stderr, r)
		}
	}
	for _, s := range heal.Sets() {
		if s.Name == name {
			printSet(stdout, s)
			return succeeded
		}
	}
	if e, ok := covered().Entry(strings.ToUpper(name)); ok {
		printEntry(stdout, e)
		return succeeded
	}
	if says := besideRules[name]; says != "" {
		entry(stdout, 0, name, 18, "is no rule. "+says)
		return succeeded
	}
	if strings.HasPrefix(name, heal.ReplacePrefix) {
		entry(stdout, 0, name, 18, ownRule)
		return succeeded
	}
	hint := config.HintRule(name)
	if strings.Contains(name, " ") || oneof.Nearest(name, heal.Names()) == "" {
		if found := findRules(name); found != nil {
			printFound(stdout, found)
			return succeeded
		}
	}
	switch {
	case entryNumber.MatchString(name):
		fmt.Fprintf(stderr, "smtpshim rules: there is no entry %q in the catalogue; \"smtpshim rules -coverage\" lists it\n", strings.ToUpper(name))
	case strings.Contains(name, " "):
		fmt.Fprintf(stderr, "smtpshim rules: there is no rule that heals %q; \"smtpshim explain\" knows other refusals too\n", name)
	default:
		fmt.Fprintf(stderr, "smtpshim rules: there is no rule or set %q, and none that heals such a text%s\n", name, hint)
	}
	return failed
}

// entryNumber matches the number of an entry of the catalogue.
var entryNumber = regexp.MustCompile(`^[Ll][0-9]+$`)

func printSet(w io.Writer, s rewrite.Set) {
	fmt.Fprintln(w, s.Name)
	entry(w, 2, "", 2, s.Doc)
	fmt.Fprint(w, "\nRules:\n\n")
	for _, r := range heal.Table() {
		if slices.Contains(s.Rules, r.Name) {
			entry(w, 2, r.Name, 22, r.Heals)
		}
	}
	printSetOptions(w, s)
	printSigns(w, s)
}

// printSetOptions prints the options that a set changes.
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

// printRule prints everything about a rule: its symptoms, what it does, its sources, and
// what goes over the wire.
func printRule(w, stderr io.Writer, r rewrite.Rule) int {
	fmt.Fprintln(w, r.Name)
	entry(w, 2, "", 2, "heals "+r.Heals)
	if len(r.Symptoms) > 0 {
		fmt.Fprint(w, "\nWhat is seen:\n\n")
		for _, s := range r.Symptoms {
			entry(w, 2, "", 2, s)
		}
	}
	fmt.Fprint(w, "\nWhat the rule does:\n\n")
	entry(w, 2, "", 2, r.Doc)
	fmt.Fprintln(w)
	if r.Needs != "" {
		entry(w, 2, "Needs:", 14, r.Needs)
	}
	entry(w, 2, "Source:", 14, r.Source)
	if sets := setsOf(r.Name); sets != nil {
		entry(w, 2, "In sets:", 14, strings.Join(sets, ", "))
	}
	head := "Catalogue:"
	for _, number := range r.Entries {
		if e, ok := covered().Entry(number); ok {
			entry(w, 2, head, 14, e.Number+" "+e.Wrong)
			head = ""
		}
	}
	fmt.Fprintf(w, "\nOptions, in [route.options.%s]:\n\n", r.Name)
	for _, o := range r.AllOptions() {
		entry(w, 2, fmt.Sprintf("%s = %s", o.Name, tomlValue(o.Default)), 22, o.Doc)
	}
	if err := printWire(w, r.Name); err != nil {
		fmt.Fprintf(stderr, "smtpshim rules: reading the transcript of %s: %v\n", r.Name, err)
		return failed
	}
	return succeeded
}

// setsOf returns the sets that contain a rule.
func setsOf(rule string) (names []string) {
	for _, s := range heal.Sets() {
		if slices.Contains(s.Rules, rule) {
			names = append(names, s.Name)
		}
	}
	return names
}

// tomlValue formats the default of an option for the configuration file.
func tomlValue(v any) string {
	switch v := v.(type) {
	case map[string]string:
		return "{}"
	case []string:
		var quoted []string
		for _, text := range v {
			quoted = append(quoted, strconv.Quote(text))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprintf("%#v", v)
}

// markdownRules prints deploy/doc/rules.md.
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

// cell escapes text for a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
