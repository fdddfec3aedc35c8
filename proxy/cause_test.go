package proxy_test

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// changedLines are the lines of the server's that the client did not get as they
// were said, each with its cause.
func (r *record) changedLines() []string {
	var changed []string
	for line := range strings.Lines(r.lines.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "S-") || strings.HasPrefix(line, "S+") {
			changed = append(changed, line)
		}
	}
	return changed
}

func TestEveryChangedLineOfAnEHLOReplyHasACause(t *testing.T) {
	offer := clientLeg(rewrite.ClientTLSOffer, &tls.Config{})
	rules := func(names ...string) func(*proxy.Route) {
		return func(r *proxy.Route) { r.Rules = compile(t, names...) }
	}
	both := func(changes ...func(*proxy.Route)) func(*proxy.Route) {
		return func(r *proxy.Route) {
			for _, change := range changes {
				change(r)
			}
		}
	}
	for name, test := range map[string]struct {
		says, hears []string // behind the host's name
		change      func(*proxy.Route)
		want        []string
	}{
		"STARTTLS is put in": {[]string{"-DSN", " HELP"}, []string{"-STARTTLS", "-DSN", " HELP"}, offer,
			[]string{"S+ 250-STARTTLS client_tls"}},
		"STARTTLS is put in, alone": {nil, []string{" STARTTLS"}, offer,
			[]string{"S- 250 mail.example.com client_tls", "S+ 250-mail.example.com client_tls", "S+ 250 STARTTLS client_tls"}},
		"STARTTLS is taken out": {[]string{"-HELP", " STARTTLS"}, []string{" HELP"}, clientLeg(rewrite.ClientTLSHide, nil),
			[]string{"S- 250-HELP client_tls", "S- 250 STARTTLS client_tls", "S+ 250 HELP client_tls"}},
		"XAUTH behind STARTTLS, and TURN": {[]string{"-TURN", "-AUTH NTLM", " STARTTLS"}, []string{"-AUTH NTLM", "-STARTTLS", " XAUTH NTLM"},
			rules("translate-xauth"), []string{"S- 250-TURN not-carried", "S- 250 STARTTLS translate-xauth", "S+ 250-STARTTLS translate-xauth",
				"S+ 250 XAUTH NTLM translate-xauth"}},
		"STARTTLS before XAUTH": {[]string{" AUTH NTLM"}, []string{"-STARTTLS", "-AUTH NTLM", " XAUTH NTLM"},
			both(offer, rules("translate-xauth")), []string{"S- 250 AUTH NTLM translate-xauth", "S+ 250-STARTTLS client_tls",
				"S+ 250-AUTH NTLM translate-xauth", "S+ 250 XAUTH NTLM translate-xauth"}},
		"SIZE": {[]string{" SIZE"}, []string{" SIZE 1000"}, func(r *proxy.Route) { r.Limits.MessageSize = 1000 },
			[]string{"S- 250 SIZE message_size", "S+ 250 SIZE 1000 message_size"}},
		"chunking is hidden": {[]string{"-HELP", " CHUNKING"}, []string{" HELP"}, rules("chunking"),
			[]string{"S- 250-HELP chunking", "S- 250 CHUNKING chunking", "S+ 250 HELP chunking"}},
		"chunking is put in": {[]string{" HELP"}, []string{"-HELP", " CHUNKING"}, rules("bdat-to-data"),
			[]string{"S- 250 HELP bdat-to-data", "S+ 250-HELP bdat-to-data", "S+ 250 CHUNKING bdat-to-data"}},
		"TLS is a name for STARTTLS": {[]string{" TLS"}, []string{" STARTTLS"}, rules("starttls-keyword"),
			[]string{"S- 250 TLS starttls-keyword", "S+ 250 STARTTLS starttls-keyword"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := through(0)
			server = append(server, smtptest.Expect("EHLO client.example.com"), smtptest.Say(ehloReply(test.says)...),
				smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
			client = append(client, smtptest.Say("EHLO client.example.com"), smtptest.Expect(ehloReply(test.hears)...),
				smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
			rec := recorded(t, server, client, test.change)
			if got := rec.changedLines(); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// ehloReply is one with these keywords, each behind its separator.
func ehloReply(keywords []string) []string {
	lines := []string{"250 mail.example.com"}
	for _, k := range keywords {
		lines[0] = "250-mail.example.com"
		lines = append(lines, "250"+k)
	}
	return lines
}

func TestALineThatNoRuleChangedIsLoggedWithoutOne(t *testing.T) {
	server, client := through(0)
	server = append(server, smtptest.Expect("EHLO client.example.com"), smtptest.Say("250-mail.example.com", "250 TURN"),
		smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
	client = append(client, smtptest.Say("EHLO client.example.com"), smtptest.Expect("250 mail.example.com"),
		smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
	rec := recorded(t, server, client, nil)
	if log := rec.text.String(); strings.Contains(log, `rule=""`) || strings.Count(log, " rule=") != len(rec.changedLines()) {
		t.Error(log)
	}
	if strings.Contains(rec.json.String(), fmt.Sprintf("%q:%q", "rule", "")) {
		t.Error(rec.json.String())
	}
}
