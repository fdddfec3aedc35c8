package rewrite

import (
	"slices"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// An attempt is the AUTH exchange of a turn, with the client and with the server, until
// the listener has been told how it ended.
type attempt struct {
	client, server vocabulary.Mechanism   // "": there is no exchange, or the listener has been told
	verdict        vocabulary.AuthOutcome // of the server; "": it has not answered
	asterisk       [2]bool                // the last line was "*": of the client's to us, and of ours to the server
}

// fromClient and toServer are places in attempt.asterisk.
const (
	fromClient = iota
	toServer
)

// mechanismTold is the mechanism of an AUTH command as listeners are told.
func mechanismTold(command []byte) vocabulary.Mechanism {
	named := mechanismNamed(command)
	switch {
	case named == "NTLMSSP", ParseVerb(command) == VerbXAUTH && (named == "" || strings.HasPrefix(named, ntlmMessage)):
		return vocabulary.MechanismNTLM // XAUTH may leave it out
	case bindsTLS(named):
		named = strings.TrimSuffix(named, "-PLUS")
	}
	if m := vocabulary.Mechanism(named); slices.Contains(vocabulary.Mechanisms(), m) {
		return m
	}
	return vocabulary.MechanismOther
}

// ntlmMessage is how every NTLM message begins in base64, in upper case.
const ntlmMessage = "TLRMTVNTUA"

// attempts begins the exchange with the client.
func (t *Turn) attempts(command []byte) { t.attempt = &attempt{client: mechanismTold(command)} }

// replies notes a line of the client's within the exchange.
func (t *Turn) replies(line []byte) { t.attempt.asterisk[fromClient] = string(line) == "*" }

// asks notes a line of ours to the server: an AUTH command, or one within its exchange.
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

// hears notes a reply of the server's. A yes is told at once; a refusal once it is
// certain that no rule has AUTH said in another form.
func (t *Turn) hears(code int) {
	a := t.attempt
	if a == nil || a.server == "" || a.verdict != "" || code == 334 {
		return
	}
	if a.verdict = authOutcome(code, a.asterisk[toServer]); a.verdict == vocabulary.AuthOK {
		t.tellServerAuth()
	}
}

// loses notes that the server has hung up on our line: what it says on a fresh connection
// is no answer to that.
func (t *Turn) loses() {
	if a := t.attempt; a != nil && a.server != "" && a.verdict == "" {
		a.verdict = vocabulary.AuthUnfinished
	}
}

// tellServerAuth tells the listener what the server has answered last.
func (t *Turn) tellServerAuth() {
	if a := t.attempt; a != nil && a.server != "" && a.verdict != "" {
		t.d.listener.Authenticated(vocabulary.SideServer, a.server, a.verdict)
		a.server = ""
	}
}

// tellClientAuth tells the listener what the client was told, and what the server has
// said before.
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

// leaveAttempt tells the listener of an exchange in which the session has ended.
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
