package main

import (
	"smtpshim/cmd/smtpshim/internal/words"
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

// xclientMeans describes what a route does with XCLIENT.
func xclientMeans(r *proxy.Route) (means []string) {
	switch r.XCLIENTSend {
	case rewrite.XCLIENTOffered:
		means = append(means, "offered: tells the server who the client is where it takes that, and where not it judges by our address")
	case rewrite.XCLIENTRequired:
		means = append(means, "require: tells the server who the client is, or ends the session with 421")
	}
	if len(r.XCLIENTFrom) > 0 {
		means = append(means, "taken from "+words.Networks(r.XCLIENTFrom))
	}
	return means
}
