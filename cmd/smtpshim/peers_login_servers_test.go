//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// passwordServers are real servers at which scanner logs in by a password, inside TLS
// alone, and the mechanisms that they offer, the strongest first.
func passwordServers(t *testing.T, ca *real.CA) map[string]passwordServer {
	t.Helper()
	users := map[string]string{"scanner": serverPassword}
	all := []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "NTLM", "PLAIN", "LOGIN"}
	exim := []string{"CRAM-MD5", "PLAIN", "LOGIN"}
	return map[string]passwordServer{
		"Postfix with Cyrus SASL": {real.Postfix(t, real.Options{CA: ca, Users: users, Mechanisms: all, Settings: []string{"smtpd_tls_auth_only = yes"}}), all},
		"Exim": {real.Exim(t, real.Options{CA: ca, Users: users, Mechanisms: exim,
			Settings: []string{"auth_advertise_hosts = ${if eq {$tls_in_cipher}{}{}{*}}", "received_header_text = Received: (Authenticated sender: $authenticated_id) by $primary_hostname"}}), exim},
	}
}

type passwordServer struct {
	*real.Server
	mechanisms []string
}

// narrowed is the account of scanner with one mechanism; "": with all.
func narrowed(t *testing.T, password, mechanism string) string {
	t.Helper()
	if mechanism == "" {
		return passwordAccount(t, "scanner", password, "")
	}
	return passwordAccount(t, "scanner", password, fmt.Sprintf("mechanisms = [%q]\n", mechanism))
}

func TestAPasswordLogsInByEachMechanism(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	for name, to := range passwordServers(t, ca) {
		for i, mechanism := range append(to.mechanisms, "") {
			s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: narrowed(t, serverPassword, mechanism), loginSays: networkLogin()}, nil)
			wantSentByScanner(t, s, to.Server, i, []sender{swaksSends()})
			used := mechanism
			if used == "" {
				used = to.mechanisms[0]
			}
			s.counted(t, fmt.Sprintf(`smtpshim_logins_total{account="office",mechanism=%q,outcome="ok",route="peers"} 1`, used))
			s.counted(t, fmt.Sprintf(`smtpshim_auth_total{mechanism=%q,outcome="ok",route="peers",side="server"} 1`, used))
			if t.Failed() {
				t.Fatalf("%s, %q", name, mechanism)
			}
		}
	}
}

// An account that the server refuses is refused to the client too, by whatever mechanism.
func TestAWrongPasswordOfTheAccountIsToldAsThat(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	for name, to := range passwordServers(t, ca) {
		for _, mechanism := range to.mechanisms {
			s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: narrowed(t, serverPassword+"!", mechanism), loginSays: networkLogin()}, nil)
			for _, from := range []sender{swaksSends(), swaksSends("--auth", "LOGIN", "--auth-user", "anybody", "--auth-password", clientPassword)} {
				output, status := from.send(t, s.addr)
				s.keep(output)
				if status == 0 || !strings.Contains(output, "** 535 5.7.8 the server refuses the login of this account") {
					t.Errorf("%s, %s: %s ended with %d:\n%s", name, mechanism, from.name, status, output)
				}
			}
			s.logged(t, "the server refused the login")
			// The second did not ask the server again.
			s.counted(t, fmt.Sprintf(`smtpshim_logins_total{account="office",mechanism=%q,outcome="refused",route="peers"} 1`, mechanism))
			s.counted(t, fmt.Sprintf(`smtpshim_auth_total{mechanism=%q,outcome="refused",route="peers",side="server"} 1`, mechanism))
		}
	}
}
