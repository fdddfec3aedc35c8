package rewrite

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// maxAuthLine is the longest AUTH command, in octets, that every server takes (RFC 5321,
// 4.5.3.1.4). RFC 4954, 4 asks for 12,288, and some servers do not know (PHPMailer#3169).
const maxAuthLine = 512

var (
	needsLogin = Reply{530, []string{"5.7.0 authentication required"}} // RFC 4954, 6
	clearLogin = Reply{454, []string{"4.7.0 no login at the server: its connection is not encrypted, or its certificate not verified"}}

	// RFC 4954, 4.
	loginBroken = Reply{454, []string{"4.7.0 the login at the server cannot go on"}}
)

// admitMail sees to it that a MAIL may go to the server: that the session is logged in
// there, that there is room for a message, and that the sender is one of the account's.
// If it is false the client has its answer.
func (t *Turn) admitMail() (ok bool) {
	d := t.d
	if d.seen.transaction {
		return true // the server refuses it
	}
	if !d.usesLogin() {
		d.access.login = d.policy.Logins.Unasked(d.caller())
	}
	refusal := needsLogin
	if d.usesLogin() {
		refusal = t.logIn()
	}
	if refusal.Code == 0 && d.next != End {
		t.apart(func(ctx context.Context) { refusal = d.access.login.Admit(ctx) })
	}
	if refusal.Code == 0 && d.next != End {
		refusal = t.sendAs()
	}
	if d.next == End {
		return false
	}
	if refusal.Code != 0 {
		t.answered = refusal
		t.giveAnswer()
		return false
	}
	return true
}

// sendAs has MAIL name the sender that the login has.
func (t *Turn) sendAs() (refusal Reply) {
	p, ok := parsePath(t.line)
	if !ok {
		return Reply{501, []string{"5.5.4 it is not clear which part of this is the sender"}}
	}
	address := strings.TrimSuffix(strings.TrimPrefix(p.Address, "<"), ">")
	instead, refusal := t.d.access.login.Sender(address)
	if refusal.Code != 0 || instead == address {
		return refusal
	}
	p.Address = "<" + instead + ">"
	t.line = []byte(p.String())
	return Reply{}
}

// logIn logs in at the server by the session's login, if this connection is not logged
// in yet. A refusal is for the client.
func (t *Turn) logIn() (refusal Reply) {
	d := t.d
	if d.server.loggedIn {
		return Reply{}
	}
	if !esmtp.Has(d.server.hello) || d.wantsTLS() {
		t.introduced = false
		if raw, ok := t.sayHello("EHLO " + t.ownName()); !ok || d.next == End {
			return Reply{}
		} else if d.swallow(raw, loginCause); codeOf(raw) >= 300 {
			return loginBroken
		}
	}
	if !d.server.tls || !d.policy.VerifiesServer {
		return clearLogin
	}
	var x Exchange
	t.apart(func(ctx context.Context) { x, refusal = d.access.login.Begin(ctx, d.access.mechanisms) })
	if refusal.Code != 0 {
		return refusal
	}
	kept := d.secrets
	defer func() { d.secrets, t.proving = kept, false }()
	d.secrets, t.proving = &secrets{}, true
	e, err := t.prove(x)
	if d.next == End {
		return Reply{}
	}
	var r Reply
	if e.code != 0 {
		r = t.tellableReply(e.raw)
	}
	if refusal = d.access.login.Ended(x, r, err); refusal.Code == 0 && e.code < 300 && err == nil {
		d.server.loggedIn = true
		return Reply{}
	}
	if e.code < 300 { // the server believes us, and we do not believe it
		d.breach()
		return Reply{}
	}
	if refusal.Code < 400 {
		return loginBroken
	}
	return refusal
}

// ownName is what an EHLO of our own says: what the client's last hello did, or our name.
func (t *Turn) ownName() string {
	if name := string(Argument(t.d.hello)); name != "" {
		return name
	}
	return t.d.policy.Hostname
}

// prove is the exchange with the server, up to its last reply. err says why it could
// not go on.
func (t *Turn) prove(x Exchange) (e event, err error) {
	initial, err := x.Start()
	if err != nil {
		return event{}, err
	}
	line := "AUTH " + x.Name()
	encoded := base64.StdEncoding.EncodeToString(initial)
	if initial != nil && len(initial) == 0 {
		encoded = "=" // RFC 4954, 4
	}
	apart := len(line)+len(" ")+len(encoded)+len(crlf) > maxAuthLine
	if initial != nil && !apart {
		line += " " + encoded
	}
	e = t.proof(line)
	if e.kind == replied && e.code == 334 && initial != nil && apart {
		e = t.proof(strings.TrimPrefix(encoded, "="))
	}
	for e.kind == replied && e.code == 334 {
		challenge, err := challengeOf(e.raw)
		var response []byte
		if err == nil {
			response, err = x.Next(challenge)
		}
		if err != nil {
			if e = t.proof("*"); e.kind == replied && e.code < 400 {
				t.d.breach()
			}
			return e, err
		}
		e = t.proof(base64.StdEncoding.EncodeToString(response))
	}
	return e, nil
}

// proof says one line of the exchange with the server.
func (t *Turn) proof(line string) event {
	e := t.say(line, loginCause)
	if e.kind != replied {
		t.d.end(vocabulary.OutcomeServerLost, lostText)
		return e
	}
	t.d.swallow(e.raw, loginCause)
	return e
}

// challengeOf decodes a server's 334. One that is no base64 is taken as it is: the
// prompts of LOGIN are for people.
func challengeOf(raw []byte) ([]byte, error) {
	r := parseReply(raw)
	if len(r.Lines) != 1 {
		return nil, errors.New("the server's challenge has several lines")
	}
	text := strings.Trim(r.Lines[0], blanks)
	if challenge, ok := decodeSASL(text); ok {
		return challenge, nil
	}
	return []byte(text), nil
}

// tellableReply is a reply to our own AUTH, with no line that may repeat a secret.
func (t *Turn) tellableReply(raw []byte) Reply {
	r := parseReply(raw)
	for i, line := range r.Lines {
		if t.d.secrets.repeatedIn([]byte(line)) {
			r.Lines[i] = "(hidden: it may repeat what is secret)"
		}
	}
	return r
}
