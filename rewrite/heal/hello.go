package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func maskedEHLO() rewrite.Rule {
	return rewrite.Rule{
		Name:  "masked-ehlo",
		Heals: "firewalls that change EHLO to NOOP, or overwrite keywords with X's, as Cisco's PIX does",
		Doc: "Behind such a firewall, EHLO gets the server's reply to NOOP, a lone `250 OK`, and the server then refuses MAIL because it " +
			"has got no EHLO or HELO. The rule sends HELO, and the client gets the reply to it. If the server refuses HELO with 503, the " +
			"lone OK was its reply to EHLO: the rule sends EHLO on a fresh connection and lets the reply pass, as all such replies for a " +
			"day. It removes keywords that consist of X's only.",
		Symptoms: []string{"250-XXXXXXXX"},
		Source:   "KB320027; nmap service probes (ArGoSoft behind PIX)",
		Entries:  []string{"L07"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				State:   func() any { return new(maskedState) },
				Replies: rewrite.SetOf(rewrite.VerbEHLO), Reply: seeThrough,
				Offer: func(_ rewrite.Session, e rewrite.Extensions) {
					e.DropFunc(func(name, _ string) bool { return isPainted(name) })
				},
			}, nil
		},
	}
}

// A maskedState is what a session knows about an EHLO that was answered with a lone OK.
type maskedState struct {
	helo  bool // HELO was sent in its place and awaits a reply
	plain bool // the server itself answers EHLO with a lone OK
}

// answersOK is the key under which a server is remembered, for a day, that answers EHLO
// with a lone OK.
const answersOK = "answers OK"

func seeThrough(t *rewrite.Turn) {
	r := t.Reply()
	if t.Lost() || !t.Untouched() {
		return
	}
	if rewrite.ParseVerb(t.Line()) == rewrite.VerbEHLO {
		if r.Code != 250 || len(r.Lines) != 1 || !isLoneOK(r.Lines[0]) || t.Remembers(answersOK) {
			return
		}
		if state := t.State().(*maskedState); !state.plain {
			state.helo = true
			t.Again(heloFor(t))
		}
		return
	}
	state := t.State().(*maskedState)
	if !state.helo {
		return
	}
	state.helo = false
	switch {
	case r.Code == 250:
		r.Lines = r.Lines[:1] // a client would take further lines for keywords
	case r.Code == 503 && t.Fresh() == 0:
		state.plain = true
		t.Remember(answersOK, dayLong)
		t.AgainAfresh("EHLO " + string(rewrite.Argument(t.Line())))
	}
}

// isLoneOK reports whether text is a reply to NOOP: OK, with or without an enhanced
// status code.
func isLoneOK(text string) bool {
	_, text = cutStatus(text)
	return strings.EqualFold(strings.Trim(text, " "), "OK")
}

// isPainted reports whether a keyword was masked: it is a row of X's, and may end with
// its own last letter in upper case.
func isPainted(name string) bool {
	left := strings.TrimLeft(name, "X")
	return len(name)-len(left) >= 3 && (left == "" || len(left) == 1 && 'A' <= left[0] && left[0] <= 'Z')
}

func heloToEHLO() rewrite.Rule {
	return rewrite.Rule{
		Name:  "helo-to-ehlo",
		Heals: "printers and old programs that send HELO to a server that accepts logins only after EHLO",
		Doc: "If the server is known to support ESMTP, the rule sends it EHLO in place of the client's HELO, and the client gets the " +
			"first line of the reply. A client that sends AUTH without having been offered it can then log in. If the server refuses " +
			"EHLO, the rule sends HELO. No rule does what a client does not do by itself: a device that has no password does not log in.",
		Symptoms: []string{"503 5.5.1 Error: authentication not enabled", "530 5.7.0 Authentication required", "503 AUTH command used when not advertised"},
		Source:   "simonrob/email-oauth2-proxy#232; 4IceG/luci-app-sms-tool-js#46; Exim specification, allow_auth_unadvertised; nodemailer/nodemailer#18; RFC 5321, 4.1.1.1",
		Entries:  []string{"L22", "L129"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				Commands: rewrite.SetOf(rewrite.VerbHELO), Command: func(t *rewrite.Turn) {
					saysBoth := !t.Introduced() && t.Hello() != "" // the client has sent EHLO before, and it was refused
					if name := rewrite.Argument(t.Line()); len(name) > 0 && !saysBoth && t.SpeaksESMTP() {
						t.SetLine("EHLO " + string(name))
					}
				},
				Replies: rewrite.SetOf(rewrite.VerbHELO), Reply: answerHELO,
			}, nil
		},
	}
}

func answerHELO(t *rewrite.Turn) {
	if rewrite.ParseVerb(t.Line()) != rewrite.VerbEHLO {
		return
	}
	switch r := t.Reply(); {
	case t.Lost() && t.Untouched() && t.Fresh() == 0:
		t.AgainAfresh(heloFor(t))
	case t.Lost():
	case r.Code == 250 && len(r.Lines) == 1 && isLoneOK(r.Lines[0]) && t.Untouched() && t.Fresh() == 0:
		t.AgainAfresh(heloFor(t)) // a firewall may have replaced EHLO by NOOP: see masked-ehlo
	case r.Code == 250:
		r.Lines = r.Lines[:1]
	case r.Code >= 500:
		t.Again(heloFor(t))
	}
}

func retryEHLO() rewrite.Rule {
	return rewrite.Rule{
		Name:  "retry-ehlo",
		Heals: "Office 365, which refuses the first EHLO of some clients with 500 5.3.3, and accepts the second",
		Doc: "If an EHLO or HELO gets 500 with the enhanced status code 5.3.3, the rule sends it once more, once in a session. The rule " +
			"also hides the cause if the server has received something else before, such as a PROXY header that it does not expect.",
		Symptoms: []string{"500 5.3.3 Unrecognized command '????'"},
		Source:   "muquit/mailsend#152",
		Entries:  []string{"L128"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				State:    func() any { return new(bool) }, // whether a hello was repeated in this session
				Refusals: hellos, Reply: func(t *rewrite.Turn) {
					if t.Lost() || t.Reply().Code != 500 || !strings.HasPrefix(t.Reply().Lines[0], "5.3.3 ") {
						return
					}
					if done := t.State().(*bool); !*done {
						*done = true
						t.Again(string(t.Line()))
					}
				},
			}, nil
		},
	}
}
