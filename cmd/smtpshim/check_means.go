package main

import (
	"fmt"
	"slices"
	"strings"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy"
	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/record"
	"smtpshim/proxy/servers"
	"smtpshim/rewrite"
)

// serversAre describes the order in which a route's servers are tried.
func serversAre(r *proxy.Route) string {
	if len(r.Servers) == 1 {
		return r.Servers[0]
	}
	switch r.Balance {
	case servers.RoundRobin:
		return strings.Join(r.Servers, ", ") + ": each in its turn, then the others"
	case servers.LeastSessions:
		return strings.Join(r.Servers, ", ") + ": the one with the fewest sessions, then the others"
	}
	return strings.Join(r.Servers, ", then ")
}

// networkMeans describes the network settings for check, by name and text.
func networkMeans(r *config.Route) (lines [][2]string) {
	if len(r.Clients) > 0 {
		lines = append(lines, [2]string{"clients", "only from " + words.Networks(r.Clients) + "; the others get 554"})
	}
	if slices.Contains(r.Servers, proxy.OriginalDestination) {
		by := "as connection tracking has it (REDIRECT)"
		if r.Transparent {
			by = "to which the connection is made (TPROXY)"
		}
		lines = append(lines, [2]string{"destination", "where the client was going, " + by + ", if that is in " + words.Networks(r.Destinations)})
	}
	if r.Transparent {
		lines = append(lines, [2]string{"transparent", "connections to addresses of other machines are accepted; needs CAP_NET_ADMIN"})
	}
	switch {
	case r.Source.Client:
		lines = append(lines, [2]string{"source", "servers are dialled from the client's address; needs CAP_NET_ADMIN, and the servers' packets must come back through this machine"})
	case r.Source.Address.IsValid():
		lines = append(lines, [2]string{"source", "servers are dialled from " + r.Source.Address.String()})
	}
	return lines
}

// xclientMeans describes what a route does with XCLIENT.
func xclientMeans(r *proxy.Route) (means []string) {
	switch r.XCLIENTSend {
	case rewrite.XCLIENTOffered:
		means = append(means, "offered: sends the client's address if the server offers XCLIENT; otherwise the server sees the address of this machine")
	case rewrite.XCLIENTRequired:
		means = append(means, "require: sends the client's address, or ends the session with 421")
	}
	if len(r.XCLIENTFrom) > 0 {
		means = append(means, "accepted from "+words.Networks(r.XCLIENTFrom))
	}
	return means
}

// recordMeans describes what is recorded, and how long it is kept.
func recordMeans(r *record.Route) string {
	what := "dialogues"
	switch {
	case r.OnlyHealed && r.OnlyFailed:
		what = "dialogues that are healed or fail"
	case r.OnlyHealed:
		what = "dialogues that are healed"
	case r.OnlyFailed:
		what = "dialogues that fail"
	}
	if len(r.Clients) > 0 {
		what += " of clients in " + words.Networks(r.Clients)
	}
	kept := "kept for " + words.Brief(r.Age)
	if r.Age == 0 {
		kept = "the last " + words.Plural(r.Keep, "file")
	}
	return fmt.Sprintf("%s, in %s: %s, in all at most %d MiB", what, r.Dir, kept, r.Octets>>20)
}

// loginMeans describes a login: who logs in, and how.
func loginMeans(l config.Login) string {
	list := words.Networks(l.Networks)
	who := "clients in " + list
	if l.User != "" {
		who = fmt.Sprintf("user %q, who logs in to us by %s", l.User, strings.Join(sasl.Mechanisms(l.Secret), ", "))
		if l.NTLMv1 {
			who += " (NTLMv1 too, which is weak)"
		}
		if list != "" {
			who += ", also in clear, from " + list
		} else {
			who += ", inside TLS, from anywhere"
		}
	} else {
		who += ", who need not log in to us"
	}
	switch {
	case l.Sender != "":
		return fmt.Sprintf("%s: as account %s, with the sender %s", who, l.AccountName, l.Sender)
	case len(l.Senders) > 0:
		return fmt.Sprintf("%s: as account %s, with these senders only: %s", who, l.AccountName, strings.Join(l.Senders, ", "))
	}
	return fmt.Sprintf("%s: as account %s, with any sender", who, l.AccountName)
}

// adminMeans describes what the admin listener serves, and to whom.
func adminMeans(c *config.Config) string {
	switch {
	case c.Admin == "":
		return "off"
	case c.Password != nil && config.IsLoopback(c.Admin):
		return c.Admin + ", with a password"
	case c.Password != nil:
		return c.Admin + ", with a password, which is sent in clear unless something before it speaks TLS"
	case c.HasPage():
		return c.Admin + ", for everybody on this machine"
	}
	return c.Admin + ", metrics and health for everybody; no page, which needs a password there"
}
