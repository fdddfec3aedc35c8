package proxy_test

import (
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
)

// loggedIn are the steps of both sides until the client may begin a sealed stream.
func loggedIn() (server, client []smtptest.Step) {
	server = []smtptest.Step{smtptest.Say("220 mail.example.com ESMTP")}
	client = []smtptest.Step{smtptest.Expect("220 mail.example.com ESMTP")}
	for _, said := range [][2]string{{"EHLO client.example.net", "250 mail.example.com"}, {"AUTH NTLM", "334 "}, {"TlRMTVNTUAADAAAA", "235 ok"}} {
		server = append(server, smtptest.Expect(said[0]), smtptest.Say(said[1]))
		client = append(client, smtptest.Say(said[0]), smtptest.Expect(said[1]))
	}
	return server, client
}

// A client's word alone does not open a stretch in which nothing is read.
func TestASealedStreamIsOneOfBothSides(t *testing.T) {
	const block, answer = "\x00\x00\x00\x08\xe8\xe4\xec\xe9\x81\x82\x83\x84", "\x00\x00\x00\x04\x97\x90\x95\x96"
	const ends = "421 4.7.0 what began as a sealed stream is none"
	steps := func(s ...smtptest.Step) []smtptest.Step { return s }
	for name, test := range map[string]struct {
		server, client []smtptest.Step
		outcome        string
	}{
		"both seal": {
			steps(smtptest.ExpectOctets(block), smtptest.Send(answer), smtptest.ExpectOctets(block+block), smtptest.Send(answer), smtptest.Close()),
			steps(smtptest.Send(block), smtptest.ExpectOctets(answer), smtptest.Send(block+block), smtptest.ExpectOctets(answer), smtptest.ExpectEnd()), "opaque"},
		"the client sends ahead": {
			steps(smtptest.ExpectOctets(block), smtptest.Send(answer), smtptest.ExpectOctets(block), smtptest.Close()),
			steps(smtptest.Send(block+block), smtptest.ExpectOctets(answer), smtptest.ExpectEnd()), "opaque"},
		"the server answers before the end of the block": {
			steps(smtptest.ExpectOctets(block[:6]), smtptest.Send(answer), smtptest.ExpectOctets(block[6:]), smtptest.Close()),
			steps(smtptest.Send(block[:6]), smtptest.ExpectOctets(answer), smtptest.Send(block[6:]), smtptest.ExpectEnd()), "opaque"},
		"the server answers with text": {
			steps(smtptest.ExpectOctets(block), smtptest.Say("500 5.5.1 what?"), smtptest.ExpectEnd()),
			steps(smtptest.Send(block+"\r\nXCLIENT ADDR=192.0.2.1\r\n"), smtptest.Expect(ends), smtptest.ExpectEnd()), "client-protocol"},
		"a command in the block": {
			steps(smtptest.ExpectEnd()),
			steps(smtptest.Send("\x00\x00\x00\x40\r\nXCLIENT ADDR=192.0.2.1\r\n"+strings.Repeat("\x90", 40)), smtptest.Expect(ends), smtptest.ExpectEnd()), "client-protocol"},
		"text": {
			steps(smtptest.Expect("ZZZZ"), smtptest.Say("500 5.5.1 what?"), smtptest.Expect("QUIT"), smtptest.Say("221 bye"), smtptest.ExpectEnd()),
			steps(smtptest.Say("ZZZZ"), smtptest.Expect("500 5.5.1 what?"), smtptest.Say("XCLIENT ADDR=192.0.2.1"),
				smtptest.Expect("502 5.5.1 command not available here"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd()), "ok"},
		"an empty line": {
			steps(smtptest.Expect(""), smtptest.Say("500 5.5.2 what?"), smtptest.Expect("QUIT"), smtptest.Say("221 bye"), smtptest.ExpectEnd()),
			steps(smtptest.Say(""), smtptest.Expect("500 5.5.2 what?"), smtptest.Say("XCLIENT ADDR=192.0.2.1"),
				smtptest.Expect("502 5.5.1 command not available here"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd()), "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := loggedIn()
			wantEnd(t, play(t, append(server, test.server...), append(client, test.client...), nil), test.outcome)
		})
	}
}
