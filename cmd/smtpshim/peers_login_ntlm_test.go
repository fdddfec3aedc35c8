//go:build linux

package main

import (
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// A server that has NTLM alone, as an Exchange on premises may be set, and clients that do
// not know NTLM or do not log in at all.
func TestModernClientsSendThroughAServerThatHasNTLMAlone(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := real.Postfix(t, real.Options{CA: ca, Users: map[string]string{"scanner": serverPassword}, Mechanisms: []string{"NTLM"},
		Settings: []string{"smtpd_tls_auth_only = yes"}})
	for i, login := range []string{networkLogin(), userLogin(t, "")} {
		s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, clientTLS: "offer", serverTLS: "require",
			says: passwordAccount(t, "scanner", serverPassword, ""), loginSays: login}, nil)
		list := []sender{curlSends(), swaksSends(), msmtpSends("--tls=off", "--auth=off")}
		if i == 1 {
			inTLS := []string{"--ssl-reqd", "--cacert", ca.File, "--user", "canon:" + clientPassword}
			list = []sender{curlSends(inTLS...), curlSends(append(inTLS, "--login-options", "AUTH=CRAM-MD5")...), curlSends(append(inTLS, "--login-options", "AUTH=LOGIN")...)}
		}
		wantSentByScanner(t, s, to, i*len(list), list)
		s.counted(t, `smtpshim_logins_total{account="office",mechanism="NTLM",outcome="ok",route="peers"} 3`)
	}
}

// Exim's NTLM is NTLMv1 alone, which we do not say: who has the password from it can break
// it. The log says what to do, and that works.
func TestTheLogSaysHowToLogInAtAnEximThatOffersNTLM(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := real.Exim(t, real.Options{CA: ca, Users: map[string]string{"scanner": serverPassword}, Mechanisms: []string{"NTLM", "PLAIN"},
		Settings: []string{"received_header_text = Received: (Authenticated sender: $authenticated_id)"}})
	o := shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: narrowed(t, serverPassword, ""), loginSays: networkLogin()}
	s := startLoginShim(t, o, nil)
	output, status := swaksSends().send(t, s.addr)
	if status == 0 || !strings.Contains(output, "** 535 5.7.8 the server refuses the login of this account") {
		t.Errorf("swaks ended with %d:\n%s", status, output)
	}
	s.logged(t, `reply="535 Incorrect authentication data"`, "give the account mechanisms without it")

	o.says = narrowed(t, serverPassword, "PLAIN")
	wantSentByScanner(t, startLoginShim(t, o, nil), to, 0, []sender{swaksSends()})
}
