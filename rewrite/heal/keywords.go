package heal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func plainKeywords() rewrite.Rule {
	return rewrite.Rule{
		Name:  "plain-keywords",
		Heals: "strict clients that fail on an EHLO reply with `AUTH=LOGIN`, AUTH without a mechanism, text in brackets or a last line OK",
		Doc: "Exchange, Domino, Courier and others list keywords that RFC 5321 does not allow, and clients give up or do not log in. AUTH " +
			"becomes one line with every mechanism of the lines AUTH and AUTH=. If these have none, it gets those of X-EXPS; if X-EXPS " +
			"has none either, AUTH is removed. Other keywords with `=` get a blank instead, or are removed if the server also offers " +
			"them with a blank. Keywords become upper case, with one blank between their words. The rule removes the line OK, text in " +
			"brackets, and everything that is no keyword. Old clients need AUTH=LOGIN: exclude them from the rule with the option " +
			"`clients`.",
		Symptoms: []string{"Cannot connect to server. (EHLO keyword contains invalid character)",
			"Received invalid EHLO response line: Unexpected character in EHLO keyword", "No compatible authentication mechanisms found."},
		Source: "RFC 5321, 4.1.1.1; thunderbird/thunderbird-android#6062 and #8715; svarshavchik/courier#50; mailcow/mailcow-dockerized#1619; jakartaee/mail-api#242; jstedfast/MailKit#603; KB257569; " +
			"Exchange 5.5 SP1 help, How ESMTP Works; Postfix HISTORY 20010121 and 20010515",
		Entries: []string{"L26", "L30", "L112"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) { spellPlainly(e) }}, nil
		},
	}
}

// A keywordLine is a parsed line of an EHLO reply.
type keywordLine struct {
	name   string // in upper case
	equals bool   // "=" follows the name
	params string // separated by one blank
}

// readKeyword parses a line. ok is false if it has no keyword (RFC 5321, 4.1.1.1).
func readKeyword(line string) (k keywordLine, ok bool) {
	line = strings.Join(strings.Fields(line), " ")
	if at := strings.Index(line, " ["); at >= 0 && strings.HasSuffix(line, "]") {
		line = line[:at]
	}
	end := strings.IndexAny(line, " =")
	if end < 0 {
		end = len(line)
	}
	k.name = strings.ToUpper(line[:end])
	if end < len(line) {
		k.equals, k.params = line[end] == '=', strings.Trim(line[end+1:], " ")
	}
	return k, isKeywordName(k.name)
}

