package main

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

const rulesPage = "../../deploy/man/smtpshim-rules.7"

func TestTheManualHasEveryRuleAndSet(t *testing.T) {
	var rules, sets strings.Builder
	for _, r := range heal.Table() {
		rules.WriteString(ruleMdoc(r))
	}
	for _, s := range heal.Sets() {
		fmt.Fprintf(&sets, ".It Ic %s\n%s.Pp\n%s", literalMdoc.Replace(s.Name), proseMdoc(sentence(s.Doc)), proseMdoc("Rules: "+sentence(strings.Join(s.Rules, ", "))))
		if len(s.Products) > 0 {
			sets.WriteString(".Pp\n" + proseMdoc("Sets of products that it looks for: "+sentence(strings.Join(s.Products, ", "))))
		}
	}
	between(t, rulesPage, "rules", rules.String())
	between(t, rulesPage, "sets", sets.String())
}

// ruleMdoc makes mdoc of what there is to say about a rule.
func ruleMdoc(r rewrite.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".Ss %s\n%s.Pp\n%s", literalMdoc.Replace(r.Name), proseMdoc("Heals "+sentence(r.Heals)), proseMdoc(sentence(r.Doc)))
	if len(r.Symptoms) > 0 {
		b.WriteString(".Pp\nWhat is seen:\n.Bl -bullet -compact\n")
		for _, s := range r.Symptoms {
			b.WriteString(".It\n" + strings.ReplaceAll(proseMdoc(s), "--", `\-\-`)) // as it is said
		}
		b.WriteString(".El\n")
	}
	if len(r.Options) > 0 {
		b.WriteString(".Pp\nOptions:\n.Bl -tag -width Ds -compact\n")
		for _, o := range r.Options {
			fmt.Fprintf(&b, ".It Li \"%s\"\n%s", literalMdoc.Replace(o.Name+" = "+tomlValue(o.Default)), proseMdoc(o.Doc))
		}
		b.WriteString(".El\n")
	}
	if r.Needs != "" {
		b.WriteString(".Pp\n" + proseMdoc("Needs "+sentence(r.Needs)))
	}
	in := "in no set"
	if sets := setsOf(r.Name); sets != nil {
		in = "in " + strings.Join(sets, ", ")
	}
	b.WriteString(".Pp\n" + proseMdoc("Source: "+sentence(r.Source)+" The rule is "+in+"."))
	return b.String()
}

// sentence ends a text with a full stop.
func sentence(text string) string { return strings.TrimSuffix(text, ".") + "." }
