package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"smtpshim/proxy/login/sasl"
	"smtpshim/rewrite"
)

// An Entry says which clients use an account.
type Entry struct {
	// Networks are those whose clients use the entry. Without a User they need not log
	// in to us. With one they have to, and may do so in clear.
	Networks []netip.Prefix
	User     string      // with which a client logs in to us, from anywhere if there are no networks
	Secret   sasl.Secret // of the user

	Account *Account
	Sender  string   // what MAIL names in place of the client's sender; "": that
	Senders []string // that are allowed, or their domains: "@example.com"; nil: all
}

// Settings are the logins of one route.
type Settings struct {
	Entries []Entry // the first that fits counts
	Host    string  // our name, for challenges
	NTLMv1  bool    // clients may log in by NTLMv1, as Exchange 5.0 and 5.5 do
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Logins implement rewrite.Logins.
type Logins struct {
	Settings
	strikes strikes
}

// New returns the logins of a route, or what is wrong with the settings.
func New(s Settings) (*Logins, error) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	for i, e := range s.Entries {
		if e.Account == nil {
			return nil, fmt.Errorf("login %d: no account", i+1)
		}
		if len(e.Networks) == 0 && e.User == "" {
			return nil, fmt.Errorf("login %d: want networks, or a user: else anybody could send as account %q", i+1, e.Account.Name)
		}
		if (e.User == "") != e.Secret.Zero() {
			return nil, fmt.Errorf("login %d: a user has a password, and a password a user", i+1)
		}
		for _, n := range e.Networks {
			if n.Bits() == 0 && e.User == "" {
				return nil, fmt.Errorf("login %d: network %v is the whole Internet: anybody could send as account %q", i+1, n, e.Account.Name)
			}
		}
	}
	l := &Logins{Settings: s}
	if _, err := l.lookup(rewrite.Caller{TLS: true}, true); err != nil {
		return nil, err
	}
	return l, nil
}

func (e *Entry) contains(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(e.Networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// takes reports whether a client may log in by the entry's user and password.
func (e *Entry) takes(c rewrite.Caller) bool {
	return e.User != "" && (len(e.Networks) == 0 && c.TLS || e.contains(c.Address))
}

// unasked is the entry of a client that need not log in; nil: there is none.
func (l *Logins) unasked(c rewrite.Caller) *Entry {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.User == "" && e.contains(c.Address) {
			return e
		}
	}
	return nil
}

// lookup finds users that this client may be; all of them if every is true.
func (l *Logins) lookup(c rewrite.Caller, every bool) (sasl.Lookup, error) {
	var users []sasl.User
	for _, e := range l.Entries {
		if e.User != "" && (every || e.takes(c)) {
			users = append(users, sasl.User{Name: e.User, Secret: e.Secret})
		}
	}
	if len(users) == 0 {
		return func(string) (sasl.User, bool) { return sasl.User{}, false }, nil
	}
	return sasl.Users(users...)
}

// Mechanisms implements rewrite.Logins.
func (l *Logins) Mechanisms(c rewrite.Caller) []string {
	if l.unasked(c) != nil {
		return []string{sasl.Login, sasl.Plain}
	}
	var secrets []sasl.Secret
	for _, e := range l.Entries {
		if e.takes(c) {
			secrets = append(secrets, e.Secret)
		}
	}
	if len(secrets) == 0 {
		return nil
	}
	return sasl.Mechanisms(secrets...)
}

// Accept implements rewrite.Logins.
func (l *Logins) Accept(c rewrite.Caller, mechanism string) rewrite.Acceptance {
	if mechanism == "NTLMSSP" {
		mechanism = sasl.NTLM
	}
	if !slices.Contains(l.Mechanisms(c), mechanism) {
		return nil
	}
	if e := l.unasked(c); e != nil {
		return &welcome{logins: l, entry: e, caller: c, asks: mechanism == sasl.Login}
	}
	lookup, err := l.lookup(c, false)
	if err != nil {
		return nil
	}
	server, err := sasl.NewServer(mechanism, sasl.Realm{Lookup: lookup, Host: l.Host, NTLMv1: l.NTLMv1, Now: l.Now})
	if err != nil {
		return nil
	}
	return &acceptance{logins: l, caller: c, mechanism: mechanism, server: server}
}

// Unasked implements rewrite.Logins.
func (l *Logins) Unasked(c rewrite.Caller) rewrite.Login {
	if e := l.unasked(c); e != nil {
		return l.begin(e, c)
	}
	return nil
}

func (l *Logins) begin(e *Entry, c rewrite.Caller) *session {
	return &session{account: e.Account, entry: e, client: c.Address.String()}
}

// An acceptance is a client's exchange with us.
type acceptance struct {
	logins    *Logins
	caller    rewrite.Caller
	mechanism string
	server    sasl.Server
	err       error
}

// Next implements rewrite.Acceptance.
func (a *acceptance) Next(ctx context.Context, response []byte) (challenge []byte, more bool) {
	l := a.logins
	if !l.strikes.allows(a.caller.Address, l.Now()) {
		a.err = errStruck
		return nil, false
	}
	challenge, done, err := a.server.Next(response)
	if err == nil && !done {
		return challenge, true
	}
	if a.err = err; errors.Is(err, sasl.ErrRefused) {
		l.strikes.add(a.caller.Address, l.Now())
		pause(ctx, strikePause)
	}
	return nil, false
}

// Login implements rewrite.Acceptance.
func (a *acceptance) Login() (rewrite.Login, rewrite.Reply) {
	l := a.logins
	if a.err == nil {
		user := a.server.User()
		for i := range l.Entries {
			if e := &l.Entries[i]; strings.EqualFold(e.User, user) && e.takes(a.caller) {
				return l.begin(e, a.caller), rewrite.Reply{}
			}
		}
		a.err = sasl.ErrRefused
	}
	l.Log.Warn("a client could not log in", "client", a.caller.Address, "mechanism", a.mechanism, "err", a.err)
	switch {
	case errors.Is(a.err, errStruck):
		return nil, rewrite.Reply{Code: 454, Lines: []string{"4.7.0 too many failed logins from this address, try again later"}}
	case errors.Is(a.err, sasl.ErrMalformed):
		return nil, rewrite.Reply{Code: 501, Lines: []string{"5.5.2 malformed authentication message"}}
	}
	return nil, rewrite.Reply{Code: 535, Lines: []string{"5.7.8 user or password not accepted"}}
}

// A welcome is the exchange of a client that need not log in and does: devices often
// cannot leave it out. Any user and password will do.
type welcome struct {
	logins *Logins
	entry  *Entry
	caller rewrite.Caller
	asks   bool // for a user and for a password: LOGIN
	heard  int
}

// Next implements rewrite.Acceptance.
func (w *welcome) Next(_ context.Context, response []byte) (challenge []byte, more bool) {
	if response != nil {
		w.heard++
	}
	switch {
	case !w.asks:
		return []byte{}, w.heard == 0
	case w.heard == 0:
		return []byte("Username:"), true
	case w.heard == 1:
		return []byte("Password:"), true
	}
	return nil, false
}

// Login implements rewrite.Acceptance.
func (w *welcome) Login() (rewrite.Login, rewrite.Reply) {
	return w.logins.begin(w.entry, w.caller), rewrite.Reply{}
}
