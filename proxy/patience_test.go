package proxy

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/heal"
)

// A server whose greeting gets the word ESMTP from us may leave EHLO without an
// answer. The client hears from HELO on a fresh connection before it gives up.
func TestAServerThatIsSilentAtEHLOHearsHELO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules, errs := heal.Compile([]string{"standard"}, map[string]map[string]any{"advertise-esmtp": {"when": "always"}})
		if errs != nil {
			t.Fatal(errs)
		}
		servers := [][]smtptest.Step{
			steps(smtptest.Say("220 mail.example.com ready"), smtptest.Expect("EHLO c.example.com"), smtptest.ExpectEnd()),
			steps(smtptest.Say("220 mail.example.com ready"), smtptest.Expect("HELO c.example.com"), smtptest.Say("250 mail.example.com"),
				smtptest.Expect("QUIT"), smtptest.Say("221 bye"), smtptest.ExpectEnd()),
		}
		m := &meeting{route: &Route{Rules: rules}}
		played := make(chan error, len(servers))
		m.dial = func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			play := servers[0]
			servers = servers[1:]
			go func() {
				defer far.Close()
				played <- smtptest.Play(far, day, play...)
			}()
			return near, nil
		}
		m.client = steps(smtptest.Expect("220 mail.example.com ESMTP ready"), smtptest.Say("EHLO c.example.com"), m.since(),
			smtptest.Expect("250 mail.example.com"), m.until(), smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd())
		log := m.run(t)
		for range cap(played) {
			if err := <-played; err != nil {
				t.Errorf("server: %v", err)
			}
		}
		if m.elapsed != 15*time.Second {
			t.Errorf("the client was answered after %v", m.elapsed)
		}
		if !strings.Contains(log, "outcome=ok") || !strings.Contains(log, "advertise-esmtp") {
			t.Errorf("the log says\n%s", log)
		}
	})
}
