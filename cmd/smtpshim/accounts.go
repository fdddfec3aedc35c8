package main

import (
	"fmt"
	"log/slog"
	"os"

	"smtpshim/metrics"
	"smtpshim/proxy/login"
	"smtpshim/proxy/login/token"
)

// An accountInUse is one that sessions log in with.
type accountInUse struct {
	*account
	use *login.Account
}

// accounts are those of the configuration in force, by name.
type accounts map[string]*accountInUse

// accountsOf opens the accounts of a configuration. One that was in use before and is
// the same goes on: its token stays, and what is counted of it.
func (before accounts) accountsOf(c *config, log *slog.Logger, o *metrics.Logins) (accounts, error) {
	all := accounts{}
	for _, a := range c.accounts {
		if old := before[a.Name]; old != nil && old.equal(a) {
			all[a.Name] = old
			continue
		}
		u, err := a.open(log, o)
		if err != nil {
			all.close(before)
			return nil, err
		}
		all[a.Name] = u
	}
	return all, nil
}

// makeStateDir makes the directory that refresh tokens are kept in. It has to be there
// before the program locks itself in.
func (c *config) makeStateDir() error {
	for _, a := range c.accounts {
		if a.tokens != nil && a.tokens.Flow == token.RefreshToken {
			if err := os.MkdirAll(a.tokens.StateDir, 0o700); err != nil {
				return fmt.Errorf("state_dir, for account %s: %w", a.Name, err)
			}
		}
	}
	return nil
}

// open begins the use of an account. Nil counts nothing.
func (a *account) open(log *slog.Logger, o *metrics.Logins) (*accountInUse, error) {
	s := a.AccountSettings
	s.Log = log
	if o != nil {
		s.Observer = o
	}
	if a.tokens != nil {
		t := *a.tokens
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

// prefetch has each account begin to get a token, if it needs one and has none.
func (all accounts) prefetch() {
	for _, a := range all {
		if a.use.Tokens != nil {
			a.use.Tokens.Prefetch()
		}
	}
}

// counted says which accounts a configuration has, for the metrics.
func (c *config) counted() (list []metrics.Account) {
	for _, a := range c.accounts {
		m := metrics.Account{Name: a.Name, Routes: c.usesOf(a), Mechanisms: a.Mechanisms, Tokens: a.tokens != nil}
		if m.Mechanisms == nil && a.tokens != nil {
			m.Mechanisms = tokenMechanisms
		} else if m.Mechanisms == nil {
			m.Mechanisms = passwordMechanisms
		}
		list = append(list, m)
	}
	return list
}

// accountCertificates are those whose end is known: of accounts that have one, and whose
// files can be read.
func (c *config) accountCertificates() (list []metrics.AccountCertificate) {
	for _, a := range c.accounts {
		if a.tokens == nil {
			continue
		}
		if ends, err := a.tokens.CertificateEnds(); err == nil && !ends.IsZero() {
			list = append(list, metrics.AccountCertificate{Account: a.Name, NotAfter: ends})
		}
	}
	return list
}

// close ends the use of accounts that are not in the others, once their sessions have
// ended.
func (all accounts) close(others accounts) {
	for name, a := range all {
		if others[name] != a {
			a.use.Retire()
		}
	}
}

// closeNow ends the use of all accounts. What a request under way brings is stored
// before.
func (all accounts) closeNow() {
	for _, a := range all {
		if a.use.Tokens != nil {
			a.use.Tokens.Close()
		}
	}
}

// loginsWith returns what a route does about logins; nil: nothing.
func (r *route) loginsWith(all accounts, log *slog.Logger) (*login.Logins, error) {
	if len(r.logins) == 0 {
		return nil, nil
	}
	s := login.Settings{Route: r.Name, Host: liveName(), Log: log.With("route", r.Name)}
	for _, l := range r.logins {
		l.Account = all[l.account].use
		s.Entries = append(s.Entries, l.Entry)
	}
	logins, err := login.New(s)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Name, err)
	}
	return logins, nil
}
