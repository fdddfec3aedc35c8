//go:build linux

package main

import (
	"encoding/json"
	"net"
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
		t.Logf("%s: %d sessions, can %q, notes %v", from.name, c.Sessions, c.Can, c.Notes)
		if c.Through != "a modern server" || c.Faults != nil || all.Route != "" || len(c.Untried) > 0 {
			t.Errorf("%s: through %q, faults %v, untried %q, route %s", from.name, c.Through, c.Faults, c.Untried, all.Route)
		}
	}
}

// Likewise in mail servers of today, which pipeline and send chunks.
func TestAListeningProbeFindsNothingToHealInMailServersOfToday(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(relay string) *real.Server{
		"Postfix":          func(relay string) *real.Server { return real.Postfix(t, real.Options{Relay: relay, RelayTLS: "may"}) },
		"Postfix in clear": func(relay string) *real.Server { return real.Postfix(t, real.Options{Relay: relay}) },
		"Exim":             func(relay string) *real.Server { return real.Exim(t, real.Options{Relay: relay}) },
	} {
		acceptor, err := probelisten.Acceptor(t.TempDir(), "probe.example.com")
		if err != nil {
			t.Fatal(err)
		}
		visits := make(chan probelisten.Visit, 100)
		l := &probelisten.Listener{Hostname: "probe.example.com", TLS: acceptor, Pause: 50 * time.Millisecond,
			Visited: func(v probelisten.Visit) { visits <- v }}
		at, err := net.Listen("tcp", loopback)
		if err != nil {
			t.Fatal(err)
		}
		go l.Serve(at)
		t.Cleanup(l.Close)
		from := start(at.Addr().String())
		for next := "first"; next != ""; {
			from.Sendmail(t, "Subject: hello\n\n.hello\n", "-f", "sender@example.com", "recipient@example.com")
			select {
			case v := <-visits:
				next = v.Next
			case <-time.After(time.Minute):
				t.Fatalf("%s sends nothing", name)
			}
		}
		c := l.Callers()[0]
		t.Logf("%s: %d sessions, can %q, notes %v", name, c.Sessions, c.Can, c.Notes)
		if c.Through != "a modern server" || c.Faults != nil || len(c.Untried) > 0 {
			t.Errorf("%s: through %q, faults %v, untried %q", name, c.Through, c.Faults, c.Untried)
		}
	}
}
