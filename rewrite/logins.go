package rewrite

import (
	"context"
	"net/netip"
	"strings"
)

// Logins log in at the server in place of clients that cannot. A client logs in to us,
// or need not; what the server offers for logins the client is not shown.
type Logins interface {
	// Mechanisms lists the mechanisms by which a client may log in to us; none: AUTH is
	// not offered to it.
	Mechanisms(Caller) []string

	// Accept begins an AUTH exchange by one of them, which is in upper case. It returns
	// nil if this client may not use it.
	Accept(c Caller, mechanism string) Acceptance

	// Unasked is the login of a client that need not log in to us; nil: it has to.
	Unasked(Caller) Login
}

// A Caller is a client that wants to use a login.
type Caller struct {
	Address netip.Addr // as a PROXY header or XCLIENT has it; not valid: not known
	TLS     bool       // the connection to it is encrypted, and ends here
}

// An Acceptance is the exchange in which one client logs in to us.
type Acceptance interface {
	// Next takes a SASL line of the client's, or, the first time, what its AUTH command
	// has behind the mechanism; "": nothing. It may block until ctx ends. If more is
	// true the client is to answer the challenge, which is the text of a 334; else
	// Login has the result.
	Next(ctx context.Context, line string) (challenge string, more bool)

	// Login is what the client has logged in for. If it is nil, the client gets the
	// refusal.
	Login() (l Login, refusal Reply)
}

// A Login is the use of one account by one session. Its functions that have a context
// may block until that ends. A Reply of theirs without a code means that all is well;
// any other has a code of 400 or more and is given to the client.
type Login interface {
	// Begin gets what there has to be before the server is asked, and begins an
	// exchange by one of the mechanisms that it offers, which are in upper case.
	Begin(ctx context.Context, offered []string) (Exchange, Reply)

	// Ended says what the client is told of the exchange once the server has answered
	// it, or if it could not go on; then err says why. Nothing in r repeats what is
	// secret.
	Ended(r Reply, err error) Reply

	// Admit waits for room for one more message.
	Admit(ctx context.Context) Reply

	// Sender says which sender MAIL names instead of this one, both without brackets.
	Sender(address string) (instead string, refusal Reply)

	// Why says for people what a refusal means that one of these functions has returned
	// last, and what to do about it; "" of any other reply. Nothing that a peer said is in
	// it, and no secret.
	Why(Reply) (means, do string)

	// Close gives up the account, whatever is under way.
	Close()
}

// An Exchange is an AUTH exchange in which we log in at the server, in the encoding of
// RFC 4954, 4.
type Exchange interface {
	Name() string                                   // of the mechanism, in upper case
	Start() (initial string, err error)             // for the AUTH command; "": the server speaks first
	Next(challenge string) (line string, err error) // challenge is the text of a 334; err: the exchange is cancelled
}

// access is what a dialogue keeps of logins.
type access struct {
	login      Login                 // what the session uses; nil: nothing yet
	mechanisms []string              // that the server offers, in upper case
	work       func(context.Context) // what AwaitWork is for
	means, do  string                // of the refusal that the client is given, as the login has it
}

// usesLogin reports whether the session uses a login, whether the server knows or not.
func (d *Dialogue) usesLogin() bool { return d.access != nil && d.access.login != nil }

const loginCause = "login"

// caller is the client as logins see it.
func (d *Dialogue) caller() Caller {
	return Caller{d.origin.client.Addr().Unmap().WithZone(""), d.seen.tls}
}

// logsIn reports whether a command has to do with a login of ours.
func (d *Dialogue) logsIn(v Verb) bool {
	return d.policy.Logins != nil && (v == VerbMAIL || sasl.Has(v))
}

// Work is to be called where it keeps nobody waiting when AwaitWork is next, and
// Worked behind it. ctx bounds how long it takes.
func (d *Dialogue) Work(ctx context.Context) { d.access.work(ctx) }

// Worked says that Work is done.
func (d *Dialogue) Worked() { d.resume(event{kind: worked}) }

