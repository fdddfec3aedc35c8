package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/smtptest"
)

// A server that takes one long line for several answers several times. Nothing that it
// says afterwards may be taken for the answer to another command.
func TestALongCommandThatIsAnsweredTwiceEndsTheSession(t *testing.T) {
	const split = "421 4.3.0 the server takes a command that long for several"
	helo := []smtptest.Step{smtptest.Say("220 mail.example.com Sendmail 5.61 ready"), smtptest.Expect("HELO c.example.com"), smtptest.Say("250 hello")}
	clientHelo := []smtptest.Step{smtptest.Expect("220 mail.example.com Sendmail 5.61 ready"), smtptest.Say("HELO c.example.com"), smtptest.Expect("250 hello")}
	ehlo := func(keywords ...string) (server, client []smtptest.Step) {
		lines := append([]string{"250-mail.example.com"}, keywords...)
		return []smtptest.Step{smtptest.Say("220 mail.example.com ESMTP"), smtptest.Expect("EHLO c.example.com"), smtptest.Say(lines...)},
			[]smtptest.Step{smtptest.Expect("220 mail.example.com ESMTP"), smtptest.Say("EHLO c.example.com"), smtptest.Expect(lines...)}
	}
	sendmail86, clientSendmail86 := ehlo("250-EXPN", "250 SIZE")
	long := func(octets int) string {
		return "MAIL FROM:<" + strings.Repeat("x", octets-len("MAIL FROM:<>\r\n")) + ">"
	}
	for name, c := range map[string]struct {
		server, client []smtptest.Step
		command        string
		replies        []string // one by one, with a tenth of a second between them
		hears          string
	}{
		"Sendmail 5.61": {helo, clientHelo, long(1100), []string{"250 Sender ok", "500 Command unrecognized"}, split},
		"refused twice": {helo, clientHelo, long(2200), []string{"500 Line too long", "500 what"}, split},
		"JNOS":          {helo, clientHelo, long(256), []string{"250 Ok", "250 Ok"}, split},
		"Sendmail 8.6":  {sendmail86, clientSendmail86, long(2100), []string{"250 Sender ok", "500 Command unrecognized"}, split},
		"no hello":      {helo[:1], clientHelo[:1], long(1100), []string{"250 Sender ok", "500 Command unrecognized"}, split},
		"one reply":     {helo, clientHelo, long(1100), []string{"250 Sender ok"}, "250 Sender ok"},
		"goodbye":       {helo, clientHelo, long(1100), []string{"500 Line too long", "421 closing"}, "500 Line too long"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &meeting{route: &Route{}, server: append(c.server[:len(c.server):len(c.server)], smtptest.Expect(c.command))}
				for _, reply := range c.replies {
					m.server = append(m.server, smtptest.Say(reply), smtptest.Pause(func() { time.Sleep(100 * time.Millisecond) }))
				}
				m.client = append(c.client[:len(c.client):len(c.client)], smtptest.Say(c.command), smtptest.Expect(c.hears))
				switch {
				case len(c.replies) == 1:
					m.server = append(m.server, smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
					m.client = append(m.client, smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
				case c.hears == split:
					m.client = append(m.client, smtptest.ExpectEnd())
				}
				if log := m.run(t); c.hears == split && !strings.Contains(log, "limits.command_line") {
					t.Errorf("the log does not name the key: %s", log)
				}
			})
		})
	}
}
