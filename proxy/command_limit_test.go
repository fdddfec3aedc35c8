package proxy_test

import (
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

// An AUTH command may be as long as a line of the exchange that it begins: 12,288
// octets (RFC 4954, 4).
func TestAUTHMayHaveALongInitialResponse(t *testing.T) {
	line := func(octets int) string { return strings.Repeat("A", octets-len("\r\n")) }
	fits := func(verb string, octets int) string { return verb + line(octets)[len(verb):] }
	const tooLong = "500 5.5.2 line too long"
	for name, c := range map[string]struct {
		command string
		passes  bool
		limits  proxy.Limits
	}{
		"AUTH of 4,097":                      {fits("AUTH XOAUTH2 ", 4097), true, proxy.Limits{}},
		"AUTH of 12,288":                     {fits("auth XOAUTH2 ", 12288), true, proxy.Limits{}},
		"AUTH of 12,289":                     {fits("AUTH XOAUTH2 ", 12289), false, proxy.Limits{}},
		"XAUTH of 12,288":                    {fits("XAUTH NTLM ", 12288), true, proxy.Limits{}},
		"X-EXPS of 12,288":                   {fits("X-EXPS GSSAPI ", 12288), true, proxy.Limits{}},
		"AUTH where commands may have 512":   {fits("AUTH XOAUTH2 ", 5000), true, proxy.Limits{CommandLine: 512}},
		"AUTH where commands may have 20000": {fits("AUTH XOAUTH2 ", 20000), true, proxy.Limits{CommandLine: 20000}},
		"AUTHX of 4,097":                     {fits("AUTHX XOAUTH2 ", 4097), false, proxy.Limits{}},
		"MAIL of 4,096":                      {fits("MAIL FROM:", 4096), true, proxy.Limits{}},
		"MAIL of 4,097":                      {fits("MAIL FROM:", 4097), false, proxy.Limits{}},
		"MAIL of 512 where commands may":     {fits("MAIL FROM:", 512), true, proxy.Limits{CommandLine: 512}},
		"MAIL of 513 where commands may 512": {fits("MAIL FROM:", 513), false, proxy.Limits{CommandLine: 512}},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := hello("AUTH XOAUTH2", "PIPELINING")
			if c.passes {
				command, clientCommand := says(c.command, "535 5.7.8 no")
				server, client = list(server, command), list(client, clientCommand)
			} else {
				client = append(client, smtptest.Say(c.command), smtptest.Expect(tooLong))
			}
			played := play(t, append(server, quitServer...), append(client, quitClient...), func(r *proxy.Route) { r.Limits = c.limits })
			if strings.HasPrefix(c.command, "AUTHX") { // which no mail depends on
				wantEnd(t, played, "ok")
			} else {
				wantEnd(t, played, "refused")
			}
		})
	}
}
