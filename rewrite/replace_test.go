package rewrite_test

import (
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// replacing is a dialogue past its greeting, with one rule of [[route.replace]].
func replacing(t *testing.T, options map[string]any) *talk {
	t.Helper()
	const name = heal.ReplacePrefix + "it"
	compiled, errs := heal.Compile([]string{name}, map[string]map[string]any{name: options})
	if errs != nil {
		t.Fatal(errs)
	}
	return talkUnder(t, &rewrite.Policy{Rules: compiled})
}

// The engine judges what a replacement makes as it does any rule, and what it takes
// back passes as it came.
func TestWhatAReplacementMayNotMakeIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		match, with, line string
	}{
		{"^RCPT TO:.*", "NOOP", "RCPT TO:<b@example.com>"},
		{"^RCPT TO:.*", "", "RCPT TO:<b@example.com>"},
		{"^RCPT TO:.*", "DATA", "RCPT TO:<b@example.com>"},
		{"b", strings.Repeat("b", 4095), "RCPT TO:<b@example.com>"},
	} {
		k := replacing(t, map[string]any{"on": "command", "verbs": []string{"RCPT"}, "match": c.match, "with": c.with})
		k.hello()
		k.client("MAIL FROM:<a@example.net>", "MAIL FROM:<a@example.net>", "")
		k.server("250 ok", "", "250 ok")
		k.client(c.line, c.line, "")
		if len(k.broke) != 1 {
			t.Errorf("%q with %q is taken back %d times, want once: %q", c.match, c.with, len(k.broke), k.broke)
		}
	}
}

// A code applies to replies of its own kind alone, so that nothing has to be taken back.
func TestACodeOfAReplacementMakesNoYesOfARefusalNorTheReverse(t *testing.T) {
	for _, c := range []struct {
		code        int64
		reply, want string
	}{
		{250, "220 ok", "250 ok"},
		{250, "550 no", "550 no"},
		{450, "550 no", "450 no"},
		{550, "450 later", "550 later"},
		{450, "250 ok", "250 ok"},
	} {
		for _, command := range []string{"NOOP", "MAIL FROM:<a@example.net>"} {
			k := replacing(t, map[string]any{"on": "reply", "verbs": []string{"NOOP", "MAIL"}, "match": ".", "code": c.code})
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("250 mail.example.com", "", "250 mail.example.com")
			k.client(command, command, "")
			k.server(c.reply, "", c.want)
			if k.broke != nil {
				t.Errorf("code = %d, %s: taken back: %q", c.code, c.reply, k.broke)
			}
		}
	}
}

// The go-ahead to DATA keeps its code, and nothing has to be taken back.
func TestACodeOfAReplacementLeavesTheGoAhead(t *testing.T) {
	k := replacing(t, map[string]any{"on": "reply", "verbs": []string{"DATA"}, "match": ".", "code": int64(250)})
	k.hello()
	k.client("MAIL FROM:<a@example.net>", "MAIL FROM:<a@example.net>", "")
	k.server("250 ok", "", "250 ok")
	k.client("RCPT TO:<b@example.com>", "RCPT TO:<b@example.com>", "")
	k.server("250 ok", "", "250 ok")
	k.client("DATA", "DATA", "")
	k.server("354 go on", "", "354 go on")
	if k.broke != nil {
		t.Errorf("taken back: %q", k.broke)
	}
}

// What a client sends with AUTH and within its exchange is not looked at, whatever
// verbs the replacement has.
func TestAReplacementSeesNoPassword(t *testing.T) {
	verbs := slices.DeleteFunc(rewrite.VerbNames(), func(name string) bool {
		return slices.Contains([]string{"greeting", "end-of-data", "AUTH", "XAUTH", "X-EXPS", "TURN", "ATRN", "XCLIENT", "XFORWARD", "PROXY",
			"XEXCH50", "X-LINK2STATE"}, name)
	})
	k := replacing(t, map[string]any{"on": "command", "verbs": verbs, "match": ".*", "with": "5.7.0 no: $0", "code": int64(550)})
	for _, line := range []string{"AUTH PLAIN AGEAYg==", "XAUTH LOGIN YQ==", "auth login"} {
		k.client(line, line, "")
		k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
		k.client("YQ==", "YQ==", "")
		k.server("535 no", "", "535 no")
	}
	k.client("NOOP x", "", "550 5.7.0 no: NOOP x")
}

