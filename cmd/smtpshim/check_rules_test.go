package main

import (
	"strings"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

func TestCheckSaysWhichRulesCannotActUnderTheTLSOfARoute(t *testing.T) {
	for tls, want := range map[string]string{
		"client_tls.mode = \"hide\"\n":                                      "starttls-keyword, accept-early-tls, repeat-ehlo, retry-starttls",
		"client_tls.mode = \"pass\"\n":                                      "accept-early-tls, repeat-ehlo, retry-starttls",
		"client_tls.mode = \"hide\"\nserver_tls.mode = \"opportunistic\"\n": "accept-early-tls",
		"client_tls = {mode = \"offer\", certificate = \"self-signed\"}\nserver_tls.mode = \"opportunistic\"\n": "",
	} {
		c := readText(t, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"192.0.2.1:25\"]\n"+strings.Replace(tls, `certificate = "self-signed"`, ownPEM(t), 1))
		var out strings.Builder
		printRoute(&out, c.Routes[0], said{})
		words := strings.Join(strings.Fields(out.String()), " ")
		if got := strings.Contains(words, "cannot act under this TLS: "); got != (want != "") || !strings.Contains(words, want) {
			t.Errorf("%swant %q in\n%s", tls, want, out.String())
		}
	}
}

// ownPEM are the keys of a certificate that is there.
func ownPEM(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	configtest.Certificate(t, "cert.pem", configtest.Key(t, "key.pem"), time.Now().AddDate(1, 0, 0))
	return "certificate = " + quote(dir+"/cert.pem") + ", key = " + quote(dir+"/key.pem")
}

func TestARuleThatNeedsTLSSaysWhich(t *testing.T) {
	for _, r := range heal.Table() {
		acts := false
		for client := rewrite.ClientTLSPass; client <= rewrite.ClientTLSImplicit; client++ {
			for server := rewrite.ServerTLSOff; server <= rewrite.ServerTLSImplicit; server++ {
				acts = acts || r.Acts == nil || r.Acts(client, server)
			}
		}
		if !acts || (r.Needs == "") != (r.Acts == nil) {
			t.Errorf("%s: acts somewhere %v, needs %q", r.Name, acts, r.Needs)
		}
		if _, out, _ := call("rules", r.Name); r.Needs != "" && !strings.Contains(strings.Join(strings.Fields(out), " "), "Needs: "+r.Needs) {
			t.Errorf("%s: what it needs is not told:\n%s", r.Name, out)
		}
	}
}
