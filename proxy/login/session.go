package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/login/token"
	"smtpshim/proxy/provider"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// A session is the use of an account by one session of the proxy.
type session struct {
	route   string
	account *Account
	entry   *Entry
	client  string      // the client's address, for the log
	proof   sasl.Client // the exchange in progress
	token   token.Token // the token used in it

	mu      sync.Mutex
	inside  bool // the session counts for the account's limit
	closed  bool
	proving string // the mechanism of a login that the server has not answered; "": none
	last    reason
}

// A reason is a refusal and its meaning.
type reason struct {
	rewrite.Reply
	provider.Meaning
}

// refuses records why the client is refused, for Why.
func (s *session) refuses(r rewrite.Reply, means, do string) rewrite.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = reason{r, provider.Meaning{Means: means, Do: do}}
	return r
}

// Why explains r if r is the refusal that the session has returned last. It implements
// rewrite.Login.
func (s *session) Why(r rewrite.Reply) (means, do string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Code != s.last.Code || !slices.Equal(r.Lines, s.last.Lines) {
		return "", ""
	}
	return s.last.Means, s.last.Do
}

// Begin prepares a login at the server. It waits until the account has room for the
// session, at most for the account's Wait. If the account logs in with tokens, it also
// waits for a token. Then it chooses the strongest mechanism in offered that the
// account may use. A session that is refused does not count for the account's limit.
// Begin implements rewrite.Login.
func (s *session) Begin(ctx context.Context, offered []string) (rewrite.Exchange, rewrite.Reply) {
	refusal := s.begin(ctx, offered)
	if refusal.Code != 0 {
		s.leave()
		return nil, refusal
	}
	s.proves(s.proof.Name())
	return exchange{s.proof}, rewrite.Reply{}
}

// proves records that a login by a mechanism begins at the server, or with "" that it has
// ended.
func (s *session) proves(mechanism string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.proving = mechanism
	}
}

func (s *session) begin(ctx context.Context, offered []string) (refusal rewrite.Reply) {
	a := s.account
	if r := a.lately(); r.Code != 0 {
		s.observe("", vocabulary.LoginRefused)
		return s.refuses(r.Reply, r.Means, r.Do)
	}
	if err := s.enter(ctx); err != nil {
		s.observe("", vocabulary.LoginBusy)
		a.Log.Warn("too many sessions at once for an account", "account", a.Name, "sessions", a.Sessions, "client", s.client)
		return s.refuses(rewrite.Reply{Code: 451, Lines: []string{"4.3.2 too many sessions at once for this account, try again"}},
			"the account has as many sessions as it may have", "raise sessions of the account, if the provider allows more, or its wait")
	}
	who, t, err := a.identity(ctx)
	if err != nil {
		s.observe("", vocabulary.LoginNoCredentials)
		return s.withoutToken(err)
	}
	s.token = t
	if s.proof, err = sasl.Strongest(offered, a.Mechanisms, who); err != nil {
		s.observe("", vocabulary.LoginFailed)
		a.Log.Error("no mechanism for the login at the server", "account", a.Name, "err", err)
		return s.refuses(a.forGood("the server offers no login that this account can use"),
			"the server offers no mechanism that the account may use", "check the server, and method and mechanisms of the account")
	}
	return rewrite.Reply{}
}

// An exchange is a sasl.Client with the encoding of RFC 4954.
type exchange struct{ client sasl.Client }

func (x exchange) Name() string { return x.client.Name() }

func (x exchange) Start() (string, error) {
	initial, err := x.client.Start()
	if initial == nil || err != nil {
		return "", err
	}
	return sasl.EncodeInitial(initial), nil
}

func (x exchange) Next(text string) (string, error) {
	challenge, err := sasl.DecodeChallenge(x.client.Name(), text)
	if err != nil {
		return "", err
	}
	response, err := x.client.Next(challenge)
	return sasl.Encode(response), err
}

func (s *session) enter(ctx context.Context) error {
	s.mu.Lock()
	inside := s.inside
	s.mu.Unlock()
	if inside {
		return nil
	}
	if err := s.account.enter(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.account.leave()
		return errBusy
	}
	s.inside = true
	return nil
}

func (s *session) observe(mechanism string, outcome vocabulary.LoginOutcome) {
	if o := s.account.Observer; o != nil {
		o.LoggedIn(s.route, s.account.Name, mechanism, outcome)
	}
}

// askedAgain is the advice if a token endpoint fails temporarily.
const askedAgain = "nothing: smtpshim requests a token again by itself"

// withoutToken returns the reply to the client if there is no token.
func (s *session) withoutToken(err error) rewrite.Reply {
	a := s.account
	var e *token.Error
	if !errors.As(err, &e) {
		a.Log.Warn("no token for an account", "account", a.Name, "client", s.client, "err", err)
		return s.refuses(forNow("no token for this account in time, try again"), "the token endpoint did not answer in time", askedAgain)
	}
	a.Log.Warn("no token for an account", "account", a.Name, "client", s.client, "err", e, "do", e.Advice)
	means := "there is no token: " + e.Kind.Means()
	if e.Temporary() {
		return s.refuses(forNow("the token endpoint gives no token now, try again"), means, cmp.Or(e.Advice, askedAgain))
	}
	return s.refuses(a.forGood("the token endpoint refuses this account"), means, e.Advice)
}

