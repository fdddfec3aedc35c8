//go:build linux

package main

import (
	"testing"

	"smtpshim/proxy/smtptest/real"
)

func TestALiveCheckIsGoodAtARealServer(t *testing.T) {
	ca := real.NewCA(t)
	postfix := real.Postfix(t, real.Options{CA: ca, Settings: []string{"smtpd_authorized_xclient_hosts = 127.0.0.0/8"}})
	status, said := checkedLive(t, []string{postfix.Addr}, "[route.client_tls]\nmode = \"hide\"\n"+
		"[route.server_tls]\nmode = \"require\"\nca = \""+ca.File+"\"\n[route.xclient]\nsend = \"require\"")
	if status != succeeded {
		t.Errorf("status %d", status)
	}
	wantInOrder(t, said, "S: 220 ", "C: EHLO ", "C+ STARTTLS", "~ server TLS", "C+ XCLIENT ", "S: 250", "C: QUIT",
		"TLS 1.3, ", "signed by CN=smtpshim test authority", "XCLIENT is for a server that trusts this machine")
	status, said = checkedLive(t, []string{postfix.Addr}, "[route.server_tls]\nmode = \"require\"")
	if status != failed {
		t.Errorf("status %d", status)
	}
	wantInOrder(t, said, "FAILED TLS fails, so there is no mail: ", "authority")
}
