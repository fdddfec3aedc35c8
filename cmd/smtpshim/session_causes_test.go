package main

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/proxy"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

// explaining is an instance with the route "in", which has rules.
func explaining(t *testing.T, rules string) *instance {
	t.Helper()
	c := readText(t, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\nrules = "+rules+"\n"+
		"[[route]]\nname = \"seen\"\nlisten = [\"127.0.0.1:2526\"]\nservers = [\"127.0.0.1:25\"]\nmode = \"observe\"\n"+
		"[[route]]\nname = \"plain\"\nlisten = [\"127.0.0.1:2527\"]\nservers = [\"127.0.0.1:25\"]\n")
	p := newInstance("", c, t.Output())
	t.Cleanup(func() { p.writer.Close() })
	return p
}

func TestAFailedSessionSaysWhyAndWhatHealsIt(t *testing.T) {
	p := explaining(t, `["fix-hello-name"]`)
	refused := func(code int, text string) failure {
		return failure{route: "in", outcome: vocabulary.OutcomeRefused, refused: proxy.Refusal{Verb: "MAIL", Code: code, Text: text}}
	}
	acted := refused(501, "5.5.4 Invalid Address")
	acted.acted = map[string]int{"fix-hello-name": 1}
	plain := refused(550, "SMTPUTF8 is required, but was not offered by host")
	plain.route = "plain"
	gone := refused(501, "5.5.4 Invalid Address")
	gone.route = "gone"
	seen := refused(501, "5.5.4 Invalid Address")
	seen.route, seen.would = "seen", map[string]int{"fix-hello-name": 1}
	login := refused(535, "5.7.139 Authentication unsuccessful, basic authentication is disabled.")
	login.refused.Means, login.refused.Do = "login by password is turned off", "use OAuth"
	for _, c := range []struct {
		name  string
		f     failure
		rule  string
		means string
		do    string
		guess bool
	}{
		{"a rule that is not in force", refused(552, "Too many recipients"), "too-many-recipients", "this is known of ", `add "too-many-recipients" to rules of the route in, `, false},
		{"a rule in force that did not act", refused(501, "5.5.4 Invalid Address"), "fix-hello-name", "this is known of ", "is in force on this route, and found nothing to act on", false},
		{"a rule that needs options", refused(550, "SMTPUTF8 is required, but was not offered by host"), "hide-keywords", "this is known of ", `add "hide-keywords" to rules of the route in, and its options, which "smtpshim rules hide-keywords" lists, and reload`, false},
		{"a route without rules of its own", plain, "hide-keywords", "this is known of ", `add "hide-keywords" to rules of the route plain, which are ["standard"] if the file has none, and its options, `, false},
		{"a rule that is observed", seen, "fix-hello-name", "this is known of ", `would have acted in this session, and the route seen only observes: remove mode = "observe", and reload`, false},
		{"a rule that acted", acted, "fix-hello-name", "this is known of ", "has acted in this session", false},
		{"a route that is gone", gone, "fix-hello-name", "this is known of ", `write "fix-hello-name" into rules of the route, unless it is in force there`, false},
		{"a refusal that the proxy knows", login, "", "login by password is turned off", "use OAuth", false},
		{"an everyday refusal", refused(550, "5.1.1 User unknown"), "", "the server does not know the recipient", "correct the address", false},
		{"an unknown refusal", refused(599, "Xyzzy"), "", "mail was refused, and not accepted later in the session; nothing is known of this refusal", "read the reply", false},
		{"an error", failure{route: "in", outcome: vocabulary.OutcomeServerUnreachable, while: "connecting to the server", err: "dial tcp 192.0.2.25:25: connect: connection refused"},
			"", "there is no connection to the server", "check its address and port", false},
		{"an error that is known, and a reply that is guessed", failure{route: "in", outcome: vocabulary.OutcomeServerUnreachable, err: "dial tcp 192.0.2.25:25: connect: connection refused",
			refused: proxy.Refusal{Verb: "MAIL", Code: 505, Text: "You must please issue the STARTTLS command first"}}, "", "there is no connection to the server", "check its address and port", false},
		{"an end that is known", failure{route: "in", outcome: vocabulary.OutcomeServerLost, while: "waiting for the reply to ehlo", err: "EOF"},
			"fall-back-to-helo", "the server hung up on EHLO", `add "fall-back-to-helo" to rules of the route in`, true},
		{"an end that a rule in force would have healed", failure{route: "in", outcome: vocabulary.OutcomeServerLost, while: "waiting for the reply to mail", err: "we said 501 Invalid Address"},
			"", "the server hung up", "look at the last command before the end", false},
		{"any other end", failure{route: "in", outcome: vocabulary.OutcomeServerLost, while: "waiting for the reply to data", err: "EOF"},
			"", "the server hung up", "look at the last command before the end", false},
	} {
		list := p.causesOf(c.f)
		if list == nil {
			t.Errorf("%s: nothing", c.name)
			continue
		}
		if got := list[0]; got.Rule != c.rule || !strings.HasPrefix(got.Means, c.means) || !strings.Contains(got.Do, c.do) || got.Guess != c.guess {
			t.Errorf("%s: %+v, want %q, %q, %q, %v", c.name, list, c.rule, c.means, c.do, c.guess)
		}
		if len(list) > mostCauses {
			t.Errorf("%s: %d causes", c.name, len(list))
		}
	}
}

