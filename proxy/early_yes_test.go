package proxy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
)

// A server says yes in the middle of a message and breaks off: its yes is there
// to be read, and the rest of the message can be written to nobody.
func TestAYesFromAServerThatHasNotGotAllOfTheMessageIsNone(t *testing.T) {
	text := strings.Repeat("a line of text\r\n", 100)
	half := len(text) / 2
	for name, test := range map[string]struct {
		command, answer, end string
		rules                []string
		server               func(server []smtptest.Step) []smtptest.Step
	}{
		"DATA": {"DATA", "354 go on", ".\r\n", nil, nil},
		"BDAT": {fmt.Sprintf("BDAT %d LAST", len(text)), "", "", nil, nil},
		"BDAT made DATA": {fmt.Sprintf("BDAT %d LAST", len(text)), "", "", []string{"bdat-to-data"},
			func(server []smtptest.Step) []smtptest.Step {
				return append(server, smtptest.Expect("DATA"), smtptest.Say("354 go on"))
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keywords := []string{"CHUNKING"}
			if test.server != nil {
				keywords = nil
			}
			server, client := hello(keywords...)
			if test.server != nil {
				server = test.server(server)
				client[len(client)-1] = smtptest.Expect("250-mail.example.com", "250-HELP", "250 CHUNKING")
			} else {
				server = append(server, smtptest.Expect(test.command))
			}
			if test.answer != "" {
				server = append(server, smtptest.Say(test.answer))
			}
			gone := make(chan struct{})
			s := startScripted(t, func(c net.Conn) error {
				defer close(gone)
				err := smtptest.Play(c, patience, append(server, smtptest.ExpectOctets(text[:half]), smtptest.Say("250 taken"))...)
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
				return err
			})
			r := plainRoute(s)
			r.Rules = compile(t, test.rules...)
			_, dial := startProxy(t, r)
			act(t, dial, func(c net.Conn) error {
				steps := append(client, smtptest.Say(test.command))
				if test.answer != "" {
					steps = append(steps, smtptest.Expect(test.answer))
				}
				steps = append(steps, smtptest.Send(text[:half]), smtptest.Pause(func() { <-gone }))
				for i := half; i < len(text); i += 100 { // the first of them meets the reset
					steps = append(steps, smtptest.Send(text[i:min(i+100, len(text))]), smtptest.Pause(moment))
				}
				if test.end != "" {
					steps = append(steps, smtptest.Send(test.end))
				}
				if err := smtptest.Play(c, patience, steps...); err != nil {
					return nil // it was told so before it had sent it all
				}
				reply := make([]byte, 4)
				c.SetReadDeadline(time.Now().Add(patience))
				if n, _ := c.Read(reply); n > 0 && reply[0] == '2' {
					return fmt.Errorf("the client was told %q", reply)
				}
				return nil
			})
			s.wait(t)
			wantCount(t, r.Observer.(*counts), "message accepted", 0)
		})
	}
}

// moment gives what was sent the time to arrive by itself.
func moment() { <-time.After(2 * time.Millisecond) }
