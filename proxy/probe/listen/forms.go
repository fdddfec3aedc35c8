package listen

import (
	"slices"

	"smtpshim/proxy/login/sasl"
)

// traits are in what a server differs from those of today.
type traits uint16

const (
	noTLS        traits = 1 << iota // it offers no STARTTLS
	oldNames                        // it offers AUTH=LOGIN, XAUTH and NTLM too
	oneLineHello                    // its answer to EHLO is one line
	noEHLO                          // it refuses EHLO
	twoLines                        // its replies have two lines, with a pause between
	noESMTP                         // its greeting lacks the word
	noText                          // its replies are a code and a blank
	otherPrompts                    // its AUTH LOGIN asks in other words
)

// A form is what a server is like in a session.
type form struct {
	name, says string
	traits     traits

	// harder: it is met by a client that comes through, to see whether it does here too.
	// Else it is met by one that does not.
	harder bool
	fits   need
	row    row // what it means if a client comes through here alone; harder: if it does not
}

// need is what has to have been seen of a client for a form to be worth a session.
type need uint8

const (
	always need = iota
	sawTLS
	sawLogin
	sawNeither // AUTH and TLS are to be had after EHLO alone
)

// forms are what a client meets, in this order. The first is that of a server of today.
func forms() []*form { return formTable }

var formTable = []*form{
	{name: "today", says: "a server of today"},
	{name: "no-tls", says: "a server without STARTTLS", traits: noTLS, fits: sawTLS, row: row{name: "needs-no-tls",
		setting: `client_tls.mode = "hide"`, means: "it fails where STARTTLS is offered, and comes through where it is not"}},
	{name: "old-names", says: "a server with AUTH=LOGIN, XAUTH and NTLM", traits: oldNames, row: row{name: "needs-old-names", entry: "L30",
		rule: "auth-spelling", option: `show = "both"`, means: "it comes through only where AUTH is offered in an old spelling, or NTLM or XAUTH is"}},
	{name: "one-line-hello", says: "a server whose answer to EHLO is one line", traits: oneLineHello, row: row{name: "needs-one-line", entry: "L80",
		rule: "one-line-replies", means: "it comes through only where the answer to EHLO is one line"}},
	{name: "plain-greeting", says: "a server whose greeting lacks the word ESMTP", traits: noESMTP, row: row{name: "needs-no-esmtp", entry: "L02",
		rule: "hide-esmtp", means: "it comes through only where the greeting lacks the word ESMTP, and says HELO there"}},
	{name: "two-lines", says: "a server whose replies have two lines that come apart", traits: twoLines, harder: true, row: oneLineReader},
	{name: "no-esmtp", says: "a server whose greeting lacks the word ESMTP", traits: noESMTP, harder: true, row: needsESMTP},
	{name: "no-text", says: "a server whose replies have no text", traits: noText, harder: true, row: row{name: "needs-text", entry: "L61",
		rule: "reply-texts", means: "it does not come through where a reply has a code and no text"}},
	{name: "prompts", says: "a server whose AUTH LOGIN asks in other words", traits: otherPrompts, harder: true, fits: sawLogin, row: row{name: "needs-prompts",
		entry: "L31", rule: "auth-prompts", means: "it compares the prompts of AUTH LOGIN, and gives up where they are not Username: and Password:"}},
	{name: "no-ehlo", says: "a server that refuses EHLO", traits: noEHLO, harder: true, fits: sawNeither, row: row{name: "needs-ehlo", entry: "L21",
		rule: "fall-back-to-helo", means: "it does not say HELO where EHLO is refused"}},
}

// needs is what the form means in which a client comes through for the first time.
func (s *session) needs() row {
	switch {
	case s.is&oldNames != 0 && s.hasFound(xauth.name):
		return row{}
	case s.is&oldNames != 0 && slices.Contains(s.can, "AUTH "+sasl.NTLM):
		return needsNTLM
	}
	return s.form.row
}

// history is what the sessions of a client have shown that decides which forms fit.
type history struct{ tls, auth, login, ehlo bool }

func (h *history) add(more history) {
	h.tls, h.auth, h.login, h.ehlo = h.tls || more.tls, h.auth || more.auth, h.login || more.login, h.ehlo || more.ehlo
}

func (h history) has(n need) bool {
	return n == always || n == sawTLS && h.tls || n == sawLogin && h.login || n == sawNeither && !h.tls && !h.auth
}

// form is the one of the next session: the first that the client has not met and that
// fits, or the first of all.
func (c *Caller) form() *form {
	for _, f := range formTable {
		if !c.tried[f.name] && c.mayMeet(f) {
			return f
		}
	}
	return formTable[0]
}

func (c *Caller) mayMeet(f *form) bool {
	if c.strict && !f.harder && f != formTable[0] {
		return false
	}
	return f.harder == (c.Through != "") && c.seen.has(f.fits)
}

// untried names the forms that are still to be met.
func (c *Caller) untried() (list []string) {
	for _, f := range formTable {
		if !c.tried[f.name] && c.mayMeet(f) {
			list = append(list, f.says)
		}
	}
	return list
}
