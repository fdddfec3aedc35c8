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
