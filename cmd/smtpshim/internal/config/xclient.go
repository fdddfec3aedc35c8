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
		t.wrong("send", `%q does not go with client_tls.mode "pass": once the client uses TLS with the server it could send XCLIENT itself, `+
			`and the server would believe it; write mode = "hide", "offer", "require" or "implicit"`, r.XCLIENTSend)
	}
}