func isKeywordName(name string) bool {
	return name != "" && name[0] != '-' && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

// spellPlainly writes the keywords in the form of RFC 5321 and RFC 4954.
func spellPlainly(e rewrite.Extensions) {
	was := e.Lines()
	if len(was) == 0 {
		return
	}
	var lines, mechanisms []string
	var read []keywordLine
	at := -1 // the index of AUTH
	for _, line := range was {
		k, ok := readKeyword(line)
		switch {
		case !ok, k.name == "OK" && k.params == "":
			continue
		case k.name == "AUTH":
			mechanisms = addMechanisms(mechanisms, k.params)
			if at < 0 {
				at, read = len(read), append(read, keywordLine{name: "AUTH"})
			}
			continue
		}
		read = append(read, k)
	}
	if len(mechanisms) == 0 {
		for _, k := range read {
			if k.name == "X-EXPS" {
				mechanisms = addMechanisms(mechanisms, k.params)
			}
		}
	}
	if at < 0 && len(mechanisms) > 0 {
		read = append(read, keywordLine{name: "AUTH"})
	}
	for _, k := range read {
		switch {
		case k.name == "AUTH" && len(mechanisms) == 0:
		case k.name == "AUTH":
			for _, line := range cutKeyword([]byte("AUTH " + strings.Join(mechanisms, " "))) { // in lines of at most 512 octets
				lines = append(lines, string(line))
			}
		case k.equals && slices.ContainsFunc(read, func(o keywordLine) bool { return o.name == k.name && !o.equals }):
		default:
			lines = append(lines, strings.TrimRight(k.name+" "+k.params, " "))
		}
	}
	setLines(e, was, lines)
}

// addMechanisms appends to all the mechanisms in params that it lacks, in upper case (RFC
// 4422, 3.1).
func addMechanisms(all []string, params string) []string {
	for m := range strings.FieldsSeq(strings.ToUpper(params)) {
		if isMechanism(m) && !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}

func isMechanism(word string) bool {
	return word != "" && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// setLines replaces the keyword lines was by lines.
func setLines(e rewrite.Extensions, was, lines []string) {
	if slices.Equal(was, lines) {
		return
	}
	e.DropFunc(func(string, string) bool { return true })
	e.Add(lines...)
}

func oneAuthLine() rewrite.Rule {
	return rewrite.Rule{
		Name:  "one-auth-line",
		Heals: "servers that offer AUTH in several lines with different mechanisms, of which clients read one",
		Doc: "The rule puts the mechanisms of all lines `AUTH ...` into the first of them, each once, if they fit into 512 octets; " +
			"otherwise all lines stay. A line `AUTH=...`, which old clients read, stays as it is.",
		Source:  "Postfix HISTORY 20051119; RFC 4954, 3",
		Entries: []string{"L27"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) { joinAuth(e) }}, nil
		},
	}
}

func joinAuth(e rewrite.Extensions) {
	found := 0
	e.DropFunc(func(name, _ string) bool {
		if name == "AUTH" {
			found++
		}
		return false
	})
	if found < 2 {
		return
	}
	was := e.Lines()
	var lines, mechanisms []string
	at := -1
	for _, line := range was {
		k, ok := readKeyword(line)
		if !ok || k.name != "AUTH" || k.equals {
			lines = append(lines, line)
			continue
		}
		mechanisms = addMechanisms(mechanisms, k.params)
		if at < 0 {
			at, lines = len(lines), append(lines, line)
		}
	}
	if len(was) == len(lines) || len(mechanisms) == 0 {
		return
	}
	if lines[at] = "AUTH " + strings.Join(mechanisms, " "); len(lines[at]) <= roomForText {
		setLines(e, was, lines)
	}
}

func offerAuth() rewrite.Rule {
	return rewrite.Rule{
		Name:  "offer-auth",
		Heals: "clients behind a firewall that takes AUTH out of the server's EHLO reply, as WatchGuard's Firebox does",
		Doc: "If the server's EHLO reply has no AUTH, the rule offers the mechanisms of the option `mechanisms`. That helps if the " +
			"firewall removes only the keyword and lets the command pass. If the server offers STARTTLS, and TLS with it has not begun, " +
			"the rule offers nothing: the server may accept logins only inside TLS.",
		Source:  "KB Q305007",
		Entries: []string{"L117"},
		Options: []rewrite.Option{{Name: "mechanisms", Default: []string{}, Doc: "what the server is known to take, as in [\"LOGIN\", \"PLAIN\"]"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			mechanisms := addMechanisms(nil, strings.Join(o.List("mechanisms"), " "))
			if len(mechanisms) == 0 {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "mechanisms", Err: errors.New(`no mechanism to offer is named; write for example mechanisms = ["LOGIN"]`)}
			}
			for _, m := range o.List("mechanisms") {
				if !isMechanism(strings.ToUpper(m)) {
					return rewrite.Actions{}, &rewrite.ConfigError{Option: "mechanisms", Err: fmt.Errorf("%q is not the name of a mechanism; write one such as LOGIN", m)}
				}
			}
			line := "AUTH " + strings.Join(mechanisms, " ")
			return rewrite.Actions{Offer: func(s rewrite.Session, e rewrite.Extensions) {
				if !e.Has("AUTH") && (s.ServerTLS() || !e.Has("STARTTLS")) {
					e.Add(line)
				}
			}}, nil
		},
	}
}
