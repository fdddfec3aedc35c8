package rewrite

import (
	"context"
	"encoding/base64"
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
	// Next takes a response of the client's, decoded; nil: its AUTH command has none.
	// It may block until ctx ends. If more is true the client is to answer the
	// challenge; else Login has the result.
	Next(ctx context.Context, response []byte) (challenge []byte, more bool)

	// Login is what the client has logged in for. If it is nil, the client gets the
	// refusal.
	Login() (l Login, refusal Reply)
}

// A Login is the use of one account by one session. Its functions that have a context
// may block until that ends. A Reply of theirs without a code means that all is well;
// any other has a code of 400 or more and is given to the client.
type Login interface {
	// Account is the name of the account, for people.
	Account() string

	// Begin gets what there has to be before the server is asked, and begins an
	// exchange by one of the mechanisms that it offers, which are in upper case.
	Begin(ctx context.Context, offered []string) (Exchange, Reply)

	// Ended says what the client is told of an exchange that the server has answered,
	// or that could not go on; then err says why. Nothing in the reply repeats what
	// is secret.
	Ended(x Exchange, r Reply, err error) Reply

	// Admit waits for room for one more message.
	Admit(ctx context.Context) Reply

	// Sender says which sender MAIL names instead of this one, both without brackets.
	Sender(address string) (instead string, refusal Reply)

	// Close gives up the account, whatever is under way.
	Close()
}

// An Exchange is an AUTH exchange in which we log in at the server.
type Exchange interface {
	Name() string                                       // of the mechanism, in upper case
	Start() (initial []byte, err error)                 // nil: the server speaks first
	Next(challenge []byte) (response []byte, err error) // err: the exchange is cancelled
}

// access is what a dialogue keeps of logins.
type access struct {
	login      Login                 // what the session uses; nil: nothing yet
	mechanisms []string              // that the server offers, in upper case
	work       func(context.Context) // what AwaitWork is for
}

// usesLogin reports whether the session uses a login, whether the server knows or not.
func (d *Dialogue) usesLogin() bool { return d.access != nil && d.access.login != nil }

const loginCause = "login"

// caller is the client as logins see it.
func (d *Dialogue) caller() Caller { return Caller{d.origin.client.Addr().Unmap(), d.seen.tls} }

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

// offerLogins replaces what the server offers for logins by what we take from this
// client. What rules do with logins they do with ours.
func (d *Dialogue) offerLogins(e Extensions) {
	d.access.mechanisms = mechanismsOf(e)
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
		d.access.login = l
		if refusal = t.logIn(); d.next == End {
			return
		}
	}
	if refusal.Code != 0 && l != nil { // the next exchange may be for another
		l.Close()
		d.access.login = nil
	}
	if refusal.Code != 0 {
		t.answerLogin(refusal)
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
	mechanism, initial := mechanismNamed(t.line), authInitial(t.line)
	a := d.policy.Logins.Accept(d.caller(), mechanism)
	if a == nil {
		return nil, Reply{504, []string{"5.5.4 no login here by this mechanism"}}
	}
	response, ok := decodeSASL(initial)
	for first := true; ; first = false {
		if !first {
			said := t.await(AwaitSASL).raw
			d.traceSASL(said, nil, Causes{Rules: loginCause})
			if string(said) == "*" {
				return nil, Reply{501, []string{"5.7.0 the exchange is cancelled"}} // RFC 4954, 4
			}
			if response, ok = decodeSASL(string(said)); response == nil {
				response = []byte{}
			}
		}
		if !ok {
			return nil, Reply{501, []string{"5.5.2 this is not base64"}} // RFC 4954, 4
		}
		var challenge []byte
		more := false
		t.apart(func(ctx context.Context) { challenge, more = a.Next(ctx, response) })
		if !more {
			return a.Login()
		}
		t.answerLogin(Reply{334, []string{base64.StdEncoding.EncodeToString(challenge)}})
	}
}

// authInitial is what stands behind the mechanism of an AUTH command.
func authInitial(line []byte) string {
	_, rest, _ := strings.Cut(strings.Trim(string(Argument(line)), blanks), " ")
	return strings.Trim(rest, blanks)
}

// decodeSASL decodes a SASL line, or the initial response of an AUTH command, where
// "=" is an empty one (RFC 4954, 4). nil: there is none. Padding may be missing: some
// clients leave it out.
func decodeSASL(text string) (response []byte, ok bool) {
	switch text {
	case "":
		return nil, true
	case "=":
		return []byte{}, true
	}
	response, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return response, err == nil
}
