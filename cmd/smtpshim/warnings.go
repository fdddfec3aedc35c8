package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"smtpshim/proxy"
	"smtpshim/rewrite"
)

// warnings lists what a route does that its administrator should know of and
// that may yet be meant.
func warnings(r *proxy.Route, now time.Time) []string {
	var list []string
	var open []string
	for _, address := range r.Listen {
		if !isLoopback(address) {
			open = append(open, address)
		}
	}
	if open != nil {
		list = append(list, strings.Join(open, ", ")+" can be reached from other machines, and the server sees every client "+
			"under this machine's address: if it relays for that address, anybody who gets here can send mail anywhere. "+
			"Let only the right hosts through the firewall, or let the server not trust this address.")
	}
	if c := r.ClientTLS.Config; c != nil {
		for _, pair := range c.Certificates {
			if pair.Leaf != nil && now.After(pair.Leaf.NotAfter) {
				list = append(list, fmt.Sprintf("client_tls: the certificate ended on %s; clients may refuse it.",
					pair.Leaf.NotAfter.Format(time.DateOnly)))
			}
		}
	}
	if c := r.ServerTLS.Config; c != nil && c.InsecureSkipVerify {
		list = append(list, "server_tls: verify = false: whoever stands between here and the server can read and change the mail.")
	}
	if r.ServerTLS.Mode != rewrite.ServerTLSOff && r.ServerTLS.Mode != rewrite.ServerTLSImplicit &&
		!slices.Contains(r.Rules.Names(), "repeat-ehlo") {
		list = append(list, "server_tls is on and the rule repeat-ehlo is not: a server that wants EHLO again after STARTTLS "+
			"refuses clients that do not say it (KB Q279214).")
	}
	return list
}
