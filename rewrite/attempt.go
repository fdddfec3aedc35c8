package rewrite

import (
	"slices"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// An attempt is the AUTH exchange of a turn, both with the client and with the server. It
// lasts until the listener has been told the outcome.
type attempt struct {
	client, server vocabulary.Mechanism   // "": no exchange, or the listener was told its outcome
	verdict        vocabulary.AuthOutcome // the server's; "": it has not replied yet
	asterisk       [2]bool                // whether the last line was "*", from the client and to the server
}

// fromClient and toServer index attempt.asterisk.
const (
	fromClient = iota
	toServer
)

// mechanismTold returns the mechanism of an AUTH command as listeners are told it.
func mechanismTold(command []byte) vocabulary.Mechanism {
	named := mechanismNamed(command)
	switch {
	case named == "NTLMSSP", ParseVerb(command) == VerbXAUTH && (named == "" || strings.HasPrefix(named, ntlmMessage)):
		return vocabulary.MechanismNTLM // XAUTH need not name it
	case bindsTLS(named):
		named = strings.TrimSuffix(named, "-PLUS")
	}
	if m := vocabulary.Mechanism(named); slices.Contains(vocabulary.Mechanisms(), m) {
		return m
	}
	return vocabulary.MechanismOther
}

// ntlmMessage is the base64 prefix of every NTLM message, in upper case.
const ntlmMessage = "TLRMTVNTUA"

// attempts starts recording the client's AUTH exchange.
func (t *Turn) attempts(command []byte) { t.attempt = &attempt{client: mechanismTold(command)} }

// replies records a client's line within the exchange.
func (t *Turn) replies(line []byte) { t.attempt.asterisk[fromClient] = string(line) == "*" }

// asks records a line sent to the server: an AUTH command or a line of its exchange.
func (t *Turn) asks(line []byte) {
	a := t.attempt
	switch {
	case t.pending:
		if a != nil {
			a.asterisk[toServer] = string(line) == "*"
		}
		return
	case a == nil:
		a = &attempt{}
		t.attempt = a
	}
	a.server, a.verdict, a.asterisk[toServer] = mechanismTold(line), "", false
}

// hears records a server's reply. The listener is told of a positive reply at once. It is
// told of a refusal only when no rule will send AUTH again in another form.
func (t *Turn) hears(code int) {
	a := t.attempt
	if a == nil || a.server == "" || a.verdict != "" || code == 334 {
		return
	}
	if a.verdict = authOutcome(code, a.asterisk[toServer]); a.verdict == vocabulary.AuthOK {
		t.tellServerAuth()
	}
}

// loses records that the server hung up in place of a reply. A reply on a fresh
// connection does not answer the lost line.
func (t *Turn) loses() {
	if a := t.attempt; a != nil && a.server != "" && a.verdict == "" {
		a.verdict = vocabulary.AuthUnfinished
	}
}

// tellServerAuth tells the listener the server's last verdict.
func (t *Turn) tellServerAuth() {
	if a := t.attempt; a != nil && a.server != "" && a.verdict != "" {
		t.d.listener.Authenticated(vocabulary.SideServer, a.server, a.verdict)
		a.server = ""
	}
}

// tellClientAuth tells the listener the server's last verdict, if that was not told, and
// then the outcome that the client was given.
func (t *Turn) tellClientAuth(code int) {
	if a := t.attempt; a != nil && a.client != "" && code != 334 {
		t.tellServerAuth()
		t.d.listener.Authenticated(vocabulary.SideClient, a.client, authOutcome(code, a.asterisk[fromClient]))
		a.client = ""
	}
}

func authOutcome(code int, asterisk bool) vocabulary.AuthOutcome {
	switch {
	case code < 300:
		return vocabulary.AuthOK
	case asterisk:
		return vocabulary.AuthCancelled
	}
	return vocabulary.AuthRefused
}

// leaveAttempt tells the listener of an exchange that the end of the session has cut
// short.
func (d *Dialogue) leaveAttempt() {
	t := d.turn
	if t == nil || t.attempt == nil {
		return
	}
	t.tellServerAuth()
	a := *t.attempt
	t.attempt = nil
	if a.server != "" {
		d.listener.Authenticated(vocabulary.SideServer, a.server, vocabulary.AuthUnfinished)
	}
	if a.client != "" {
		d.listener.Authenticated(vocabulary.SideClient, a.client, vocabulary.AuthUnfinished)
	}
}