func TestAdviceForARouteThatObservesIsToHaveItsRulesAct(t *testing.T) {
	p := explaining(t, "[\"fix-hello-name\", \"fall-back-to-helo\"]\nmode = \"observe\"")
	for _, c := range []struct {
		name     string
		end      proxy.Ending
		rule, do string
	}{
		{"a rule that would have acted", proxy.Ending{Outcome: vocabulary.OutcomeRefused, Refused: proxy.Refusal{Verb: "MAIL", Code: 501, Text: "5.5.4 Invalid Address"},
			Would: proxy.Would{"fix-hello-name": {Times: 1}}}, "fix-hello-name", `would have acted in this session, and the route in only observes: remove mode = "observe"`},
		{"a rule that found nothing", proxy.Ending{Outcome: vocabulary.OutcomeRefused, Refused: proxy.Refusal{Verb: "MAIL", Code: 501, Text: "5.5.4 Invalid Address"}},
			"fix-hello-name", "is observed on this route, and found nothing to act on"},
		{"another rule", proxy.Ending{Outcome: vocabulary.OutcomeRefused, Refused: proxy.Refusal{Verb: "RCPT", Code: 552, Text: "Too many recipients"}},
			"too-many-recipients", `add "too-many-recipients" to rules of the route in`},
		{"a guess that the rule bears out", proxy.Ending{Outcome: vocabulary.OutcomeServerLost, While: "waiting for the reply to ehlo", Would: proxy.Would{"fall-back-to-helo": {Times: 1}}},
			"fall-back-to-helo", "would have acted in this session"},
		{"a guess of which the rule found nothing", proxy.Ending{Outcome: vocabulary.OutcomeServerLost, While: "waiting for the reply to ehlo"}, "", "look at the last command"},
	} {
		f, ok := failureOf(journal.Entry{Route: "in", Ended: true, End: c.end})
		if !ok {
			t.Fatalf("%s: nothing failed", c.name)
		}
		if list := p.causesOf(f); len(list) == 0 || list[0].Rule != c.rule || !strings.Contains(list[0].Do, c.do) {
			t.Errorf("%s: %+v, want %q, %q", c.name, list, c.rule, c.do)
		}
	}
}

func TestEveryFailureHasAReasonAndAdvice(t *testing.T) {
	p := explaining(t, "[]")
	for _, o := range vocabulary.Outcomes() {
		list := p.causesOf(failure{route: "in", outcome: o})
		if !o.Failed() {
			if list != nil {
				t.Errorf("%s is well, and has %+v", o, list)
			}
			continue
		}
		if len(list) != 1 || list[0].Means == "" || list[0].Do == "" || strings.Contains(list[0].Means, "`") {
			t.Errorf("%s: %+v", o, list)
		}
	}
	known, healing := heal.Names(), explaining(t, `["fall-back-to-helo"]`)
	if list := healing.causesOf(failure{route: "in", outcome: vocabulary.OutcomeServerLost, while: "waiting for the reply to ehlo"}); len(list) != 1 || list[0].Guess {
		t.Errorf("a rule in force has looked, and is guessed: %+v", list)
	}
	for _, e := range endings {
		for _, o := range e.outcomes {
			list := p.causesOf(failure{route: "in", outcome: o, while: e.while})
			if len(list) != 1 || list[0].Rule != e.rule || list[0].Source == "" || !strings.Contains(strings.Join(known, " "), e.rule) {
				t.Errorf("%s %s: %+v", o, e.while, list)
			}
		}
		verb := e.while[strings.LastIndexByte(e.while, ' ')+1:]
		if !strings.Contains(" "+strings.Join(proxy.Verbs(), " ")+" ", " "+verb+" ") {
			t.Errorf("nobody waits for the reply to %s", verb)
		}
	}
}

