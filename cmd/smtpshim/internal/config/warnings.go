package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy"
	"smtpshim/proxy/header"
	"smtpshim/proxy/login/token"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
)

// Warnings returns probable mistakes and risks in r, one text for each. Any of them may
// be intended. now is the current time, with which dates of certificates and allowances
// are compared.
func (r *Route) Warnings(now time.Time) []string {
	var list []string
	open := openListeners(r)
	if open != nil && len(r.Clients) == 0 && len(r.LoginEntries) == 0 && r.ProxySend == header.None && !r.Source.Client && r.XCLIENTSend != rewrite.XCLIENTRequired {
		list = append(list, strings.Join(open, ", ")+" can be reached from other machines, and the server sees every client "+
			"under this machine's address: if it relays for that address, anybody who gets here can send mail anywhere. "+
			"Name the right hosts in clients, let only them through the firewall, or let the server not trust this address. "+
			`If everybody is right, as for the mail of a domain, write clients = ["0.0.0.0/0", "::/0"].`)
	}
	for _, network := range r.ProxyFrom {
		if network.Bits() == 0 {
			list = append(list, fmt.Sprintf("proxy_protocol.accept_from has %s in it: anybody can pose as a client that the server "+
				"trusts. Name only the balancers.", network))
		}
	}
	for _, network := range r.XCLIENTFrom {
		if network.Bits() == 0 {
			list = append(list, fmt.Sprintf("xclient.accept_from has %s in it: anybody can pose as a client that you trust. "+
				"Name only the proxies.", network))
		}
	}
	if open != nil && r.ClearMayLogIn() {
		list = append(list, `clients in clear can log in by mechanisms that the server offers only inside TLS: whoever reads along between them and this machine `+
			`gets their passwords. If they support TLS, write client_tls.mode = "require"; if they need not log in, server_tls.auth_in_clear = "refuse".`)
	}
	for _, o := range r.idle {
		list = append(list, fmt.Sprintf("route.options.%s.%s does nothing: the rule %s is not in force in route %q. "+
			"Name it in rules, or take the option away.", o.rule, o.name, o.rule, r.Name))
	}
	list = append(list, warnPorts(r)...)
	list = append(list, warnLogins(r)...)
	if leg := r.Client; leg != nil {
		list = append(list, weak("client_tls", "everybody", leg.Allow, now)...)
		for _, text := range leg.Acceptor.Warnings(now) {
			list = append(list, "client_tls: "+text)
		}
	}
	if leg := r.Server; leg != nil {
		list = append(list, weak("server_tls", "the server", leg.Allow, now)...)
		side := "server_tls: "
		if leg.Verification == tlspolicy.Unverified {
			side = "server_tls, verify = false: "
		}
		for _, text := range leg.Dialer.Warnings(now) {
			list = append(list, side+text)
		}
	}
	if leg := r.Server; leg != nil && slices.Contains(r.Servers, proxy.OriginalDestination) &&
		leg.Verification == tlspolicy.Verified && leg.ServerName == "" && len(leg.Pins) == 0 {
		list = append(list, "server_tls requires certificates for the address to which the client was going, and few are: "+
			"write server_name or pins, or mode = \"opportunistic\".")
	}
	if r.ServerTLS.Mode != rewrite.ServerTLSOff && r.ServerTLS.Mode != rewrite.ServerTLSImplicit &&
		!slices.Contains(r.Computed().Names(), "repeat-ehlo") {
		list = append(list, "server_tls is on and the rule repeat-ehlo is not: a server that requires EHLO again after STARTTLS "+
			"refuses clients that do not send it (KB Q279214).")
	}
	return list
}

// warnPorts warns of servers whose port uses TLS in the other way (RFC 8314, 3.3).
func warnPorts(r *Route) (list []string) {
	for _, server := range r.Servers {
		switch mode := r.ServerTLS.Mode; {
		case mode == rewrite.ServerTLSImplicit && strings.HasSuffix(server, ":587"):
			list = append(list, fmt.Sprintf(`server_tls.mode is "implicit", and servers on the port of %s wait for STARTTLS: write mode = "require", or port 465.`, server))
		case (mode == rewrite.ServerTLSRequire || mode == rewrite.ServerTLSOpportunistic) && strings.HasSuffix(server, ":465"):
			list = append(list, fmt.Sprintf(`server_tls.mode is %q, and servers on the port of %s begin with TLS: write mode = "implicit", or port 587.`, mode, server))
		}
	}
	return list
}

