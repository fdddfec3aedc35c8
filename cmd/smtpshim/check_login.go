package main

import (
	"slices"
	"strings"

	"smtpshim/rewrite"
)

// openListeners returns the listen addresses of a route that other machines can reach.
func openListeners(r *route) (open []string) {
	for _, address := range r.Listen {
		if strings.HasPrefix(address, systemdPrefix) {
			address += " (if its socket unit says so)"
		}
		if !isLoopback(address) {
			open = append(open, address)
		}
	}
	return open
}

// mayBeInClear reports whether a client may send commands outside of TLS.
func mayBeInClear(r *route) bool {
	switch r.ClientTLS.Mode {
	case rewrite.ClientTLSRequire:
		return false
	case rewrite.ClientTLSImplicit:
		return slices.Contains(r.Rules.Names(), "greet-in-clear")
	}
	return true
}

// clearMayLogIn reports whether a client in clear may use logins that the server offers
// only inside TLS.
func clearMayLogIn(r *route) bool {
	return len(r.logins) == 0 && r.ServerTLS.Mode != rewrite.ServerTLSOff && mayBeInClear(r) && !r.ServerTLS.ClearLogin.Refuses(r.ServerTLS.Mode)
}

// loginsMean describes which logins are not passed on because TLS ends here; "" if all
// are.
func loginsMean(r *route) string {
	if len(r.logins) > 0 {
		return "what the server offers for logins is hidden; who fits none of the above hears 530"
	}
	var list []string
	if r.ServerTLS.Mode != rewrite.ServerTLSOff || r.ClientTLS.Mode >= rewrite.ClientTLSOffer {
		list = append(list, "EXTERNAL and mechanisms with channel binding (-PLUS) are hidden and refused where TLS ends here")
	}
	switch {
	case r.ServerTLS.Mode == rewrite.ServerTLSOff || !mayBeInClear(r):
	case clearMayLogIn(r):
		list = append(list, "clients in clear may log in by what the server offers inside TLS only")
	default:
		list = append(list, "what the server offers inside TLS only is hidden from clients in clear, and refused "+
			"(server_tls.auth_in_clear = \"allow\" would pass it)")
	}
	return strings.Join(list, "; ")
}
