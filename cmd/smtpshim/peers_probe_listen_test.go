//go:build linux

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	probelisten "smtpshim/proxy/probe/listen"
	"smtpshim/proxy/smtptest/real"
)

// Nothing is found in programs of today that a rule would have to heal, in none of the
// forms that they meet.
func TestAListeningProbeFindsNothingToHealInMailProgramsOfToday(t *testing.T) {
	t.Parallel()
	const whole = "Date: Mon, 1 Feb 1999 10:00:00 +0000\nFrom: sender@example.com\nMessage-ID: <1@example.com>\nSubject: hello\n\n.hello\n"
	inTLS := []string{"--tls=on", "--tls-certcheck=off"}
	for _, from := range []sender{
		swaksSends(),
		swaksSends("--tls"),
		swaksSends("--pipeline"),
		swaksSends("--tls", "--auth", "LOGIN", "--auth-user", "user", "--auth-password", clientPassword),
		{"curl", func(t *testing.T, addr string) (string, int) { return real.Curl(t, addr, whole, "--crlf") }},
		{"curl --ssl-reqd", func(t *testing.T, addr string) (string, int) {
			return real.Curl(t, addr, whole, "--crlf", "--ssl-reqd", "--insecure", "--user", "user:"+clientPassword)
		}},
		{"msmtp", func(t *testing.T, addr string) (string, int) {
			return real.Msmtp(t, addr, whole, "--tls=off", "--auth=off")
		}},
		{"msmtp --tls", func(t *testing.T, addr string) (string, int) {
			return real.Msmtp(t, addr, whole, append(inTLS, "--auth=plain", "--user=user", "--passwordeval=echo "+clientPassword)...)
		}},
	} {
		e := startListenProbe(t, listenProbe{pause: 50 * time.Millisecond, asJSON: true})
		for range 6 {
			output, status := from.send(t, e.addr)
			if status == 0 {
				t.Errorf("%s takes its message for delivered:\n%s", from.name, output)
			}
		}
		printed := e.stop()
		if strings.Contains(printed, clientPassword) {
			t.Errorf("%s: the password is printed", from.name)
		}
		var all struct {
			Callers []probelisten.Caller
			Route   string
		}
		lines := strings.Split(strings.TrimSpace(printed), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &all); err != nil || len(all.Callers) != 1 {
			t.Fatalf("%s: %v in %s", from.name, err, printed)
		}
		c := all.Callers[0]
		t.Logf("%s: %d sessions, can %q, remarks %v", from.name, c.Sessions, c.Can, c.Remarks)
		if c.Through != "a server of today" || c.Faults != nil || all.Route != "" || len(c.Untried) > 0 {
			t.Errorf("%s: through %q, faults %v, untried %q, route %s", from.name, c.Through, c.Faults, c.Untried, all.Route)
		}
	}
}