// weak describes the weaknesses allowed on one side now. tlspolicy warns of allowances
// that have ended.
func weak(side, whom string, allow []tlspolicy.Allowance, now time.Time) []string {
	var list []string
	for _, a := range allow {
		if a.Until.IsZero() || now.Before(a.Until) {
			list = append(list, side+": WEAK TLS is allowed: "+Allowed(a, whom))
		}
	}
	return list
}

// openListeners returns the listen addresses of a route that other machines can reach.
func openListeners(r *Route) (open []string) {
	for _, address := range r.Listen {
		if strings.HasPrefix(address, SystemdPrefix) {
			address += " (if its socket unit says so)"
		}
		if !IsLoopback(address) {
			open = append(open, address)
		}
	}
	return open
}

// MayBeInClear reports whether a client of r may log in or send mail outside of TLS.
func (r *Route) MayBeInClear() bool {
	switch r.ClientTLS.Mode {
	case rewrite.ClientTLSRequire:
		return false
	case rewrite.ClientTLSImplicit:
		return slices.Contains(r.Rules.Names(), "greet-in-clear")
	}
	return true
}

// ClearMayLogIn reports whether a client of r may log in outside of TLS by mechanisms
// that the server offers only inside TLS.
func (r *Route) ClearMayLogIn() bool {
	return len(r.LoginEntries) == 0 && r.ServerTLS.Mode != rewrite.ServerTLSOff && r.MayBeInClear() && !r.ServerTLS.ClearLogin.Refuses(r.ServerTLS.Mode)
}

// Allowed returns a line that says which weaknesses the allowance a allows, with whom and
// until when. The line names the networks to which a is limited. If there are none, it
// has the text whom in their place.
func Allowed(a tlspolicy.Allowance, whom string) string {
	if len(a.Networks) > 0 {
		whom = "clients in " + words.Networks(a.Networks)
	}
	when := "for ever"
	if !a.Until.IsZero() {
		when = "until " + a.Until.Format(time.DateOnly) + ", then still in force, with a warning"
		if a.RefuseAfter {
			when = "until " + a.Until.Format(time.DateOnly) + ", then refused"
		}
	}
	return fmt.Sprintf("%s with %s, %s", a.Weaknesses, whom, when)
}

// UsesOf returns the names of the routes whose logins use the account a.
func (c *Config) UsesOf(a *Account) (routes []string) {
	for _, r := range c.Routes {
		if slices.ContainsFunc(r.LoginEntries, func(l Login) bool { return l.AccountName == a.Name }) {
			routes = append(routes, r.Name)
		}
	}
	return routes
}

// soon is the time before a credential's end at which there is a warning.
const soon = 30 * 24 * time.Hour

// AccountWarnings returns probable mistakes and risks in the account a, one text for
// each, such as a client certificate that has expired or expires soon. now is the
// current time.
func (c *Config) AccountWarnings(a *Account, now time.Time) (list []string) {
	if len(c.UsesOf(a)) == 0 {
		list = append(list, "no [[route.login]] names this account: it is not used.")
	}
	for _, f := range a.secretFiles() {
		if text := warnSecret(f[0], f[1]); text != "" {
			list = append(list, text)
		}
	}
	if a.OAuth == nil {
		return list
	}
	if a.OAuth.Flow == token.RefreshToken {
		if err := a.OAuth.Stored(); err != nil {
			list = append(list, fmt.Sprintf("there is no login yet: %v. Run \"smtpshim login %s\".", err, a.Name))
		}
	}
	if ends, err := a.OAuth.CertificateEnds(); err == nil && !ends.IsZero() && ends.Before(now.Add(soon)) {
		verb := "ends"
		if ends.Before(now) {
			verb = "has ended"
		}
		list = append(list, fmt.Sprintf("client_certificate %s on %s; the token endpoint accepts no expired certificate. Give the application a new one.", verb, ends.Format(time.DateOnly)))
	}
	return list
}
