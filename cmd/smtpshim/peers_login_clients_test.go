//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// tokenServer is a Postfix that takes mail from users with a token alone, inside TLS, and
// the endpoint that gives tokens.
func tokenServer(t *testing.T, ca *real.CA) (*real.Server, *jwtEndpoint) {
	t.Helper()
	key := real.NewTokenKey(t)
	return real.Postfix(t, real.Options{CA: ca, TokenKey: key.File, Settings: []string{"smtpd_tls_auth_only = yes"}}), startJWTEndpoint(t, ca, key)
}

// A sender is a mail program that sends one message to addr.
type sender struct {
	name string
	send func(t *testing.T, addr string) (output string, status int)
}

func swaksSends(args ...string) sender {
	return sender{"swaks " + strings.Join(args, " "), func(t *testing.T, addr string) (string, int) {
		return real.Swaks(t, addr, append(args, "--body", "hello")...)
	}}
}

func curlSends(args ...string) sender {
	return sender{"curl " + strings.Join(args, " "), func(t *testing.T, addr string) (string, int) {
		return real.Curl(t, addr, "Subject: curl\n\nhello\n", args...)
	}}
}

func msmtpSends(args ...string) sender {
	return sender{"msmtp " + strings.Join(args, " "), func(t *testing.T, addr string) (string, int) {
		return real.Msmtp(t, addr, "Subject: msmtp\n\nhello\n", args...)
	}}
}

func muttSends(user string, settings ...string) sender {
	return sender{"mutt " + strings.Join(settings, " "), func(t *testing.T, addr string) (string, int) {
		return real.Mutt(t, addr, "hello\n", user, settings...)
	}}
}

// eximSends has an Exim send a message from its queue. It says nothing of the dialogue.
func eximSends(o real.Options) sender {
	return sender{"Exim " + strings.Join(o.Mechanisms, " "), func(t *testing.T, addr string) (string, int) {
		o.Relay = addr
		from := real.Exim(t, o)
		from.Sendmail(t, "Subject: exim\n\nhello\n", "-f", "sender@example.com", "recipient@example.com")
		return "", 0
	}}
}

// wantSentByScanner has senders send one after the other, and wants the server to store
// each message as one of scanner@example.com, who has logged in.
func wantSentByScanner(t *testing.T, s *loginShim, to *real.Server, before int, list []sender) {
	t.Helper()
	for i, from := range list {
		output, status := from.send(t, s.addr)
		s.keep(output)
		if status != 0 {
			t.Errorf("%s ended with %d:\n%s", from.name, status, output)
			before--
			continue
		}
		to.Messages(t, before+i+1)
	}
	for _, m := range wantStored(t, to, before+len(list), "hello") {
		if !strings.Contains(m.Header, "(Authenticated sender: scanner") {
			t.Errorf("nobody has logged in at the server for\n%s", m.Header)
		}
	}
}

// Devices that know no login, and those that cannot leave it out and have another's
// user and password.
func TestMailProgramsOfANetworkSendByToken(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to, endpoint := tokenServer(t, ca)
	s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: endpoint.account(t, ca, ""), loginSays: networkLogin()}, endpoint.tokens)
	list := []sender{
		swaksSends(), curlSends(), msmtpSends("--tls=off", "--auth=off"), muttSends("", "set ssl_starttls=no ssl_force_tls=no"), eximSends(real.Options{}),
		swaksSends("--auth", "LOGIN", "--auth-user", "anybody", "--auth-password", clientPassword),
		swaksSends("--auth", "PLAIN", "--auth-user", "anybody", "--auth-password", clientPassword),
		curlSends("--user", "anybody:"+clientPassword),
		curlSends("--user", "anybody:"+clientPassword, "--sasl-ir"),
		curlSends("--user", "anybody:"+clientPassword, "--login-options", "AUTH=LOGIN"),
		curlSends("--user", "anybody:"+clientPassword, "--login-options", "AUTH=LOGIN", "--sasl-ir"),
		msmtpSends("--tls=off", "--auth=login", "--user=anybody", "--passwordeval=echo "+clientPassword),
		msmtpSends("--tls=off", "--auth=plain", "--user=anybody", "--passwordeval=echo "+clientPassword),
		muttSends("anybody:"+clientPassword, "set ssl_starttls=no ssl_force_tls=no smtp_authenticators=login"),
		eximSends(real.Options{Login: "anybody:" + clientPassword, Mechanisms: []string{"PLAIN"}}),
		eximSends(real.Options{Login: "anybody:" + clientPassword, Mechanisms: []string{"LOGIN"}}),
	}
	wantSentByScanner(t, s, to, 0, list)
	for _, m := range to.Messages(t, len(list)) {
		if !strings.Contains(m.Header, "Return-Path: <scanner@example.com>") {
			t.Errorf("the sender is not the account's in\n%s", m.Header)
		}
	}
	if n := len(endpoint.tokens()); n != 1 {
		t.Errorf("%d tokens for one account", n)
	}
	s.counted(t, fmt.Sprintf(`smtpshim_logins_total{account="office",mechanism="XOAUTH2",outcome="ok",route="peers"} %d`, len(list)))
}

