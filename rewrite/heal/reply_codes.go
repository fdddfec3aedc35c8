package heal

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite"
)

func replyCodes() rewrite.Rule {
	return rewrite.Rule{
		Name:  "reply-codes",
		Heals: "servers that send the wrong code for what they mean",
		Doc: "FireWall-1 answers NOOP with 220, and ZMailer HELP with 241: the rule changes these to 250 and 214. The option `codes` " +
			"lists refusals that mean something else: a code and a regular expression for the text, and the code that replaces it, as in " +
			"{ \"550 does not match IP\" = \"451\" }; a sender then keeps the message and tries again. The expression must match a line " +
			"of the text. If several entries match, the first in alphabetical order counts. Refusals stay refusals, in a greeting too. " +
			"An enhanced status code gets the class of the new code.",
		Symptoms: []string{"550 Quoted name does not match IP Address"},
		Source:   "rapid7/recog, SMTP banners and NOOP (220, 241); KB Q317099 (550 for a DNS failure); RFC 5321, 4.2.1",
		Entries:  []string{"L53", "L86", "L116"},
		Options: []rewrite.Option{{Name: "codes", Default: map[string]string{},
			Doc: "refusals that get another code, as in { \"550 does not match IP\" = \"451\" }"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			table, err := readCodes(o.Table("codes"))
			if err != nil {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "codes", Err: err}
			}
			a := rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbNOOP, rewrite.VerbHELP), Reply: func(t *rewrite.Turn) { mendCode(t, table) }}
			if len(table) > 0 {
				a.Refusals = rewrite.EveryVerb
			}
			return a, nil
		},
	}
}

// A codeChange is one entry of the option codes.
type codeChange struct {
	from, to int
	text     *regexp.Regexp // matches a line of the text; nil: any
}

// readCodes parses the option codes. The changes are in the order of their keys.
func readCodes(given map[string]string) ([]codeChange, error) {
	var list []codeChange
	for _, key := range slices.Sorted(maps.Keys(given)) {
		code, pattern, _ := strings.Cut(key, " ")
		c := codeChange{}
		var ok bool
		if c.from, ok = refusalCode(code); !ok {
			return nil, fmt.Errorf(`%q does not begin with the code of a refusal, 400 to 599; write for example { "550 does not match IP" = "451" }`, key)
		}
		if c.to, ok = refusalCode(given[key]); !ok {
			return nil, fmt.Errorf("%q is to become %q, which is not the code of a refusal, 400 to 599", key, given[key])
		}
		if c.from == c.to {
			return nil, fmt.Errorf("%q is to become %q, which it is already", key, given[key])
		}
		if pattern != "" {
			re, err := regexp.Compile(pattern)
			if err != nil {
				return nil, fmt.Errorf("%q is not a regular expression (RE2): %w", pattern, err)
			}
			c.text = re
		}
		list = append(list, c)
	}
	return list, nil
}

// refusalCode parses a reply code of 400 to 599.
func refusalCode(text string) (code int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && len(text) == 3 && 400 <= n && n <= 599
}

func mendCode(t *rewrite.Turn, table []codeChange) {
	r := t.Reply()
	switch {
	case t.Lost():
		return
	case t.Verb() == rewrite.VerbNOOP && r.Code == 220:
		r.Code = 250
		return
	case t.Verb() == rewrite.VerbHELP && r.Code == 241:
		r.Code = 214
		return
	}
	for _, c := range table {
		if c.from == r.Code && (c.text == nil || slices.ContainsFunc(r.Lines, c.text.MatchString)) {
			setRefusal(r, c.to)
			return
		}
	}
}

// setRefusal sets the code of a refusal, and the class of its enhanced status codes.
func setRefusal(r *rewrite.Reply, code int) {
	r.Code = code
	mendStatus(r)
}

// mendStatus sets the class of each enhanced status code of a reply to the class of its
// code (RFC 2034, 4).
func mendStatus(r *rewrite.Reply) {
	class := byte('0' + r.Code/100)
	for i, text := range r.Lines {
		if status, _ := cutStatus(text); status != "" && status[0] != class {
			r.Lines[i] = string(class) + text[1:]
		}
	}
}
