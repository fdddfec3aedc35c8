//go:build linux

package main

import (
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// Recipients that Exim 4.96 and Postfix 3.7 refuse as they are written, and take from us.
func TestRealServersTakeTheAddressThatIsMeant(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server     func(testing.TB, real.Options) *real.Server
		recipients []string
	}{
		"Exim":    {real.Exim, []string{"<Joe <b@example.net>>", "<<b@example.net>>", `<"Joe" <b@example.net>>`, "<'b@example.net'>"}},
		"Postfix": {real.Postfix, []string{"Joe <b@example.net>", `"Joe" <b@example.net>`, "<'b@example.net'>", "<b c@example.net>"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := c.server(t, real.Options{})
			through := startShim(t, shimOptions{server: to.Addr})
			for _, recipient := range c.recipients {
				for addr, code := range map[string]string{to.Addr: "5", through.addr: "250"} {
					session := dial(t, addr)
					session.say("EHLO client.example.net", "MAIL FROM:<a@example.net>")
					session.send([]byte("RCPT TO:" + recipient + "\r\n"))
					if reply := session.reply(); !strings.HasPrefix(reply, code) {
						t.Errorf("%s at %s: %s, not %s", recipient, addr, reply, code)
					}
					session.say("QUIT")
				}
			}
		})
	}
}