// ownLogins are mail programs that log in to us as canon, in clear, or inside TLS if they
// believe an authority.
func ownLogins(ca *real.CA) (list []sender) {
	swaks, curl := []string{"--auth-user", "canon", "--auth-password", clientPassword}, []string{"--user", "canon:" + clientPassword}
	msmtp, mutt := []string{"--user=canon", "--passwordeval=echo " + clientPassword}, "set ssl_starttls=no ssl_force_tls=no smtp_authenticators="
	exim := real.Options{Login: "canon:" + clientPassword}
	if ca != nil {
		swaks, curl = append(swaks, "--tls"), append(curl, "--ssl-reqd", "--cacert", ca.File)
		msmtp, mutt = append(msmtp, "--tls=on", "--tls-trust-file="+ca.File), "set ssl_ca_certificates_file="+ca.File+" ssl_force_tls=yes smtp_authenticators="
		exim.CA, exim.RelayTLS = ca, "verify"
	} else {
		msmtp = append(msmtp, "--tls=off")
	}
	for _, m := range []string{"LOGIN", "PLAIN", "CRAM-MD5", "NTLM"} {
		exim.Mechanisms = []string{m}
		list = append(list, swaksSends(append(swaks[:len(swaks):len(swaks)], "--auth", m)...),
			curlSends(append(curl[:len(curl):len(curl)], "--login-options", "AUTH="+m)...),
			curlSends(append(curl[:len(curl):len(curl)], "--login-options", "AUTH="+m, "--sasl-ir")...),
			msmtpSends(append(msmtp[:len(msmtp):len(msmtp)], "--auth="+strings.ToLower(m))...),
			muttSends("canon:"+clientPassword, mutt+strings.ToLower(m)), eximSends(exim))
	}
	return append(list, msmtpSends(append(msmtp, "--auth=scram-sha-256")...), muttSends("canon:"+clientPassword, mutt+"scram-sha-1"))
}

func TestMailProgramsLogInToUsInClearFromANetwork(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to, endpoint := tokenServer(t, ca)
	s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: endpoint.account(t, ca, ""),
		loginSays: userLogin(t, "127.0.0.0/8")}, endpoint.tokens)
	wantSentByScanner(t, s, to, 0, ownLogins(nil))
	wantMechanismsCounted(t, s)
}

func TestMailProgramsLogInToUsInsideTLS(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to, endpoint := tokenServer(t, ca)
	s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", clientTLS: "offer", says: endpoint.account(t, ca, ""),
		loginSays: userLogin(t, "")}, endpoint.tokens)
	for _, inClear := range []sender{
		swaksSends("--auth", "LOGIN", "--auth-user", "canon", "--auth-password", clientPassword),
		swaksSends(),
	} {
		output, status := inClear.send(t, s.addr)
		s.keep(output)
		if status == 0 {
			t.Errorf("%s has sent a message in clear:\n%s", inClear.name, output)
		}
	}
	wantSentByScanner(t, s, to, 0, ownLogins(ca))
	wantMechanismsCounted(t, s)
}

// wantMechanismsCounted wants each program of ownLogins to have used the mechanism that
// it was to use.
func wantMechanismsCounted(t *testing.T, s *loginShim) {
	t.Helper()
	for mechanism, n := range map[string]int{"LOGIN": 6, "PLAIN": 6, "CRAM-MD5": 6, "NTLM": 6, "SCRAM-SHA-256": 1, "SCRAM-SHA-1": 1} {
		s.counted(t, fmt.Sprintf(`smtpshim_auth_total{mechanism=%q,outcome="ok",route="peers",side="client"} %d`, mechanism, n))
	}
}
