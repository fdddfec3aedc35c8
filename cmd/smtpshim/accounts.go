package main

import (
	"fmt"
	"log/slog"
	"os"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics"
	"smtpshim/proxy/login"
	"smtpshim/proxy/login/token"
)

// An accountInUse is an account that sessions log in with.
type accountInUse struct {
	*config.Account
	use *login.Account
}

// accounts are the accounts of the present configuration, by name.
type accounts map[string]*accountInUse

// accountsOf opens the accounts of a configuration. An account that was already in use
// and has not changed is kept, with its token and its counts.
func (before accounts) accountsOf(c *config.Config, log *slog.Logger, o *metrics.Logins) (accounts, error) {
	all := accounts{}
	for _, a := range c.Accounts {
		if old := before[a.Name]; old != nil && old.Equal(a) {
			all[a.Name] = old
			continue
		}
		u, err := openAccount(a, log, o)
		if err != nil {
			all.close(before)
			return nil, err
		}
		all[a.Name] = u
	}
	return all, nil
}

// makeStateDir creates the directory for refresh tokens. It must exist before the program
// locks itself in.
func makeStateDir(c *config.Config) error {
	for _, a := range c.Accounts {
		if a.OAuth != nil && a.OAuth.Flow == token.RefreshToken {
			if err := os.MkdirAll(a.OAuth.StateDir, 0o700); err != nil {
				return fmt.Errorf("state_dir, for account %s: %w", a.Name, err)
			}
		}
	}
	return nil
}

// openAccount opens an account. If o is nil, nothing is counted.
func openAccount(a *config.Account, log *slog.Logger, o *metrics.Logins) (*accountInUse, error) {
	s := a.AccountSettings
	s.Log = log
	if o != nil {
		s.Observer = o
	}
	if a.OAuth != nil {
		t := *a.OAuth
		t.Log = log
		if o != nil {
			t.Observer = o
		}
		source, err := token.New(t)
		if err != nil {
			return nil, err
		}
		s.Tokens = source
	}
	use, err := login.NewAccount(s)
	if err != nil {
		return nil, err
	}
	return &accountInUse{a, use}, nil
}

// prefetch makes each account that needs a token and has none obtain one.
func (all accounts) prefetch() {
	for _, a := range all {
		if a.use.Tokens != nil {
			a.use.Tokens.Prefetch()
		}
	}
}

// countedAccounts returns the accounts of a configuration, for the metrics.
func countedAccounts(c *config.Config) (list []metrics.Account) {
	for _, a := range c.Accounts {
		m := metrics.Account{Name: a.Name, Routes: c.UsesOf(a), Mechanisms: a.PossibleMechanisms(), Tokens: a.OAuth != nil}
		list = append(list, m)
	}
	return list
}

// accountCertificates returns the accounts' client certificates whose files can be read.
func accountCertificates(c *config.Config) (list []metrics.AccountCertificate) {
	for _, a := range c.Accounts {
		if a.OAuth == nil {
			continue
		}
		if ends, err := a.OAuth.CertificateEnds(); err == nil && !ends.IsZero() {
			list = append(list, metrics.AccountCertificate{Account: a.Name, NotAfter: ends})
		}
	}
	return list
}

// close closes the accounts that are not in others, when their sessions have ended.
func (all accounts) close(others accounts) {
	for name, a := range all {
		if others[name] != a {
			a.use.Retire()
		}
	}
}

// closeNow closes all accounts. It waits for the results of requests in progress and
// stores them.
func (all accounts) closeNow() {
	for _, a := range all {
		if a.use.Tokens != nil {
			a.use.Tokens.Close()
		}
	}
}

// loginsWith returns the logins of a route; nil: it has none.
func loginsWith(r *config.Route, all accounts, log *slog.Logger) (*login.Logins, error) {
	if len(r.LoginEntries) == 0 {
		return nil, nil
	}
	s := login.Settings{Route: r.Name, Host: liveName(), Log: log.With("route", r.Name)}
	for _, l := range r.LoginEntries {
		l.Account = all[l.AccountName].use
		s.Entries = append(s.Entries, l.Entry)
	}
	logins, err := login.New(s)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Name, err)
	}
	return logins, nil
}
