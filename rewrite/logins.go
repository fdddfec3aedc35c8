package rewrite

import (
	"context"
	"net/netip"
	"strings"
)

// Logins decide for which clients we log in at the server, and with which account, if
// clients cannot log in there themselves. Some clients must log in to us first, others
// need not. The client's EHLO reply offers our mechanisms, and none of the server's.
type Logins interface {
	// Mechanisms returns the names of the SASL mechanisms by which the client c may log
	// in to us. If there are none, the client is not offered AUTH.
	Mechanisms(c Caller) []string

	// Accept begins an AUTH exchange in which the client c logs in to us by mechanism, a
	// name in upper case. It returns nil if c may not use this mechanism.
	Accept(c Caller, mechanism string) Acceptance

	// Unasked returns the login for the client c if c need not log in to us, and
	// otherwise nil. It is called for a MAIL if the session has no login yet.
	Unasked(c Caller) Login
}

// A Caller is what Logins know about a client.
type Caller struct {
	Address netip.Addr // from the connection, a PROXY header or XCLIENT; the zero Addr: not known
	TLS     bool       // the connection is encrypted, and we end its TLS
}

// An Acceptance is the AUTH exchange in which a client logs in to us.
type Acceptance interface {
	// Next takes line, the client's next line of the exchange, as encoded by RFC 4954, 4.
	// The first line is the initial response of the AUTH command, or "" if there is none.
	// If more is true, the client gets a 334 with the text challenge, and its answer is
	// the next line. Otherwise the exchange is over, and Login returns the result. Next
	// may block until ctx is done.
	Next(ctx context.Context, line string) (challenge string, more bool)

	// Login is called when the exchange is over. It returns the login l that the session
	// is to use. If the client may not log in, refusal is the reply to it, and l is nil.
	Login() (l Login, refusal Reply)
}

// A Login is the use of one account by one session. Methods with a context may block
// until the context is done. A Reply with Code 0 means that the method has succeeded.
// Any other Reply has a code of 400 or more, and the client gets it as a refusal.
type Login interface {
	// Begin prepares a login at the server, for example by getting a token. It returns
	// the exchange to run, by one of the mechanisms in offered. These are the mechanisms
	// that the server offers, in upper case.
	Begin(ctx context.Context, offered []string) (Exchange, Reply)

	// Ended is called when the exchange with the server is over, unless the session has
	// ended. r is the server's last reply, in which lines that may repeat a secret are
	// replaced. Its Code is 0 if there was none. err is the error that the Exchange has
	// returned, if any. The result says whether the login has succeeded.
	Ended(r Reply, err error) Reply

	// Admit waits until the account may send one more message, or refuses the MAIL. It
	// is called for each MAIL outside of a transaction, after the login at the server.
	Admit(ctx context.Context) Reply

	// Sender returns the sender that MAIL must name if the client's MAIL names address.
	// It may be address itself. Neither has brackets; "" is the empty sender. If the
	// client's sender cannot be parsed, address is all that follows the verb MAIL. If the
	// client may not send as address, refusal is the reply to its MAIL.
	Sender(address string) (instead string, refusal Reply)

	// Why explains the refusal r, if r is the last one that a method of this Login has
	// returned. means is the reason for the refusal, and do is what an administrator can
	// do about it. Both are "" for any other reply. They contain no secret and nothing
	// that a peer has said.
	Why(r Reply) (means, do string)

	// Close ends the use of the account. It may be called while another method runs.
	Close()
}

// An Exchange is an AUTH exchange in which we log in at the server. Its lines are
// encoded as in RFC 4954, 4. If a method returns an error, the exchange is cancelled,
// and [Login.Ended] gets the error.
type Exchange interface {
	Name() string                                   // the mechanism, in upper case
	Start() (initial string, err error)             // the initial response of AUTH; "": none
	Next(challenge string) (line string, err error) // the answer to a 334 whose text is challenge
}

// access is the state of logins in a dialogue.
type access struct {
	login      Login                 // the session's login; nil: it has none yet
	mechanisms []string              // offered by the server, in upper case
	work       func(context.Context) // what AwaitWork is to do
	means, do  string                // the login's explanation of the refusal that the client is given
}