// apart has something done that may take a while.
func (t *Turn) apart(work func(context.Context)) {
	t.d.access.work = work
	t.await(AwaitWork)
	t.d.access.work = nil
}

// Explanation is what a login says of its refusal, while the listener hears that the
// client gets it: what it means, and what to do. Both are "" of any other reply.
func (d *Dialogue) Explanation() (means, do string) {
	if d.access == nil {
		return "", ""
	}
	return d.access.means, d.access.do
}

// explains keeps what a login, if there is one, says of a refusal.
func (a *access) explains(r Reply, l Login) {
	a.means, a.do = "", ""
	if l != nil {
		a.means, a.do = l.Why(r)
	}
}

// use is the session's login from now on; nil: it has none.
func (a *access) use(l Login) {
	if a.login != nil {
		a.login.Close()
	}
	a.login = l
}

// offerLogins replaces what an EHLO reply offers for logins by what we take from this
// client. What rules do with logins they do with ours.
func (d *Dialogue) offerLogins(e Extensions) {
	e.DropFunc(func(name, _ string) bool { return isLoginKeyword(name) })
	if ours := d.policy.Logins.Mechanisms(d.caller()); len(ours) > 0 {
		e.Add("AUTH " + strings.Join(ours, " "))
	}
}

// useLogin does what a command has to do with a login. goesOn is false if the client
// has its answer.
func (t *Turn) useLogin() (goesOn bool) {
	if t.verb == VerbMAIL {
		return t.admitMail()
	}
	t.acceptLogin()
	return false
}

// acceptLogin takes the client's AUTH, logs in at the server, and answers.
func (t *Turn) acceptLogin() {
	d := t.d
	if d.tracer != nil {
		d.tracer.Exchanged('C', []string{d.redacted(t.verb, t.said)}, nil, Causes{Rules: loginCause})
	}
	if d.seen.transaction || d.seen.authenticated || d.server.loggedIn {
		t.answerLogin(Reply{503, []string{"5.5.1 AUTH comes once, and before MAIL"}})
		return
	}
	l, refusal := t.clientLogin()
	if d.next == End {
		return
	}
	if refusal.Code == 0 {
		d.access.use(l)
		if refusal = t.logIn(); d.next == End {
			return
		}
	}
	if refusal.Code != 0 {
		d.access.explains(refusal, l)
		d.access.use(nil) // the next exchange may be for another
		t.answerLogin(refusal)
		d.access.explains(Reply{}, nil)
		return
	}
	t.answerLogin(Reply{235, []string{"2.7.0 authentication succeeded"}})
}

// answerLogin gives the client a reply of our own to its AUTH.
func (t *Turn) answerLogin(r Reply) { t.d.give(t.verb, nil, r) }

// clientLogin is the exchange with the client. Whatever comes of it, the client is yet to
// be answered, unless the dialogue has ended.
func (t *Turn) clientLogin() (l Login, refusal Reply) {
	d := t.d
	a := d.policy.Logins.Accept(d.caller(), mechanismNamed(t.line))
	if a == nil {
		return nil, Reply{504, []string{"5.5.4 no login here by this mechanism"}}
	}
	for line := authInitial(t.line); ; {
		challenge, more := "", false
		t.apart(func(ctx context.Context) { challenge, more = a.Next(ctx, line) })
		if !more {
			return a.Login()
		}
		t.answerLogin(Reply{334, []string{challenge}})
		said := t.await(AwaitSASL).raw
		t.replies(said)
		d.traceSASL(said, nil, Causes{Rules: loginCause})
		if line = string(said); line == "*" {
			return nil, Reply{501, []string{"5.7.0 the exchange is cancelled"}} // RFC 4954, 4
		}
	}
}

// authInitial is what stands behind the mechanism of an AUTH command.
func authInitial(line []byte) string {
	_, rest, _ := strings.Cut(strings.Trim(string(Argument(line)), blanks), " ")
	return strings.Trim(rest, blanks)
}
