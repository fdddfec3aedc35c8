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
		return "what the server offers for logins is hidden; who fits none of the above hears 530"
	}
	var list []string
	if r.ServerTLS.Mode != rewrite.ServerTLSOff || r.ClientTLS.Mode >= rewrite.ClientTLSOffer {
		list = append(list, "EXTERNAL and mechanisms with channel binding (-PLUS) are hidden and refused where TLS ends here")
	}
	switch {
	case r.ServerTLS.Mode == rewrite.ServerTLSOff || !r.MayBeInClear():
	case r.ClearMayLogIn():
		list = append(list, "clients in clear may log in by what the server offers inside TLS only")
	default:
		list = append(list, "what the server offers inside TLS only is hidden from clients in clear, and refused "+
			"(server_tls.auth_in_clear = \"allow\" would pass it)")
	}
	return strings.Join(list, "; ")
}
