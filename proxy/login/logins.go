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

// An Entry lets some clients use an account: clients in given networks, clients that
// log in to us as a given user, or clients for which both must hold.
type Entry struct {
	// Networks are the networks of the clients that may use the entry. If User is
	// empty, they need not log in to us. If User is not empty, they must log in to us
	// as that user, in TLS or in clear.
	Networks []netip.Prefix
	// User is the name by which clients log in to us; "": they need not. If there are
	// no Networks, clients may log in from any address, but only in TLS.
	User   string
	Secret sasl.Secret // the user's password
	NTLMv1 bool        // the user may log in with NTLMv1, as Exchange 5.0 and 5.5 do

	Account *Account
	// If Sender is not "", it replaces the client's sender in MAIL. Otherwise the
	// client's sender must be in Senders, a list of addresses and of domains such as
	// "@example.com". If Senders is empty too, every sender is allowed. The empty
	// sender of a bounce is always allowed and never replaced.
	Sender  string
	Senders []string

	anybody bool // any client may use the entry: see [Trial]
}

// Settings say which clients of a route use which accounts.
type Settings struct {
	Route string // the route's name, for the observer
	// The order of Entries matters: the first entry that has no User, and has the
	// client's address in Networks, applies, and the client need not log in to us. If
	// there is no such entry, the client must log in, and the entry with its user name
	// applies.
	Entries []Entry
	Host    string           // our host name, for challenges; "": localhost
	Log     *slog.Logger     // nil: no log
	Now     func() time.Time // nil: time.Now
}

// Logins decide which clients of one route may use which account. They implement
// rewrite.Logins.
type Logins struct {
	Settings
	users   sasl.Lookup // of all entries; nil: no entry has a user
	strikes strikes
}

// New returns the Logins of a route with the settings s. The error says what is wrong
// with s, for example that an entry would let anybody on the Internet use its account.
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
	var users []sasl.User
	for _, e := range s.Entries {
		if e.User != "" {
			users = append(users, sasl.User{Name: e.User, Secret: e.Secret, NTLMv1: e.NTLMv1})
		}
	}
	if len(users) > 0 {
		var err error
		if l.users, err = sasl.Users(users...); err != nil {
			return nil, fmt.Errorf("logins: %w", err)
		}
	}
	return l, nil
}

func (e *Entry) contains(a netip.Addr) bool {
	return e.anybody || a.IsValid() && rewrite.InNetworks(a, e.Networks)
}

// takes reports whether a client may log in as the entry's user.
func (e *Entry) takes(c rewrite.Caller) bool {
	return e.User != "" && (len(e.Networks) == 0 && c.TLS || e.contains(c.Address))
}

// unasked returns the entry of a client that need not log in; nil: there is none.
func (l *Logins) unasked(c rewrite.Caller) *Entry {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.User == "" && e.contains(c.Address) {
			return e
		}
	}
	return nil
}

// entryOf returns the entry of a user as which this client may log in; nil: there is
// none.
func (l *Logins) entryOf(user string, c rewrite.Caller) *Entry {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.takes(c) && strings.EqualFold(e.User, user) {
			return e
		}
	}
	return nil
}

// lookup finds only users as which this client may log in. Logins as other users fail
// like those of unknown users, so that the client learns nothing about their names and
// passwords.
func (l *Logins) lookup(c rewrite.Caller) sasl.Lookup {
	return func(name string) (sasl.User, bool) {
		u, ok := l.users(name)
		return u, ok && l.entryOf(u.Name, c) != nil
	}
}

// Mechanisms returns the mechanisms by which the client c may log in to us. If c need
// not log in, they are LOGIN and PLAIN. If no entry is for c, there are none.
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

