package heal

import (
	"slices"

	"smtpshim/rewrite"
)

func statusCodes() rewrite.Rule {
	return rewrite.Rule{
		Name:  "status-codes",
		Heals: "clients that go by an enhanced status code where it contradicts the reply's code, or cannot read one at all",
		Doc: "The first digit of an enhanced status code is that of the reply's code (RFC 2034, 4). If a server sends 550 4.7.1, some " +
			"clients try again and others do not: the rule makes it 550 5.7.1. With `strip = \"unannounced\"`, clients that were not " +
			"offered ENHANCEDSTATUSCODES get no such codes. With \"always\", no client gets them, and the keyword is not offered. A 3xx, " +
			"a greeting, and a positive reply to EHLO or HELO have none anyway (RFC 2034, 4).",
		Symptoms: []string{"550 4.7.1", "450 5.7.1"},
		Source:   "RFC 2034, 4; RFC 3463, 2; Sendmail release notes, 8.13.0",
		Entries:  []string{"L85"},
		Options: []rewrite.Option{{Name: "strip", Default: "never", Values: []string{"never", "unannounced", "always"},
			Doc: "who gets no enhanced status codes: nobody, clients that were not offered them, everybody"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			without := rewrite.SetOf(rewrite.VerbGreeting, rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO)
			a := rewrite.Actions{Refusals: rewrite.EveryVerb, Reply: func(t *rewrite.Turn) { mendRefusal(t) }}
			switch o.Text("strip") {
			case "unannounced":
				a.Replies, a.Reply = rewrite.EveryVerb&^without, func(t *rewrite.Turn) {
					if t.Shown().Has("ENHANCEDSTATUSCODES") {
						mendRefusal(t)
						return
					}
					stripStatus(t)
				}
			case "always":
				a.Replies, a.Reply = rewrite.EveryVerb, func(t *rewrite.Turn) {
					t.Extensions().Drop("ENHANCEDSTATUSCODES")
					if !hellos.Has(t.Verb()) || t.Reply().Code >= 400 {
						stripStatus(t)
					}
				}
			}
			return a, nil
		},
	}
}

// mendRefusal corrects the enhanced status codes of a refusal.
func mendRefusal(t *rewrite.Turn) {
	if !t.Lost() && t.Reply().Code >= 400 {
		mendStatus(t.Reply())
	}
}

// stripStatus removes the enhanced status codes from a reply.
func stripStatus(t *rewrite.Turn) {
	r := t.Reply()
	if t.Lost() || r.Code/100 == 3 || t.Verb() == rewrite.VerbGreeting && r.Code < 400 {
		return
	}
	if !slices.ContainsFunc(r.Lines, func(text string) bool { status, _ := cutStatus(text); return status != "" }) {
		return
	}
	for i, text := range r.Lines {
		_, r.Lines[i] = cutStatus(text)
	}
}
