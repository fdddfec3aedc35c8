package rewrite

import (
	"context"
	"slices"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// maxAuthLine is the length, in octets, of the longest AUTH command that every server
// accepts (RFC 5321, 4.5.3.1.4). RFC 4954, 4 requires 12,288, which some servers do not
// support (PHPMailer#3169).
const maxAuthLine = 512

var (
	needsLogin = Reply{530, []string{"5.7.0 authentication required"}} // RFC 4954, 6
	clearLogin = Reply{454, []string{"4.7.0 no login at the server: its connection is not encrypted, or its certificate not verified"}}

	// RFC 4954, 4.
	loginBroken = Reply{454, []string{"4.7.0 the login at the server cannot go on"}}
)

// NoLoginMeans and NoLoginDo explain the refusal of a MAIL for want of a login. The reply
// itself does not show who sent it, since many servers send the same.
const (
	NoLoginMeans = "smtpshim refused it itself: the client has not logged in, and no [[route.login]] of the route without a user has its address in networks"
	NoLoginDo    = "add the client's network to networks of a [[route.login]], or give one a user, as which the client logs in"
)

// admitMail prepares the session for a MAIL, whether it is sent for the first time or
// again: the session is logged in at the server, the login admits one more message, and
// the MAIL names a sender that the account may use. If ok is false, the client has its
// reply.
func (t *Turn) admitMail() (ok bool) {
	d := t.d
	if !d.usesLogin() {
		d.access.use(d.policy.Logins.Unasked(d.caller()))
	}
	refusal := needsLogin
	if d.usesLogin() {
		refusal = t.logIn()
	}
	if refusal.Code == 0 && d.next != End && t.commands == 0 && !d.seen.transaction {
		t.doWork(func(ctx context.Context) { refusal = d.access.login.Admit(ctx) })
	}
	if refusal.Code == 0 && d.next != End {
		refusal = t.sendAs()
	}
	if refusal.Code != 0 && d.next != End {
		d.access.explains(refusal, d.access.login)
		if !d.usesLogin() {
			d.access.means, d.access.do = NoLoginMeans, NoLoginDo
		}
		t.answered = refusal
		t.giveAnswer()
		d.access.explains(Reply{}, nil)
	}
	return refusal.Code == 0 && d.next != End
}

// sendAs makes the MAIL name the sender that the login prescribes, and no other.
func (t *Turn) sendAs() (refusal Reply) {
	p, address, ok := senderOf(t.line)
	if !ok {
		return t.sendUnclear()
	}
	instead, refusal := t.d.access.login.Sender(address)
	if refusal.Code != 0 {
		return refusal
	}
	params := len(p.Params)
	p.Params = slices.DeleteFunc(p.Params, namesAnother)
	if instead == address && len(p.Params) == params {
		return Reply{}
	}
	if instead != address {
		p.Address = "<" + instead + ">"
	}
	t.line = []byte(p.String())
	return Reply{}
}

// sendUnclear is sendAs for a MAIL whose sender cannot be parsed, as from devices that
// send names with blanks. It drops the parameters. If the login prescribes no other
// sender, the MAIL is refused.
func (t *Turn) sendUnclear() (refusal Reply) {
	said := string(Argument(t.line))
	instead, refusal := t.d.access.login.Sender(said)
	switch {
	case refusal.Code != 0:
		return refusal
	case instead == said:
		return unclearSender
	}
	t.line = []byte("MAIL FROM:<" + instead + ">")
	return Reply{}
}

// logIn logs in at the server with the session's login, unless this connection is already
// logged in. The refusal is the reply for the client.
func (t *Turn) logIn() (refusal Reply) {
	d := t.d
	if d.server.loggedIn {
		return Reply{}
	}
	if !esmtp.Has(d.server.hello) || d.wantsTLS() {
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
	t.doWork(func(ctx context.Context) { x, refusal = d.access.login.Begin(ctx, d.access.mechanisms) })
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
	if err == nil && e.code < 300 && e.code != 235 { // only 235 is a yes to AUTH (RFC 4954, 4)
		d.breach()
		return Reply{}
	}
	var r Reply
	if e.code != 0 {
		r = t.tellableReply(e.raw)
	}
	good := err == nil && e.code < 300
	t.tellServerAuth()
	switch refusal = d.access.login.Ended(r, err); {
	case good && refusal.Code == 0:
		d.server.loggedIn = true
	case good: // the server accepts the login, but the exchange does not accept the server
		d.breach()
	case refusal.Code < 400:
		return loginBroken
	}
	return refusal
}

// ownName returns the name for an EHLO of our own: that of the client's last hello, or
// our host name.
func (t *Turn) ownName() string {
	if name := string(Argument([]byte(t.d.hello))); name != "" {
		return name
	}
	return t.d.policy.Hostname
}

// prove runs the AUTH exchange with the server and returns the last reply. err says why
// the exchange could not continue.
func (t *Turn) prove(x Exchange) (e event, err error) {
	initial, err := x.Start()
	if err != nil {
		return event{}, err
	}
	line := "AUTH " + x.Name()
	if long := len(line)+len(" ")+len(initial)+len(crlf) > maxAuthLine; long {
		if e = t.proof(line); e.kind == replied && e.code == 334 {
			e = t.proof(initial)
		}
	} else {
		e = t.proof(strings.TrimRight(line+" "+initial, " "))
	}
	for e.kind == replied && e.code == 334 {
		response, err := x.Next(strings.Join(parseReply(e.raw).Lines, " "))
		if err != nil {
			if e = t.proof("*"); e.kind == replied && e.code < 400 {
				t.d.breach()
			}
			return e, err
		}
		e = t.proof(response)
	}
	return e, nil
}

// proof sends one line of the exchange to the server and returns the reply.
func (t *Turn) proof(line string) event {
	e := t.say(line, loginCause)
	if e.kind != replied {
		t.d.end(vocabulary.OutcomeServerLost, lostText)
		return e
	}
	t.d.swallow(e.raw, loginCause)
	return e
}

// tellableReply returns a reply to our own AUTH, without lines that may repeat a secret.
func (t *Turn) tellableReply(raw []byte) Reply {
	r := parseReply(raw)
	for i, line := range r.Lines {
		if t.d.secrets.repeatedIn([]byte(line)) {
			r.Lines[i] = "(hidden: it may repeat what is secret)"
		}
	}
	return r
}