// Accept begins an AUTH exchange with the client c by mechanism, named in upper case.
// If c need not log in to us, the exchange accepts any user and password. Accept
// returns nil if c may not use the mechanism. It implements rewrite.Logins.
func (l *Logins) Accept(c rewrite.Caller, mechanism string) rewrite.Acceptance {
	if mechanism == "NTLMSSP" {
		mechanism = sasl.NTLM
	}
	if !slices.Contains(l.Mechanisms(c), mechanism) {
		return nil
	}
	if e := l.unasked(c); e != nil {
		asks := []string{""} // PLAIN
		if mechanism == sasl.Login {
			asks = []string{"Username:", "Password:"}
		}
		return &welcome{logins: l, entry: e, caller: c, asks: asks}
	}
	server, err := sasl.NewServer(mechanism, sasl.Realm{Lookup: l.lookup(c), Host: l.Host, Now: l.Now})
	if err != nil {
		return nil
	}
	return &acceptance{logins: l, caller: c, mechanism: mechanism, server: server}
}

// Unasked returns the login of the client c if an entry without a user has the network
// of c, so that c need not log in to us. Otherwise it returns nil. It implements
// rewrite.Logins.
func (l *Logins) Unasked(c rewrite.Caller) rewrite.Login {
	if e := l.unasked(c); e != nil {
		return l.begin(e, c)
	}
	return nil
}

func (l *Logins) begin(e *Entry, c rewrite.Caller) *session {
	e.Account.use(1)
	return &session{route: l.Route, account: e.Account, entry: e, client: c.Address.String()}
}

// An acceptance is the AUTH exchange in which a client logs in to us.
type acceptance struct {
	logins    *Logins
	caller    rewrite.Caller
	mechanism string
	server    sasl.Server
	begun     bool
	err       error
}

// Next takes line, the client's next line. It returns the next challenge of the
// mechanism, or false for more if the exchange is over. After a wrong password it waits
// for two seconds before it returns. After too many wrong passwords from the client's
// address it ends the exchange and ignores line. It implements rewrite.Acceptance.
func (a *acceptance) Next(ctx context.Context, line string) (challenge string, more bool) {
	l, first := a.logins, !a.begun
	a.begun = true
	var message []byte
	var done bool
	err := l.strikes.check(ctx, a.caller.Address, l.Now, func() (wrong bool) {
		var response []byte
		if line != "" || !first {
			if response, a.err = sasl.DecodeResponse(line, first); a.err != nil {
				return false
			}
		}
		message, done, a.err = a.server.Next(response)
		return errors.Is(a.err, sasl.ErrRefused)
	})
	switch {
	case err != nil:
		a.err = err
	case a.err == nil && !done:
		return sasl.Encode(message), true
	case errors.Is(a.err, sasl.ErrRefused):
		pause(ctx, strikePause)
	}
	return "", false
}

// Login returns the login of an entry if the client has logged in as its User.
// Otherwise it returns the reply to the client: 454, 501 or 535. It implements
// rewrite.Acceptance.
func (a *acceptance) Login() (rewrite.Login, rewrite.Reply) {
	l := a.logins
	if a.err == nil {
		if e := l.entryOf(a.server.User(), a.caller); e != nil {
			return l.begin(e, a.caller), rewrite.Reply{}
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

// A welcome is the AUTH exchange of a client that need not log in, since devices often
// cannot be told not to. It accepts any user and password.
type welcome struct {
	logins *Logins
	entry  *Entry
	caller rewrite.Caller
	asks   []string // prompts that are still to be sent
	begun  bool
}

// Next returns the prompts of the mechanism, one at each call, and then false for more.
// It ignores the client's answers. An initial response counts as the answer to the
// first prompt. Next implements rewrite.Acceptance.
func (w *welcome) Next(_ context.Context, line string) (challenge string, more bool) {
	if !w.begun && line != "" { // the initial response answers the first prompt
		w.asks = w.asks[1:]
	}
	w.begun = true
	if len(w.asks) == 0 {
		return "", false
	}
	challenge, w.asks = sasl.Encode([]byte(w.asks[0])), w.asks[1:]
	return challenge, true
}

// Login returns the login of the client's entry, and never refuses. It implements
// rewrite.Acceptance.
func (w *welcome) Login() (rewrite.Login, rewrite.Reply) {
	return w.logins.begin(w.entry, w.caller), rewrite.Reply{}
}
