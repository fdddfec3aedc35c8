package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/login/token"
	"smtpshim/rewrite"
	"smtpshim/rewrite/oneof"
	"smtpshim/rewrite/vocabulary"
)

// An Observer is told how attempts to log in at servers ended. Its method may be called
// from any goroutine and must return at once.
type Observer interface {
	// LoggedIn is called at the end of each attempt to log in at a server, successful
	// or not. route and account are names. mechanism is "" if the attempt ended before
	// one was chosen, for example because there was no token.
	LoggedIn(route, account, mechanism string, outcome vocabulary.LoginOutcome)
}

// AccountSettings say how an account logs in. Exactly one of Password and Tokens must be
// set.
type AccountSettings struct {
	Name string // the name of the account, for people and the Observer
	User string // the name of the user at the server

	Password sasl.Secret
	Tokens   *token.Source

	Mechanisms []string // mechanisms that may be used; nil: all

	Sessions          int           // limit of sessions at a time; 0: no limit
	MessagesPerMinute int           // limit of messages in any minute; 0: no limit
	Wait              time.Duration // longest wait of a client at a limit; 0: DefaultWait

	// Temporary determines the reply to clients while the account cannot log in until
	// somebody corrects it: the server or the token endpoint refuses the account, or
	// the server offers no mechanism that it may use. If Temporary is true, the reply
	// is 454, so that clients try again and do not return mail. Otherwise it is 535.
	Temporary bool

	Log      *slog.Logger     // nil: no log
	Observer Observer         // nil: none
	Now      func() time.Time // nil: time.Now
}

// An Account logs in at servers, with a password or with tokens. Its limits hold for
// all sessions that use it, on every route, together. It is safe for concurrent use.
type Account struct {
	AccountSettings
	places  chan struct{} // a semaphore of sessions; nil: no limit
	minute  *minute       // nil: no limit
	mu      sync.Mutex
	refused reason // the refusal that clients get until then, and its meaning
	until   time.Time
	open    int  // sessions that may use the account
	retired bool // close the account when there are no such sessions
}

// refusedFor is the time for which the server is not asked again after it has refused an
// account, so that the many clients of an account do not cause it to be locked.
const refusedFor = 30 * time.Second

// DefaultWait is the longest wait of a client at a limit of an account, if
// AccountSettings.Wait is 0.
const DefaultWait = 10 * time.Second

// NewAccount returns an account with the settings s. It returns an error that says what
// is wrong with s if User is empty, if both or neither of Password and Tokens are set,
// if a number is negative, or if a mechanism is unknown.
func NewAccount(s AccountSettings) (*Account, error) {
	switch {
	case s.User == "":
		return nil, fmt.Errorf("account %q: no user", s.Name)
	case s.Password.Zero() == (s.Tokens == nil):
		return nil, fmt.Errorf("account %q: want either a password or tokens", s.Name)
	case s.Sessions < 0 || s.MessagesPerMinute < 0 || s.Wait < 0:
		return nil, fmt.Errorf("account %q: sessions, messages and the wait cannot be negative", s.Name)
	}
	for _, m := range s.Mechanisms {
		if _, err := oneof.Index(strings.ToUpper(m), sasl.ClientMechanisms()); err != nil {
			return nil, fmt.Errorf("account %q: mechanism %w", s.Name, err)
		}
	}
	if s.Wait == 0 {
		s.Wait = DefaultWait
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	a := &Account{AccountSettings: s}
	if s.Sessions > 0 {
		a.places = make(chan struct{}, s.Sessions)
	}
	if s.MessagesPerMinute > 0 {
		a.minute = newMinute(s.MessagesPerMinute)
	}
	return a, nil
}

// errBusy means that there was no room for a session in time.
var errBusy = errors.New("no room in time")

// enter waits for room for one more session.
func (a *Account) enter(ctx context.Context) error {
	if a.places == nil {
		return nil
	}
	select {
	case a.places <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, a.Wait)
	defer cancel()
	select {
	case a.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

func (a *Account) leave() {
	if a.places != nil {
		<-a.places
	}
}

// identity returns the identity to present to the server. The Token is zero if the
// account has a password.
func (a *Account) identity(ctx context.Context) (sasl.Identity, token.Token, error) {
	who := sasl.Identity{User: a.User, Password: a.Password}
	if a.Tokens == nil {
		return who, token.Token{}, nil
	}
	t, err := a.Tokens.Token(ctx)
	if err != nil {
		return sasl.Identity{}, token.Token{}, err
	}
	who.Token = sasl.Password(t.Secret())
	return who, t, nil
}

// Retire closes the account's source of tokens as soon as no session uses the account.
// It does not wait for that. If the account has a password, Retire does nothing.
func (a *Account) Retire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retired = true
	a.closeUnused()
}

// use counts a session that begins, with n 1, or ends, with n -1.
func (a *Account) use(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open += n
	a.closeUnused()
}

// closeUnused closes the source of tokens of a retired account without sessions. mu must
// be held. Close may wait for a request, so it runs in another goroutine.
func (a *Account) closeUnused() {
	if a.retired && a.open == 0 && a.Tokens != nil {
		go a.Tokens.Close()
	}
}

// lately returns the server's recent refusal of the account; its code is 0 if there is
// none.
func (a *Account) lately() reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Now().Before(a.until) {
		return a.refused
	}
	return reason{}
}

func (a *Account) remember(r reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused, a.until = r, a.Now().Add(refusedFor)
}

// forGood returns the reply to a client if the refusal lasts until somebody corrects the
// account.
func (a *Account) forGood(text string) rewrite.Reply {
	if a.Temporary {
		return rewrite.Reply{Code: 454, Lines: []string{"4.7.0 " + text}}
	}
	return rewrite.Reply{Code: 535, Lines: []string{"5.7.8 " + text}}
}

func forNow(text string) rewrite.Reply {
	return rewrite.Reply{Code: 454, Lines: []string{"4.7.0 " + text}}
}