// usesLogin reports whether the session has a login, whether or not it is logged in at
// the server.
func (d *Dialogue) usesLogin() bool { return d.access != nil && d.access.login != nil }

// caller returns the client as Logins sees it.
func (d *Dialogue) caller() Caller {
	return Caller{d.origin.client.Addr().Unmap().WithZone(""), d.seen.tls}
}

// logsIn reports whether a command involves a login of ours.
func (d *Dialogue) logsIn(v Verb) bool {
	return d.policy.Logins != nil && (v == VerbMAIL || sasl.Has(v))
}

// Work does what the dialogue waits for while Next is AwaitWork, such as getting a
// token. It may block until ctx is done, so the caller runs it where it delays no other
// session. When Work has returned, the caller calls Worked.
func (d *Dialogue) Work(ctx context.Context) { d.access.work(ctx) }

// Worked tells the dialogue that Work has returned.
func (d *Dialogue) Worked() { d.resume(event{kind: worked}) }

// doWork has the caller of the dialogue run work, which may block, and waits until that
// is done.
func (t *Turn) doWork(work func(context.Context)) {
	t.d.access.work = work
	t.await(AwaitWork)
	t.d.access.work = nil
}

// Explanation explains the refusal of an AUTH or MAIL by the session's login, or for
// want of a login: see [Login.Why]. A [Listener] may call it during [Listener.Replied],
// for the reply that it is told of. For any other reply, and at any other time, both
// results are "".
func (d *Dialogue) Explanation() (means, do string) {
	if d.access == nil {
		return "", ""
	}
	return d.access.means, d.access.do
}

// explains records the explanation that l, which may be nil, gives of r.
func (a *access) explains(r Reply, l Login) {
	a.means, a.do = "", ""
	if l != nil {
		a.means, a.do = l.Why(r)
	}
}

// use makes l the session's login and closes the login before it. nil: the session has
// none.
func (a *access) use(l Login) {
	if a.login != nil {
		a.login.Close()
	}
	a.login = l
}

// offerLogins replaces the logins in an EHLO reply by the mechanisms that we accept from
// this client. Rules see only these.
func (d *Dialogue) offerLogins(e Extensions) {
	e.DropFunc(func(name, _ string) bool { return isLoginKeyword(name) })
	if ours := d.policy.Logins.Mechanisms(d.caller()); len(ours) > 0 {
		e.Add("AUTH " + strings.Join(ours, " "))
	}
}

// useLogin does for a command what the session's login requires. If goesOn is false, the
// client has its reply.
func (t *Turn) useLogin() (goesOn bool) {
	if t.verb == VerbMAIL {
		return t.admitMail()
	}
	t.acceptLogin()
	return false
}

// acceptLogin runs the client's AUTH exchange, logs in at the server, and answers the
// client.
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
		d.access.use(nil) // the client may try another account
		t.answerLogin(refusal)
		d.access.explains(Reply{}, nil)
		return
	}
	t.answerLogin(Reply{235, []string{"2.7.0 authentication succeeded"}})
}

// answerLogin gives the client a reply of our own to its AUTH or SASL line.
func (t *Turn) answerLogin(r Reply) { t.d.give(t.verb, nil, r) }

// clientLogin runs the AUTH exchange with the client. It leaves the final reply to its
// caller.
func (t *Turn) clientLogin() (l Login, refusal Reply) {
	d := t.d
	a := d.policy.Logins.Accept(d.caller(), mechanismNamed(t.line))
	if a == nil {
		return nil, Reply{504, []string{"5.5.4 no login here by this mechanism"}}
	}
	for line := authInitial(t.line); ; {
		challenge, more := "", false
		t.doWork(func(ctx context.Context) { challenge, more = a.Next(ctx, line) })
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

// authInitial returns the initial response of an AUTH command.
func authInitial(line []byte) string {
	_, rest, _ := strings.Cut(strings.Trim(string(Argument(line)), blanks), " ")
	return strings.Trim(rest, blanks)
}
