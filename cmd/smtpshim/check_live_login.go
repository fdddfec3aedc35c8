package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/proxy/login"
	"smtpshim/proxy/login/token"
)

// A loginTrial is a trial of an account at one server.
type loginTrial struct {
	account string
	refused string // why the account cannot log in; "": it can
}

// tryLogins makes each account of the route log in at the server, over connections with
// the route's settings.
func (v *visit) tryLogins(ctx context.Context) {
	s := &v.session
	if s.tls.err != nil || s.tls.state == nil || !s.welcome() {
		return // send no credentials; trouble is reported elsewhere
	}
	var tried []string
	for _, l := range v.route.LoginEntries {
		i := slices.IndexFunc(v.accounts, func(a *config.Account) bool { return a.Name == l.AccountName })
		if i < 0 || slices.Contains(tried, l.AccountName) {
			continue
		}
		tried = append(tried, l.AccountName)
		v.logins = append(v.logins, v.tryLogin(ctx, v.accounts[i]))
	}
}

func (v *visit) tryLogin(ctx context.Context, a *config.Account) loginTrial {
	l := loginTrial{account: a.Name}
	if a.OAuth != nil && a.OAuth.Flow == token.RefreshToken {
		if err := a.OAuth.Stored(); err != nil {
			l.refused = fmt.Sprintf("%v; run \"smtpshim login %s\"", err, a.Name)
			return l
		}
	}
	var told lastWarning
	use, err := openAccount(a, slog.New(&told), nil)
	if err != nil {
		l.refused = err.Error()
		return l
	}
	defer use.use.Retire()
	s := liveSession{auth: true}
	r := v.as(v.route.ServerTLS)
	r.Logins = login.Trial(v.route.Name, use.use)
	s.hold(ctx, r)
	if len(s.codes) < 3 || s.codes[2] != "235" {
		l.refused = cmp.Or(told.text(), s.end.Err, "the session ended before the login")
	}
	return l
}

// means describes the result of a trial.
func (l loginTrial) means() (name, text string) {
	if l.refused != "" {
		return "login", fmt.Sprintf("account %s FAILED: %s", l.account, l.refused)
	}
	return "login", fmt.Sprintf("account %s is logged in", l.account)
}

// A lastWarning is a slog.Handler that keeps the last warning about a login.
type lastWarning struct {
	mu   sync.Mutex
	said string
}

func (w *lastWarning) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said
}

func (w *lastWarning) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w *lastWarning) WithAttrs([]slog.Attr) slog.Handler           { return w }
func (w *lastWarning) WithGroup(string) slog.Handler                { return w }

func (w *lastWarning) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "account", "client":
		case "do":
			if do := a.Value.String(); do != "" {
				text = strings.Replace(text, "; "+do, "", 1) + "; what to do: " + do // an error may contain it already
			}
		case "means":
			text += "; it means: " + a.Value.String()
		default:
			text += fmt.Sprintf("; %s %s", a.Key, a.Value)
		}
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = text
	return nil
}
