package proxy_test

import (
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

// A client's commands may end with LF or CR CR LF, one by one or in a group, whole or
// octet by octet. The end of a message is CRLF.CRLF all the same.
func TestAMailWhoseCommandsEndWrongIsDeliveredOnce(t *testing.T) {
	const body = "Subject: x\r\n\r\n.\nMAIL FROM:<c@example.com>\n\r\n.\r\n"
	const stored = "Subject: x\r\n\r\n..\r\nMAIL FROM:<c@example.com>\r\n\r\n.\r\n"
	for name, end := range map[string]string{"LF": "\n", "CR CR LF": "\r\r\n"} {
		for how, send := range map[string]func(text string) []smtptest.Step{
			"in one segment": func(text string) []smtptest.Step { return steps(smtptest.Send(text)) },
			"octet by octet": func(text string) []smtptest.Step {
				var list []smtptest.Step
				for _, octet := range []byte(text) {
					list = append(list, smtptest.Send(string(octet)))
				}
				return list
			},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				server, client := hello("PIPELINING")
				client[1] = smtptest.Send("EHLO client.example.com" + end)
				mail, _ := says("MAIL FROM:<a@example.com>", "250 ok")
				rcpt, _ := says("RCPT TO:<b@example.com>", "250 ok")
				data, _ := says("DATA", "354 go on")
				server = list(server, mail, rcpt, data, steps(smtptest.ExpectOctets(stored), smtptest.Say("250 taken")), quitServer)
				client = list(client, send(strings.Join([]string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"}, end)+end),
					steps(smtptest.Expect("250 ok", "250 ok", "354 go on")), send(body), steps(smtptest.Expect("250 taken")), quitClient)
				c := play(t, server, client, func(r *proxy.Route) { r.Rules = compile(t, "standard") })
				wantEnd(t, c, "ok")
				wantCount(t, c, "rule command-ends", 4)
			})
		}
	}
}

// Octets in clear behind a STARTTLS that ends wrong are not taken for encrypted ones.
func TestNothingMayStandBehindASTARTTLSThatEndsWrong(t *testing.T) {
	for _, end := range []string{"\n", "\r\r\n"} {
		server, client := hello("STARTTLS")
		client = append(client, smtptest.Send("STARTTLS"+end+"NOOP\r\n"),
			smtptest.Expect("554 5.5.0 nothing may be sent behind STARTTLS before its answer"), smtptest.ExpectEnd())
		c := play(t, append(server, smtptest.ExpectEnd()), client, func(r *proxy.Route) { r.Rules = compile(t, "standard") })
		wantEnd(t, c, "client-protocol")
	}
}
