package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/login/token"
)

// printAccount prints how an account logs in.
func printAccount(w io.Writer, a *account, c *config) {
	line := func(name, text string) { entry(w, 2, name, 17, text) }
	fmt.Fprintf(w, "account %s\n", a.Name)
	line("user", a.User)
	line("logs in", a.means())
	if len(a.Mechanisms) > 0 {
		line("mechanisms", "only "+strings.Join(a.Mechanisms, ", "))
	}
	line("pace", a.pace())
	if a.Temporary {
		line("refusal", "temporary: clients hear 454 of a login that is refused for good, and try again")
	}
	if a.tokens != nil && a.tokens.Flow == token.RefreshToken {
		line("kept", "the refresh token is in "+a.tokens.StateDir+". Several machines need a login each, or a directory that they share and that has locks.")
	}
	if used := c.usesOf(a); len(used) > 0 {
		line("used by", "route "+strings.Join(used, ", "))
	}
}

// means describes the credentials of an account.
func (a *account) means() string {
	if a.tokens == nil {
		return "by password, by the strongest mechanism that the server offers"
	}
	t := a.tokens
	text := "by OAuth, " + string(t.Flow)
	if t.Provider != "" {
		text += " of " + t.Provider
	}
	switch {
	case t.Tenant != "":
		text += ", tenant " + t.Tenant
	case t.Flow == token.Command:
		text += ": " + t.Command[0] // the arguments may contain a secret
		if n := len(t.Command) - 1; n > 0 {
			text += ", with " + words.Plural(n, "argument")
		}
	}
	if t.TokenURL != "" {
		text += ", from " + t.TokenURL
	}
	return text
}

// pace describes the limits of the account.
func (a *account) pace() string {
	var list []string
	if a.Sessions > 0 {
		list = append(list, words.Plural(a.Sessions, "session")+" at once")
	}
	if a.MessagesPerMinute > 0 {
		list = append(list, words.Plural(a.MessagesPerMinute, "message")+" a minute")
	}
	if len(list) == 0 {
		return "no limit"
	}
	return strings.Join(list, " and ") + ", counted by each smtpshim for itself; whoever is over that waits " + words.Brief(a.Wait) + ", then hears 451"
}

// usesOf returns the routes whose logins use an account.
func (c *config) usesOf(a *account) (routes []string) {
	for _, r := range c.routes {
		if slices.ContainsFunc(r.logins, func(l routeLogin) bool { return l.account == a.Name }) {
			routes = append(routes, r.Name)
		}
	}
	return routes
}

// soon is the time before a credential's end at which there is a warning.
const soon = 30 * 24 * time.Hour

// warnAccount returns warnings about an account: possible mistakes, and what will become
// one with time.
func (c *config) warnAccount(a *account, now time.Time) (list []string) {
	if len(c.usesOf(a)) == 0 {
		list = append(list, "no [[route.login]] names this account: it is not used.")
	}
	for _, f := range a.secretFiles() {
		if text := warnSecret(f[0], f[1]); text != "" {
			list = append(list, text)
		}
	}
	if a.tokens == nil {
		return list
	}
	if a.tokens.Flow == token.RefreshToken {
		if err := a.tokens.Stored(); err != nil {
			list = append(list, fmt.Sprintf("there is no login yet: %v. Run \"smtpshim login %s\".", err, a.Name))
		}
	}
	if ends, err := a.tokens.CertificateEnds(); err == nil && !ends.IsZero() && ends.Before(now.Add(soon)) {
		verb := "ends"
		if ends.Before(now) {
			verb = "has ended"
		}
		list = append(list, fmt.Sprintf("client_certificate %s on %s; the token endpoint takes none that has. Give the application a new one.", verb, ends.Format(time.DateOnly)))
	}
	return list
}