// No rule has a name that a replacement could have.
func TestNoRuleIsNamedLikeAReplacement(t *testing.T) {
	for _, r := range heal.Table() {
		if strings.HasPrefix(r.Name, heal.ReplacePrefix) {
			t.Errorf("%s begins with %s", r.Name, heal.ReplacePrefix)
		}
	}
	for _, s := range heal.Sets() {
		if strings.HasPrefix(s.Name, heal.ReplacePrefix) {
			t.Errorf("%s begins with %s", s.Name, heal.ReplacePrefix)
		}
	}
}

// replaced compiles one rule of [[route.replace]]; what is not given has a default.
func replaced(given map[string]any) []error {
	const name = heal.ReplacePrefix + "it"
	_, errs := heal.Compile([]string{name}, map[string]map[string]any{name: given})
	return errs
}

// A replacement that could never act, or that the engine would take back, is refused, and
// the error says what would be right.
func TestAReplacementThatCannotBeIsRefused(t *testing.T) {
	type options = map[string]any
	on := func(what, match string, more ...any) options {
		o := options{"on": what, "match": match, "verbs": []string{"NOOP"}, "with": "x"}
		for i := 0; i < len(more); i += 2 {
			o[more[i].(string)] = more[i+1]
		}
		return o
	}
	verbs := func(names ...string) []string { return names }
	for _, c := range []struct {
		given options
		says  string // "": it is right
	}{
		{options{}, `it is missing; write on = "command" or on = "reply"`},
		{options{"on": "reply"}, `it is missing; write for example match = "^NOOP .*"`},
		{on("reply", "("), `"(" is not a regular expression (RE2)`},
		{on("reply", ".", "verbs", []string{}), `no verb is named, so that the rule would never act`},
		{on("reply", ".", "verbs", verbs("NOOP", "XYZZY")), `"XYZZY" is no verb that the proxy knows; write "other"`},
		{on("command", ".", "verbs", verbs("greeting")), `"greeting" is no command; only on = "reply" can have it`},
		{on("command", ".", "verbs", verbs("end-of-data")), `"end-of-data" is no command`},
		{on("reply", ".", "verbs", verbs("greeting", "End-Of-Data", "auth")), ""},
		{on("command", ".", "verbs", verbs("auth")), `"auth" has a password in it, and is never looked at`},
		{on("command", ".", "verbs", verbs("XAUTH")), `"XAUTH" has a password in it`},
		{on("command", ".", "verbs", verbs("X-EXPS")), `"X-EXPS" has a password in it`},
		{on("command", ".", "verbs", verbs("BDAT")), `"BDAT" passes as it is, since octets follow it`},
		{on("command", ".", "verbs", verbs("BDAT"), "code", int64(502)), ""},
		{on("reply", ".", "verbs", verbs("BDAT")), ""},
		{on("reply", ".", "with", "a\rb"), `has a CR, LF or NUL in it`},
		{on("reply", ".", "with", "a\nb"), `has a CR, LF or NUL in it`},
		{on("reply", ".", "with", "a\x00b"), `has a CR, LF or NUL in it`},
		{on("reply", "(a)", "with", "$1 ${1} $$ $0"), ""},
		{on("reply", "(?P<word>a)", "with", "$word ${word}"), ""},
		{on("reply", "(a)", "with", "$2"), `"$2" has $2 in it, and "(a)" has no such brackets; write ${1}x for $1 before a letter`},
		{on("reply", "(a)", "with", "${2}"), `has ${2} in it`},
		{on("reply", "(a)", "with", "$1x"), `has $1x in it`},
		{on("reply", "^250 ", "with", "550 no"), `"550 no" begins with a code, which would be taken for text; write the text alone, and code = 550`},
		{on("reply", "^550 ", "with", "550 no"), ""},
		{on("reply", ".", "with", "5500 messages"), ""},
		{on("command", ".", "with", "550 no"), ""},
		{on("reply", ".", "with", "$0"), `it is missing, and so is code: the rule would change nothing`},
		{on("reply", ".", "with", "$0", "code", int64(450)), ""},
		{on("command", ".", "with", "$0", "code", int64(450)), `it is missing: the text of the reply that refuses the command`},
		{on("command", ".", "code", int64(400)), ""},
		{on("command", ".", "code", int64(399)), `399 is no code of a refusal, 400 to 599; only the server accepts a command`},
		{on("command", ".", "code", int64(250)), `250 is no code of a refusal`},
		{on("reply", ".", "code", int64(199)), `199 is no code that a reply can get`},
		{on("reply", ".", "code", int64(300)), `300 is no code that a reply can get`},
		{on("reply", ".", "code", int64(200)), ""},
		{on("reply", ".", "code", int64(299)), ""},
		{on("reply", ".", "code", int64(400)), ""},
		{on("reply", ".", "verbs", verbs("greeting"), "code", int64(250)), `250 is no code of a positive greeting, which is 220`},
		{on("reply", ".", "verbs", verbs("greeting"), "code", int64(220)), ""},
		{on("reply", ".", "verbs", verbs("STARTTLS"), "code", int64(250)), `250 would accept STARTTLS, whose code stays`},
		{on("reply", ".", "verbs", verbs("STARTTLS"), "code", int64(454)), ""},
		{on("reply", "^5..", "code", int64(250)), `"^5.." matches replies of 5xx, and none of them can get 250`},
		{on("reply", "^4..", "code", int64(250)), `matches replies of 4xx`},
		{on("reply", "^3..", "code", int64(450)), `matches replies of 3xx`},
		{on("reply", "^2..", "code", int64(450)), `matches replies of 2xx`},
		{on("reply", "^5..|^2..", "code", int64(250)), ""},
		{on("reply", "^5..", "code", int64(450)), ""},
		{on("reply", "^5.. x"), ""},
		{on("command", "^5", "code", int64(550)), ""},
		{on("command", "^2", "code", int64(550)), ""},
	} {
		errs := replaced(c.given)
		switch {
		case c.says == "" && errs != nil:
			t.Errorf("%v: %v", c.given, errs)
		case c.says != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.says)):
			t.Errorf("%v: %v, not %q", c.given, errs, c.says)
		}
	}
	for _, name := range []string{"TURN", "ATRN", "XCLIENT", "XFORWARD", "PROXY", "XEXCH50", "X-LINK2STATE"} {
		for _, what := range []string{"command", "reply"} {
			if errs := replaced(on(what, ".", "verbs", verbs(name))); len(errs) != 1 || !strings.Contains(errs[0].Error(), "never reaches a rule") {
				t.Errorf("%s, %s: %v", name, what, errs)
			}
		}
	}
}

// A name may be there twice, and taken away again, as that of any rule.
func TestAReplacementIsTakenAwayByItsName(t *testing.T) {
	const name = heal.ReplacePrefix + "it"
	options := map[string]map[string]any{name: {"on": "reply", "match": ".", "verbs": []string{"NOOP"}, "with": "x"}}
	for _, c := range []struct {
		names []string
		want  []string
	}{
		{[]string{name, name}, []string{name}},
		{[]string{"size-zero", name, "-" + name}, []string{"size-zero"}},
	} {
		rules, errs := heal.Compile(c.names, options)
		if errs != nil || !slices.Equal(rules.Names(), c.want) {
			t.Errorf("%q: %q, %v", c.names, rules.Names(), errs)
		}
	}
	_, errs := heal.Compile([]string{"size-zero", "-" + name}, nil)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "removes a rule that no name before it adds") {
		t.Errorf("a replacement that is not there is taken away: %v", errs)
	}
}
