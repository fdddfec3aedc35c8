package main

import (
	"fmt"
	"io"
	"strings"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/login/token"
)

// printAccount prints how an account logs in.
func printAccount(w io.Writer, a *config.Account, c *config.Config) {
	line := func(name, text string) { entry(w, 2, name, 17, text) }
	fmt.Fprintf(w, "account %s\n", a.Name)
	line("user", a.User)
	line("logs in", accountMeans(a))
	if len(a.Mechanisms) > 0 {
		line("mechanisms", "only "+strings.Join(a.Mechanisms, ", "))
	}
	line("pace", paceOf(a))
	if a.Temporary {
		line("refusal", "temporary: clients get 454 for a login that is refused for good, and try again")
	}
	if a.OAuth != nil && a.OAuth.Flow == token.RefreshToken {
		line("kept", "the refresh token is in "+a.OAuth.StateDir+". Several machines need one login each, or a shared directory that supports locks.")
	}
	if used := c.UsesOf(a); len(used) > 0 {
		line("used by", "route "+strings.Join(used, ", "))
	}
}

// accountMeans describes the credentials of an account.
func accountMeans(a *config.Account) string {
	if a.OAuth == nil {
		return "by password, by the strongest mechanism that the server offers"
	}
	t := a.OAuth
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

// paceOf describes the limits of the account.
func paceOf(a *config.Account) string {
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
	return strings.Join(list, " and ") + ", counted by each smtpshim for itself; a client over the limit waits " + words.Brief(a.Wait) + ", then gets 451"
}
