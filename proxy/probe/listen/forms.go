package listen

import (
	"slices"

	"smtpshim/proxy/login/sasl"
)

// traits are the ways in which a server differs from a modern one.
type traits uint16

const (
	noTLS        traits = 1 << iota // offers no STARTTLS
	oldNames                        // also offers AUTH=LOGIN, XAUTH and NTLM
	oneLineHello                    // answers EHLO with one line
	noEHLO                          // refuses EHLO
	twoLines                        // answers with two lines, and a pause between them
	noESMTP                         // does not have ESMTP in its greeting
	noText                          // answers with a code and a blank
	otherPrompts                    // has other prompts in AUTH LOGIN
)

// A form is the way in which the listener behaves in a session.
type form struct {
	name, says string
	traits     traits

	// harder: the form is for a client that has delivered a message, to see whether it
	// still does. Otherwise it is for a client that has not.
	harder bool
	fits   need
	row    row // the finding if the client only delivers a message in this form; if harder, if it does not
}

// A need is what a client must have shown for a form to be of use.
type need uint8

const (
	always need = iota
	sawTLS
	sawLogin
	sawNeither // neither TLS nor AUTH, which HELO does not offer
)

// formTable has all forms in the order in which clients meet them. The first is a modern
// server.
var formTable = []*form{
	{name: "today", says: "a modern server"},
	{name: "no-tls", says: "a server without STARTTLS", traits: noTLS, fits: sawTLS, row: row{name: "needs-no-tls",
		setting: `client_tls.mode = "hide"`, means: "it fails if STARTTLS is offered, and gets through if not"}},
	{name: "old-names", says: "a server with AUTH=LOGIN, XAUTH and NTLM", traits: oldNames, row: row{name: "needs-old-names", entry: "L30",
		rule: "auth-spelling", option: `show = "both"`, means: "it gets through only if AUTH is offered in an old spelling, or NTLM or XAUTH is"}},
	{name: "one-line-hello", says: "a server whose reply to EHLO is one line", traits: oneLineHello, row: row{name: "needs-one-line", entry: "L80",
		rule: "one-line-replies", means: "it gets through only if the reply to EHLO is one line"}},
	{name: "plain-greeting", says: "a server whose greeting lacks the word ESMTP", traits: noESMTP, row: row{name: "needs-no-esmtp", entry: "L02",
		rule: "hide-esmtp", means: "it gets through only if the greeting lacks the word ESMTP, and sends HELO then"}},
	{name: "two-lines", says: "a server whose replies have two lines that arrive separately", traits: twoLines, harder: true, row: oneLineReader},
	{name: "no-esmtp", says: "a server whose greeting lacks the word ESMTP", traits: noESMTP, harder: true, row: needsESMTP},
	{name: "no-text", says: "a server whose replies have no text", traits: noText, harder: true, row: row{name: "needs-text", entry: "L61",
		rule: "reply-texts", means: "it does not get through if a reply has a code and no text"}},
	{name: "prompts", says: "a server with other prompts in AUTH LOGIN", traits: otherPrompts, harder: true, fits: sawLogin, row: row{name: "needs-prompts",
		entry: "L31", rule: "auth-prompts", means: "it compares the prompts of AUTH LOGIN, and gives up if they are not Username: and Password:"}},
	{name: "no-ehlo", says: "a server that refuses EHLO", traits: noEHLO, harder: true, fits: sawNeither, row: row{name: "needs-ehlo", entry: "L21",
		rule: "fall-back-to-helo", means: "it does not send HELO after EHLO was refused"}},
}

// needs returns the finding about a client that delivers its first message in this
// session's form.
func (s *session) needs() row {
	switch {
	case s.is&oldNames != 0 && s.hasFound(xauth.name):
		return row{}
	case s.is&oldNames != 0 && slices.Contains(s.can, "AUTH "+sasl.NTLM):
		return needsNTLM
	}
	return s.form.row
}

// A history is what the sessions of a client have shown, as far as it decides which forms
// fit.
type history struct{ tls, auth, login, ehlo bool }

func (h *history) add(more history) {
	h.tls, h.auth, h.login, h.ehlo = h.tls || more.tls, h.auth || more.auth, h.login || more.login, h.ehlo || more.ehlo
}

func (h history) has(n need) bool {
	return n == always || n == sawTLS && h.tls || n == sawLogin && h.login || n == sawNeither && !h.tls && !h.auth
}

// form returns the form of the next session: the first that fits and that the client has
// not met, or the first of all.
func (c *Caller) form() *form {
	for _, f := range formTable {
		if !c.tried[f.name] && c.mayMeet(f) {
			return f
		}
	}
	return formTable[0]
}

// next describes the form of the next session, if the client has not met it; "": it has
// met all that fit.
func (c *Caller) next() string {
	if f := c.form(); !c.tried[f.name] {
		return f.says
	}
	return ""
}

func (c *Caller) mayMeet(f *form) bool {
	if c.strict && !f.harder && f != formTable[0] {
		return false
	}
	return f.harder == (c.Through != "") && c.seen.has(f.fits)
}

// untried describes the forms that the client has not met yet.
func (c *Caller) untried() (list []string) {
	for _, f := range formTable {
		if !c.tried[f.name] && c.mayMeet(f) {
			list = append(list, f.says)
		}
	}
	return list
}
