package main

import (
	"slices"
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

// The log of run and the page have r.Rules.Names().
func TestCheckListsTheRulesThatRunLists(t *testing.T) {
	for _, says := range []string{"", "rules = []\n", "rules = [\"exchange-5.5\"]\n", "mode = \"observe\"\n"} {
		c := readText(t, configtest.Route("in", "127.0.0.1:2525")+says)
		r := c.Routes[0]
		var out strings.Builder
		printRoute(&out, r, said{})
		lists := map[string][]string{}
		name := ""
		for line := range strings.Lines(out.String()) {
			if label := strings.TrimSpace(line[2:min(17, len(line))]); label != "" {
				name = label
			}
			lists[name] = append(lists[name], strings.TrimSpace(line[min(17, len(line)):]))
		}
		list := func(name string) []string {
			text, _, _ := strings.Cut(strings.Join(lists[name], " "), " alone, which every route has")
			text = strings.TrimPrefix(text, "under this TLS: ")
			return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
		}
		got, want := append(list("rules"), list("cannot act")...), r.Rules.Names()
		if r.Observed != nil {
			got, want = append(got, list("observes")...), append(want, r.Observed.Names()...)
		}
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) || !slices.Contains(list("rules"), heal.Safeguard) {
			t.Errorf("%scheck lists %q, run %q:\n%s", says, got, want, &out)
		}
	}
}

func TestCheckListsALimitOfMessages(t *testing.T) {
	c := readText(t, configtest.Route("in", "127.0.0.1:2525")+"limits = {sessions = 100, message_size = 10485760}\n")
	var out strings.Builder
	printRoute(&out, c.Routes[0], said{})
	if want := " sessions 100, message_size 10485760\n"; !strings.Contains(out.String(), want) {
		t.Errorf("not %q in\n%s", want, &out)
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