// Ended evaluates r, the server's reply to the login. If err is not nil, the exchange
// broke off with it, and the login has failed whatever r is. Ended returns the refusal
// for the client, or code 0 if the login succeeded. After a permanent refusal by the
// server, all logins of the account are refused for 30 seconds without asking the
// server, unless another token may help. Ended implements rewrite.Login.
func (s *session) Ended(r rewrite.Reply, err error) rewrite.Reply {
	s.proves("")
	refusal := s.ended(r, err)
	if refusal.Code != 0 {
		s.leave()
	}
	return refusal
}

func (s *session) ended(r rewrite.Reply, err error) (refusal rewrite.Reply) {
	a, c := s.account, s.proof
	if err == nil && r.Code < 300 {
		err = sasl.Accept(c)
	}
	text := strings.Join(r.Lines, " ")
	switch {
	case err == nil && r.Code < 300:
		s.observe(c.Name(), vocabulary.LoginOK)
		return rewrite.Reply{}
	case err != nil:
		s.observe(c.Name(), vocabulary.LoginFailed)
		a.Log.Error("the login at the server could not go on", "account", a.Name, "mechanism", c.Name(), "client", s.client, "err", err)
		return s.refuses(forNow("the login at the server could not go on, try again"),
			"the server sent something that does not belong to the login", "check the server and the account; the log has the error")
	}
	s.observe(c.Name(), vocabulary.LoginRefused)
	attrs := []any{"account", a.Name, "mechanism", c.Name(), "client", s.client, "reply", fmt.Sprintf("%d %s", r.Code, text)}
	if why := sasl.Explanation(c); why != "" {
		attrs = append(attrs, "explanation", why)
	}
	m, known := provider.Explain(r.Code, text)
	if known {
		attrs = append(attrs, "means", m.Means, "do", m.Do)
	} else {
		m = provider.Meaning{Means: "the server does not accept the account", Do: "check the account; the log has the server's reply"}
	}
	a.Log.Warn("the server refused the login", attrs...)
	if r.Code < 500 {
		return s.refuses(forNow("the server refuses the login now, try again"), m.Means, m.Do)
	}
	if a.Tokens != nil && a.Tokens.Refused(s.token) {
		return s.refuses(forNow("the server refused a token, try again with the next"), m.Means, m.Do)
	}
	refusal = a.forGood("the server refuses the login of this account")
	a.remember(reason{refusal, m})
	return s.refuses(refusal, m.Means, m.Do)
}

// Admit waits until the account's limit of messages a minute permits one more. If that
// would take longer than the account's Wait, Admit returns 451 at once. It implements
// rewrite.Login.
func (s *session) Admit(ctx context.Context) rewrite.Reply {
	a := s.account
	if a.minute == nil || a.minute.pass(ctx, a.Now, a.Wait) == nil {
		return rewrite.Reply{}
	}
	a.Log.Warn("too many messages a minute for an account", "account", a.Name, "messages_per_minute", a.MessagesPerMinute, "client", s.client)
	return s.refuses(rewrite.Reply{Code: 451, Lines: []string{"4.3.2 too many messages a minute for this account, try again"}},
		"the account has sent as many messages in a minute as it may", "raise messages_per_minute of the account, if the provider allows more, or its wait")
}

// Sender returns the sender that MAIL must name: the Sender of the entry, or address if
// the entry has none. If the entry does not allow address, Sender returns a refusal. It
// never replaces the empty sender of a bounce: a bounce with a sender could cause
// another bounce. It implements rewrite.Login.
func (s *session) Sender(address string) (instead string, refusal rewrite.Reply) {
	switch e := s.entry; {
	case address == "":
		return address, rewrite.Reply{}
	case e.Sender != "":
		return e.Sender, rewrite.Reply{}
	case len(e.Senders) > 0 && !slices.ContainsFunc(e.Senders, func(allowed string) bool { return fits(allowed, address) }):
		return "", s.refuses(rewrite.Reply{Code: 550, Lines: []string{"5.7.60 this sender is not allowed for this login"}},
			"the route's login does not allow this sender", "name it in senders of the login, or give the login a sender")
	}
	return address, rewrite.Reply{}
}

// fits reports whether an address is the allowed address, or in the allowed domain, which
// begins with "@". Case is ignored. But Unicode also folds the long s to s, and the
// Kelvin sign to k. These are longer in UTF-8 and mean other mailboxes, so the lengths
// must be equal.
func fits(allowed, address string) bool {
	if strings.HasPrefix(allowed, "@") {
		at := strings.LastIndexByte(address, '@')
		if at < 0 {
			return false
		}
		address = address[at:]
	}
	return len(allowed) == len(address) && strings.EqualFold(allowed, address)
}

// Close ends the session's use of the account. If the server has not answered a login,
// for example because the connection was lost, the login counts as failed. Close
// implements rewrite.Login.
func (s *session) Close() {
	s.mu.Lock()
	before, unanswered := s.closed, s.proving
	s.closed, s.proving = true, ""
	s.mu.Unlock()
	s.leave()
	if unanswered != "" {
		s.observe(unanswered, vocabulary.LoginFailed)
		s.account.Log.Warn("the session ended before the server answered the login", "account", s.account.Name, "mechanism", unanswered, "client", s.client)
	}
	if !before {
		s.account.use(-1)
	}
}

// leave gives up the session's share of the account's limit.
func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inside {
		s.account.leave()
	}
	s.inside = false
}
