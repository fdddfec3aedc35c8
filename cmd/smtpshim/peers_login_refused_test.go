//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// Wrong passwords of clients are 535, and after ten of them from one address a right one
// is 454, for a while.
func TestClientsWithAWrongPasswordHear535(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to, endpoint := tokenServer(t, ca)
	s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: endpoint.account(t, ca, ""),
		loginSays: userLogin(t, "127.0.0.0/8")}, endpoint.tokens)
	const wrong = "wrong-made-up"
	swaks, msmtp := []string{"--auth-user", "canon", "--auth-password", wrong}, []string{"--tls=off", "--user=canon", "--passwordeval=echo " + wrong}
	var list []sender
	for _, m := range []string{"LOGIN", "PLAIN", "CRAM-MD5", "NTLM"} {
		list = append(list, swaksSends(append(swaks[:len(swaks):len(swaks)], "--auth", m)...), curlSends("--user", "canon:"+wrong, "--login-options", "AUTH="+m))
	}
	list = append(list, msmtpSends(append(msmtp, "--auth=scram-sha-1")...), msmtpSends(append(msmtp, "--auth=scram-sha-256")...))
	for _, from := range list {
		output, status := from.send(t, s.addr)
		s.keep(output)
		if status == 0 || !strings.Contains(output, "535 5.7.8 user or password not accepted") {
			t.Errorf("%s ended with %d:\n%s", from.name, status, output)
		}
	}
	for mechanism, n := range map[string]int{"LOGIN": 2, "PLAIN": 2, "CRAM-MD5": 2, "NTLM": 2, "SCRAM-SHA-1": 1, "SCRAM-SHA-256": 1} {
		s.counted(t, fmt.Sprintf(`smtpshim_auth_total{mechanism=%q,outcome="refused",route="peers",side="client"} %d`, mechanism, n))
	}
	output, status := swaksSends("--auth", "LOGIN", "--auth-user", "canon", "--auth-password", clientPassword).send(t, s.addr)
	s.keep(output)
	if status == 0 || !strings.Contains(output, "454 4.7.0 too many failed logins from this address") {
		t.Errorf("after %d wrong passwords swaks ended with %d:\n%s", len(list), status, output)
	}
}

// wantRefused has swaks send, and wants this of the reply that it hears to MAIL.
func (s *loginShim) wantRefused(t *testing.T, reply string) {
	t.Helper()
	output, status := swaksSends().send(t, s.addr)
	if status == 0 || !strings.Contains(output, "** "+reply) {
		t.Errorf("swaks ended with %d, want %s:\n%s", status, reply, output)
	}
}

// A token that is refused is replaced, and if the next is refused too the account is. The
// server says so by a bare 535, or by a 334 before it.
func TestARefusedTokenIsReplacedOnceAndThenTold(t *testing.T) {
	t.Parallel()
	for mechanism, reason := range map[string]string{"XOAUTH2": `\"401\"`, "OAUTHBEARER": `\"invalid_token\"`} {
		for setting, refused := range map[string]string{"permanent": "535 5.7.8", "temporary": "454 4.7.0"} {
			t.Run(mechanism+" "+setting, func(t *testing.T) {
				t.Parallel()
				ca := real.NewCA(t)
				to, endpoint := tokenServer(t, ca)
				endpoint.change(real.NewTokenKey(t), nil)
				s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require",
					says: endpoint.account(t, ca, fmt.Sprintf("mechanisms = [%q]\nrefusal = %q\n", mechanism, setting)), loginSays: networkLogin()}, endpoint.tokens)
				s.wantRefused(t, "454 4.7.0 the server refused a token, try again with the next")
				s.wantRefused(t, refused+" the server refuses the login of this account")
				s.logged(t, `explanation="the server refused the token: status `+reason)
				if n := len(endpoint.tokens()); n != 2 {
					t.Errorf("%d tokens, want the first and one after it was refused", n)
				}
				s.counted(t, fmt.Sprintf(`smtpshim_logins_total{account="office",mechanism=%q,outcome="refused",route="peers"} 2`, mechanism))
			})
		}
	}
}

// The keys of the provider change in the middle of the day: one client has to come again.
func TestATokenThatIsRefusedLaterIsReplaced(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	right, expired := real.NewTokenKey(t), real.NewTokenKey(t)
	to := real.Postfix(t, real.Options{CA: ca, TokenKey: right.File})
	endpoint := startJWTEndpoint(t, ca, expired)
	s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: endpoint.account(t, ca, ""), loginSays: networkLogin()}, endpoint.tokens)
	real.Wait(t, "the first token", func() bool { return len(endpoint.tokens()) == 1 })
	endpoint.change(right, nil)
	s.wantRefused(t, "454 4.7.0 the server refused a token, try again with the next")
	wantSentByScanner(t, s, to, 0, []sender{swaksSends()})
}

// What the token endpoint says against the application is told to clients as a refusal
// for good; where it does not answer they are to come again.
func TestATokenEndpointThatGivesNoTokenIsTold(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to, endpoint := tokenServer(t, ca)
	endpoint.renew()
	s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: endpoint.account(t, ca, ""), loginSays: networkLogin()}, nil)
	s.wantRefused(t, "535 5.7.8 the token endpoint refuses this account")
	s.logged(t, "AADSTS7000215")

	endpoint.url = "https://" + real.FreeAddr() + "/token"
	s = startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: endpoint.account(t, ca, ""), loginSays: networkLogin()}, nil)
	s.wantRefused(t, "454 4.7.0 the token endpoint gives no token now, try again")
	s.logged(t, "connection refused")
}
