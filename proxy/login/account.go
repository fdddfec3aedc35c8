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

// An Observer is told of each login at a server. It returns at once, and may be called
// from any goroutine.
type Observer interface {
	// LoggedIn is called with the route, the account and the mechanism, which is ""
	// where none was chosen.
	LoggedIn(route, account, mechanism string, outcome vocabulary.LoginOutcome)
}

// AccountSettings say how an account logs in. One of Password and Tokens is set.
type AccountSettings struct {
	Name string // of the account, for people
	User string // at the server

	Password sasl.Secret
	Tokens   *token.Source

	Mechanisms []string // that may be used; nil: all

	Sessions          int           // at once; 0: no limit
	MessagesPerMinute int           // 0: no limit
	Wait              time.Duration // for a session or a message at most; 0: 10 s

	// Temporary has clients told 454 where the server or the token endpoint refuses the
	// account for good: they try again, and the mail is not returned while somebody
	// mends the account.
	Temporary bool

	Log      *slog.Logger     // nil: no log
	Observer Observer         // nil: none
	Now      func() time.Time // nil: time.Now
}

// An Account is used by all its sessions, of every route. It is for concurrent use.
type Account struct {
	AccountSettings
	places  chan struct{} // a session's each; nil: no limit
	minute  *minute       // nil: no limit
	mu      sync.Mutex
	refused reason // what clients are told until then, and why
	until   time.Time
	open    int  // sessions that may use it
	retired bool // it is closed once there is none
}

// refusedFor is how long the server is not asked again after it has refused an account:
// many clients of one account must not have it locked.
const refusedFor = 30 * time.Second

const defaultWait = 10 * time.Second

// NewAccount returns an account, or what is wrong with its settings.
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
		s.Wait = defaultWait
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

// errBusy means that there was no room in time.
var errBusy = errors.New("no room in time")

// enter waits for a session's place.
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

// identity is who we are to the server now. The token is the zero Token where a
// password is used.
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

// Retire closes the account's source of tokens once the sessions that use it have ended.
func (a *Account) Retire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retired = true
	a.closeUnused()
}

// use counts a session that begins, or one that ends: n is 1 or -1.
func (a *Account) use(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open += n
	a.closeUnused()
}

// closeUnused is called with mu held. Close may have to wait for a request.
func (a *Account) closeUnused() {
	if a.retired && a.open == 0 && a.Tokens != nil {
		go a.Tokens.Close()
	}
}

// lately is what the server has refused the account with a moment ago; no code: it has
// not.
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

// forGood is what a client is told of a refusal that somebody has to mend.
func (a *Account) forGood(text string) rewrite.Reply {
	if a.Temporary {
		return rewrite.Reply{Code: 454, Lines: []string{"4.7.0 " + text}}
	}
	return rewrite.Reply{Code: 535, Lines: []string{"5.7.8 " + text}}
}

func forNow(text string) rewrite.Reply {
	return rewrite.Reply{Code: 454, Lines: []string{"4.7.0 " + text}}
}
