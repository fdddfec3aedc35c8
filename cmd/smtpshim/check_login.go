package main

import (
	"strings"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/rewrite"
)

// loginsMean describes which logins are not passed on because TLS ends here; "" if all
// are.
func loginsMean(r *config.Route) string {
	if len(r.LoginEntries) > 0 {
		return "the server's AUTH is hidden; a client that fits none of the above gets 530"
	}
	var list []string
	if r.ServerTLS.Mode != rewrite.ServerTLSOff || r.ClientTLS.Mode >= rewrite.ClientTLSOffer {
		list = append(list, "EXTERNAL and mechanisms with channel binding (-PLUS) are hidden and refused where TLS ends here")
	}
	switch {
	case r.ServerTLS.Mode == rewrite.ServerTLSOff || !r.MayBeInClear():
	case r.ClearMayLogIn():
		list = append(list, "clients in clear may log in by mechanisms that the server offers only inside TLS")
	default:
		list = append(list, "mechanisms that the server offers only inside TLS are hidden from clients in clear, and refused "+
			"(server_tls.auth_in_clear = \"allow\" would pass it)")
	}
	return strings.Join(list, "; ")
}