// A line of the log is explained in the words of the page.
func TestALineOfTheLogIsExplainedAsThePageDoes(t *testing.T) {
	p := explaining(t, "[]")
	for _, o := range vocabulary.Outcomes() {
		told := outcomeCauses(fmt.Sprintf("level=WARN msg=session outcome=%s messages=0", o), nil)
		if len(told) > 0 != o.Failed() {
			t.Errorf("%s is told: %+v", o, told)
		}
		if list := p.causesOf(failure{route: "in", outcome: o}); len(told) > 0 && (told[0].Means != list[0].Means || !strings.HasPrefix(told[0].Do, list[0].Do+"; ")) {
			t.Errorf("%s: %+v, on the page %+v", o, told, list)
		}
	}
	for _, e := range endings {
		for _, form := range []string{`level=WARN msg=session outcome=%s while=%q err=EOF`, `{"msg":"session","outcome":"%s","while":%q,"err":"EOF"}`} {
			line := fmt.Sprintf(form, e.outcomes[0], e.while)
			told, shown := newExplainer().causesOf(line), p.causesOf(failure{route: "in", outcome: e.outcomes[0], while: e.while})
			if len(told) != 1 || told[0].Rule != e.rule || !told[0].Guess || told[0].Means != shown[0].Means || strings.Contains(told[0].Do, "put smtpshim between") {
				t.Errorf("%s: %+v, on the page %+v", line, told, shown)
			}
		}
	}
	f := failure{route: "in", outcome: vocabulary.OutcomeRefused, refused: proxy.Refusal{Verb: "MAIL", Code: 501, Text: "5.5.4 Invalid Address"}}
	logged := newExplainer().causesOf(`outcome=refused refused=MAIL code=501 text="5.5.4 Invalid Address"`)
	if shown := p.causesOf(f); logged[0].Rule != shown[0].Rule || logged[0].Means != shown[0].Means {
		t.Errorf("%+v, on the page %+v", logged, shown)
	}
}

func TestAdviceForARunningSmtpshimDoesNotSayToPutOneThere(t *testing.T) {
	at := explaining(t, "[]").config.Load().Routes[0]
	var causes []cause
	for _, r := range heal.Table() {
		causes = append(causes, ruleCause(r))
	}
	for _, o := range ordinaryRefusals() {
		causes = append(causes, cause{Means: o.means, Do: o.do})
	}
	for _, c := range causes {
		for _, at := range []*config.Route{at, nil} {
			if do := adviceHere(c, failure{}, at); do == "" || strings.Contains(do, "put smtpshim") {
				t.Errorf("%s: %s", c.Means, do)
			}
		}
	}
}

func TestWhatWentWellIsNotExplained(t *testing.T) {
	for _, e := range []journal.Entry{
		{Route: "in", Ended: true, End: proxy.Ending{Outcome: vocabulary.OutcomeOK}},
		{Route: "in"}, // under way
	} {
		if f, ok := failureOf(e); ok {
			t.Errorf("%+v is a failure of %+v", f, e)
		}
	}
	partial := journal.Entry{Route: "in", Ended: true, End: proxy.Ending{Outcome: vocabulary.OutcomeOK, Refused: proxy.Refusal{Verb: "RCPT", Code: 550}}}
	if _, ok := failureOf(partial); !ok {
		t.Error("a refused recipient is no failure")
	}
}

func BenchmarkCausesOfAFailedSession(b *testing.B) {
	f := failure{outcome: vocabulary.OutcomeRefused, refused: proxy.Refusal{Verb: "MAIL", Code: 550, Text: strings.Repeat("5.7.1 not here ", 13)}}
	for b.Loop() {
		f.causes(func(string) bool { return false })
	}
}
