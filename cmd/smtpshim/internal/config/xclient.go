package config

import (
	"smtpshim/proxy"
	"smtpshim/rewrite"
)

// readXCLIENT reads [route.xclient]. The route's client_tls has already been read.
func readXCLIENT(t *table, r *proxy.Route) {
	right := t.word("send", &r.XCLIENTSend)
	r.XCLIENTFrom = networks(t, "accept_from")
	t.done()
	if right && r.XCLIENTSend != rewrite.XCLIENTNever && r.ClientTLS.Mode == rewrite.ClientTLSPass {
		t.wrong("send", `%q does not go with client_tls.mode "pass": once the client speaks TLS with the server it could say XCLIENT itself, `+
			`and be believed; write mode = "hide", "offer", "require" or "implicit"`, r.XCLIENTSend)
	}
}
