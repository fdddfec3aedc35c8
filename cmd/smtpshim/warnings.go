package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/header"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
)

// warnings returns what an administrator should know about a route, although it may be
// intended.
func warnings(r *route, now time.Time) []string {
	var list []string
	open := openListeners(r)
	if open != nil && servesEverybody(r) && len(r.logins) == 0 && r.ProxySend == header.None && !r.Source.Client && r.XCLIENTSend != rewrite.XCLIENTRequired {
		list = append(list, strings.Join(open, ", ")+" can be reached from other machines, and the server sees every client "+
			"under this machine's address: if it relays for that address, anybody who gets here can send mail anywhere. "+
			"Name the right hosts in clients, let only them through the firewall, or let the server not trust this address.")
	}
	for _, network := range r.ProxyFrom {
		if network.Bits() == 0 {
			list = append(list, fmt.Sprintf("proxy_protocol.accept_from has %s in it: everybody can say that he is whoever the server "+
				"trusts. Name the balancers alone.", network))
		}
	}
	for _, network := range r.XCLIENTFrom {
		if network.Bits() == 0 {
			list = append(list, fmt.Sprintf("xclient.accept_from has %s in it: everybody can say that he is whoever you trust. "+
				"Name the proxies alone.", network))
		}
	}
	if open != nil && clearMayLogIn(r) {
		list = append(list, `clients in clear can log in by what the server offers inside TLS only: whoever reads along between them and this machine `+
			`has their passwords. Where they can do TLS, write client_tls.mode = "require"; where they need not log in, server_tls.auth_in_clear = "refuse".`)
	}
	for _, o := range r.idle {
		list = append(list, fmt.Sprintf("route.options.%s.%s does nothing: the rule %s is not in force in route %q. "+
			"Name it in rules, or take the option away.", o.rule, o.name, o.rule, r.Name))
	}
	list = append(list, warnPorts(r)...)
	list = append(list, warnLogins(r)...)
	if leg := r.client; leg != nil {
		list = append(list, weak("client_tls", "everybody", leg.Allow, now)...)
		for _, text := range leg.acceptor.Warnings(now) {
			list = append(list, "client_tls: "+text)
		}
	}
	if leg := r.server; leg != nil {
		list = append(list, weak("server_tls", "the server", leg.Allow, now)...)
		side := "server_tls: "
		if leg.Verification == tlspolicy.Unverified {
			side = "server_tls, verify = false: "
		}
		for _, text := range leg.dialer.Warnings(now) {
			list = append(list, side+text)
		}
	}
	if leg := r.server; leg != nil && slices.Contains(r.Servers, proxy.OriginalDestination) &&
		leg.Verification == tlspolicy.Verified && leg.ServerName == "" && len(leg.Pins) == 0 {
		list = append(list, "server_tls wants certificates that bear the address to which the client was going, and few do: "+
			"write server_name or pins, or mode = \"opportunistic\".")
	}
	if r.ServerTLS.Mode != rewrite.ServerTLSOff && r.ServerTLS.Mode != rewrite.ServerTLSImplicit &&
		!slices.Contains(r.computed().Names(), "repeat-ehlo") {
		list = append(list, "server_tls is on and the rule repeat-ehlo is not: a server that wants EHLO again after STARTTLS "+
			"refuses clients that do not say it (KB Q279214).")
	}
	return list
}

// warnPorts warns of servers whose port uses TLS in the other way (RFC 8314, 3.3).
func warnPorts(r *route) (list []string) {
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
			list = append(list, side+": WEAK TLS is allowed: "+allowed(a, whom))
		}
	}
	return list
}
