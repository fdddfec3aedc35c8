package heal_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

// deaf is a listener that hears nothing.
type deaf struct{}

func (deaf) Command(rewrite.Verb)              {}
func (deaf) Replied(rewrite.Verb, int, []byte) {}
func (deaf) Applied(string)                    {}
func (deaf) Broke(string, string)              {}
func (deaf) Limited(vocabulary.Limit)          {}
func (deaf) Authenticated(vocabulary.Side, vocabulary.Mechanism, vocabulary.AuthOutcome) {
}

// begin begins a session under auto with a server that greets so.
func begin(t *testing.T, greeting string) *rewrite.Dialogue {
	t.Helper()
	rules, errs := heal.Compile([]string{"auto"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	d := rewrite.New(&rewrite.Policy{Rules: rules, Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 20}}, netip.MustParseAddr("192.0.2.7"), deaf{})
	t.Cleanup(d.Close)
	d.Greeting([]byte("220 " + greeting + "\r\n"))
	return d
}

func products(d *rewrite.Dialogue) string {
	var names []string
	for _, p := range d.Products() {
		names = append(names, p.Name+" by "+string(p.By))
	}
	return strings.Join(names, ", ")
}

// The greetings are attested: see the sources in products.go.
func TestAGreetingTellsTheProduct(t *testing.T) {
	for greeting, want := range map[string]string{
		"mail.example.com Microsoft Exchange Internet Mail Service 5.0.1460.8 ready":                                      "exchange-5.0",
		"mail.example.com ESMTP Server (Microsoft Exchange Internet Mail Service 5.5.2653.13) ready":                      "exchange-5.5",
		"mail.example.com  SMTP Server (Microsoft Exchange Internet Mail Service 5.5.2232.0) Ready.":                      "exchange-5.5",
		"mail.example.com Microsoft SMTP MAIL ready at Sat, 28 Aug 1999 09:32:00 -0400 Version: 5.5.1774.114.11":          "iis-4",
		"mail.example.com Microsoft ESMTP MAIL Service, Version: 5.0.2172.1 ready at  Tue, 29 Feb 2000 18:55:48 -0600":    "iis-5",
		"mail.example.com Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready at  Wed, 21 Jul 2010 19:04:24 -0700": "windows-2003",
		"mail.example.com Microsoft ESMTP MAIL Service ready at Wed, 21 Jul 2010 19:04:24 -0700":                          "exchange-2007",
		"mail.example.com Sendmail 8.6.12/8.6.9 ready at Mon, 28 Aug 1995 09:32:00 -0400":                                 "sendmail-8.6",
		"mail.example.com Sendmail 4.1/SMI-4.1 ready at Tue, 23 Feb 93 09:00:22 PST":                                      "sendmail-8.6",
		"All set, fire away": "mail-gateway-3.0",
		"mail.example.com running IBM VM SMTP V2R2 on Fri, 19 Mar 93 12:19:29 EST":           "vm-smtp",
		"mail.example.com ESMTP Service (Lotus Domino Release 8.5.3) ready at Tue":           "domino",
		"mail.example.com Lotus SMTP MTA Service Ready":                                      "domino",
		"Lotus Notes ESMTP Server X1.0 on mail.example.com ready":                            "domino",
		"mail.example.com GroupWise Internet Agent 5.5.1 Ready (C)1993, 1998 Novell, Inc.":   "groupwise",
		"mail.example.com GroupWise SMTP/MIME Daemon 4.1 v3 Ready":                           "groupwise",
		"firewall.example.com Generic SMTP handler":                                          "raptor",
		"r40.example.com InterLock SMTP Gateway 3.0 ready at Mon, 5 Apr 1999 10:22:41 -0400": "interlock",
		"CheckPoint FireWall-1 secure SMTP server":                                           "fw-1",
		" DP-3510": "panasonic-dp",
		"DP-1820E": "panasonic-dp",
		"****************************************2******0*****":                                   "cisco-pix",
		"SMTP/cmap ready________________________________________________________________________": "cisco-pix",

		"mail.example.com ESMTP Postfix":                                            "",
		"mail.example.com ESMTP Exim 4.96 Sat, 28 Aug 2023 09:32:00 +0000":          "",
		"mail.example.com ESMTP Sendmail 8.17.1/8.17.1; Sat, 28 Aug 2023 09:32:00":  "",
		"mail.example.com ESMTP Sendmail 8.12.11/8.12.11; Sat, 28 Aug 2004 09:32:0": "",
		"mx.example.com ESMTP a1b2c3d4-5 - gsmtp":                                   "",
		"imc.example.com service ready":                                             "", // Exchange 4.0 greets so, and anybody may
		"SMTP service ready":                                                        "", // and so does WatchGuard's proxy
		"mail.example.com DP-3510":                                                  "",
		"":                                                                          "",
		"2 0 20":                                                                    "", // nothing is painted over
	} {
		got := products(begin(t, greeting))
		if want != "" {
			want += " by greeting"
		}
		if got != want {
			t.Errorf("%q tells %q, not %q", greeting, got, want)
		}
	}
}

func TestAnEHLOReplyTellsTheProduct(t *testing.T) {
	for reply, want := range map[string]string{
		"server2.example.com Hello [server2]|XEXCH50|HELP|ETRN|DSN|SIZE 0|AUTH LOGIN|AUTH=LOGIN":                      "exchange-5.5 by ehlo",  // KB Q262945
		"mail.example.com Hello|TURN|ATRN|SIZE 2097152|X-EXPS GSSAPI NTLM LOGIN|X-EXPS=LOGIN|XEXCH50|X-LINK2STATE|OK": "exchange-2003 by ehlo", // KB 257569
		"mail.example.com|PIPELINING|SIZE 10240000|8BITMIME|AUTH PLAIN LOGIN|AUTH=PLAIN LOGIN":                        "",
	} {
		d := begin(t, "mail.example.com ESMTP")
		d.Command([]byte("EHLO client.example.net\r\n"), false)
		lines := strings.Split(reply, "|")
		d.Reply([]byte("250-"+strings.Join(lines[:len(lines)-1], "\r\n250-")+"\r\n250 "+lines[len(lines)-1]+"\r\n"), false, false)
		if got := products(d); got != want {
			t.Errorf("%q tells %q, not %q", reply, got, want)
		}
	}
}

func TestAHELPReplyTellsTheProduct(t *testing.T) {
	for reply, want := range map[string]string{
		"214-This is Sendmail version 8.6.12\r\n214 End of HELP info\r\n":       "sendmail-8.6 by help",
		"214-2.0.0 This is sendmail version 8.17.1\r\n214 End of HELP info\r\n": "",
		"214 Help system currently inactive.\r\n":                               "mdaemon by help",
		"214 mail.example.com is running the IBM VM operating system\r\n":       "vm-smtp by help",
	} {
		d := begin(t, "mail.example.com ESMTP")
		d.Command([]byte("HELP\r\n"), false)
		d.Reply([]byte(reply), false, false)
		if got := products(d); got != want {
			t.Errorf("%q tells %q, not %q", reply, got, want)
		}
	}
}

func TestACommandTellsTheClientsProduct(t *testing.T) {
	for line, want := range map[string]string{
		"XAUTH NTLM TlRMTVNTUAABAAAAt5IAQA==": "exchange-5.0 by command", "X-LINK2STATE FIRST CHUNK={0}": "exchange-2003 by command",
		"AUTH NTLM": "", "MAIL FROM:<a@example.com>": "",
	} {
		d := begin(t, "mail.example.com ESMTP")
		d.Command([]byte(line+"\r\n"), false)
		if got := products(d); got != want {
			t.Errorf("%q tells %q, not %q", line, got, want)
		}
	}
}

// auto has all of standard, two rules that wait for a fault, and what each product needs besides.
func TestAutoIsStandardAndEveryProductWithSigns(t *testing.T) {
	auto, errs := heal.Compile([]string{"auto"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	standard, _ := heal.Compile([]string{"standard"}, nil)
	for _, name := range standard.Names() {
		if !slices.Contains(auto.Names(), name) || auto.Scope(name) != "" {
			t.Errorf("%s of standard acts for %q", name, auto.Scope(name))
		}
	}
	for _, name := range auto.Names() {
		isMore := name == "strip-parameters" || name == "reply-texts"
		if everywhere := auto.Scope(name) == ""; everywhere != (isMore || slices.Contains(standard.Names(), name)) {
			t.Errorf("%s acts in every session: %v", name, everywhere)
		}
	}
	if got := auto.Scope("chunking"); got != "products cisco-pix" {
		t.Errorf("chunking acts for %q", got)
	}
	for _, s := range heal.Sets() {
		if has := s.Signs != (rewrite.Signs{}); has != slices.Contains(auto.Products(), s.Name) {
			t.Errorf("%s has signs: %v, and auto looks for %q", s.Name, has, auto.Products())
		}
		if _, untold := heal.Untold()[s.Name]; untold == slices.Contains(auto.Products(), s.Name) && s.Name != "standard" && s.Name != "auto" {
			t.Errorf("%s has a reason why auto does not look for it: %v", s.Name, untold)
		}
		for _, rule := range s.Rules {
			if !slices.ContainsFunc(heal.Table(), func(r rewrite.Rule) bool { return r.Name == rule }) {
				t.Errorf("%s has %q, which is no rule", s.Name, rule)
			}
		}
	}
}

// A product's options take the place of those of standard: names are mended before
// this server is asked, and XAUTH is shown in both spellings.
func TestAProductsOptionsTakeThePlaceOfStandards(t *testing.T) {
	for _, c := range []struct{ greeting, command, reply, toServer, toClient string }{
		{"mail.example.com Lotus SMTP MTA Service Ready", "EHLO my_host.example.net", "", "EHLO my-host.example.net\r\n", ""},
		{"mail.example.com ESMTP", "EHLO my_host.example.net", "", "EHLO my_host.example.net\r\n", ""},
		{"mail.example.com ESMTP", "EHLO client.example.net", "250-mail.example.com\r\n250 AUTH NTLM\r\n", "EHLO client.example.net\r\n",
			"250-mail.example.com\r\n250-AUTH NTLM\r\n250 XAUTH NTLM\r\n"},
	} {
		d := begin(t, c.greeting)
		d.ToClient = nil
		d.Command([]byte(c.command+"\r\n"), false)
		if c.reply != "" {
			d.Reply([]byte(c.reply), false, false)
		}
		if string(d.ToServer) != c.toServer || string(d.ToClient) != c.toClient {
			t.Errorf("%s: the server gets %q, the client %q", c.greeting, d.ToServer, d.ToClient)
		}
	}
	d := begin(t, "mail.example.com ESMTP") // a client of Exchange 5.0 shows by its first XAUTH
	d.Command([]byte("XAUTH NTLM\r\n"), false)
	d.Reply([]byte("503 say EHLO first\r\n"), false, false)
	d.ToClient = nil
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	d.Reply([]byte("250-mail.example.com\r\n250 AUTH NTLM\r\n"), false, false)
	if want := "250-mail.example.com\r\n250-AUTH NTLM\r\n250-XAUTH NTLM\r\n250-XAUTH=NTLM\r\n250 AUTH=NTLM\r\n"; string(d.ToClient) != want {
		t.Errorf("the client gets %q", d.ToClient)
	}
}

func TestACommandThatNoRuleWantsCostsNoAllocationUnderAuto(t *testing.T) {
	for _, greeting := range []string{"mail.example.com ESMTP", "CheckPoint FireWall-1 secure SMTP server"} {
		d := begin(t, greeting)
		ask := func(command, reply []byte) {
			d.Command(command, false)
			d.ToServer = d.ToServer[:0]
			d.Reply(reply, false, false)
			d.ToClient = d.ToClient[:0]
		}
		ask([]byte("EHLO client.example.net\r\n"), []byte("250-mail.example.com\r\n250-PIPELINING\r\n250-SIZE\r\n250 DSN\r\n"))
		reply := []byte("250 2.0.0 Ok\r\n")
		for _, line := range []string{"RSET", "MAIL FROM:<a@example.com> SIZE=1000 RET=HDRS", "RCPT TO:<b@example.net> NOTIFY=NEVER", "VRFY b"} { // of NOOP fw-1 reads the reply
			command := []byte(line + "\r\n")
			if n := testing.AllocsPerRun(100, func() { ask(command, reply) }); n != 0 {
				t.Errorf("%s: %s costs %v allocations", greeting, line, n)
			}
		}
	}
}

// What is known of the session's products has its place, and that is all.
func TestLookingForProductsCostsOneAllocationASession(t *testing.T) {
	cost := map[string]float64{}
	for _, set := range []string{"standard", "auto"} {
		rules, _ := heal.Compile([]string{set}, nil)
		policy := &rewrite.Policy{Rules: rules, Turns: rewrite.NewTurns(4)}
		cost[set] = testing.AllocsPerRun(200, func() { greetAndHello(policy, nil) })
	}
	if cost["auto"] > cost["standard"]+1 {
		t.Errorf("a session costs %v allocations", cost)
	}
}

// A server that shows no product, and a client's EHLO.
var (
	plainGreeting = []byte("220 mail.example.com ESMTP Postfix\r\n")
	plainHello    = []byte("EHLO client.example.net\r\n")
	plainReply    = []byte("250-mail.example.com\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ETRN\r\n250-AUTH PLAIN LOGIN\r\n" +
		"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 DSN\r\n")
)

// greetAndHello is a session up to the EHLO reply.
func greetAndHello(policy *rewrite.Policy, memory rewrite.Memory) {
	d := rewrite.New(policy, netip.Addr{}, deaf{})
	if memory != nil {
		d.Serves(memory)
	}
	d.Greeting(plainGreeting)
	d.Command(plainHello, false)
	d.Reply(plainReply, false, false)
	d.Close()
}

// forgetful is a memory of a server that has learned nothing.
type forgetful struct{}

func (forgetful) Remember(string, int)  {}
func (forgetful) Remembers(string) bool { return false }

// What looking for products costs a session, once.
func BenchmarkGreetingAndEHLO(b *testing.B) {
	for _, name := range []string{"standard", "auto", "auto with a memory"} {
		b.Run(name, func(b *testing.B) {
			set, _, remembers := strings.Cut(name, " ")
			rules, _ := heal.Compile([]string{set}, nil)
			policy := &rewrite.Policy{Rules: rules, Turns: rewrite.NewTurns(4)}
			var memory rewrite.Memory
			if remembers {
				memory = forgetful{}
			}
			b.ReportAllocs()
			for b.Loop() {
				greetAndHello(policy, memory)
			}
		})
	}
}

func TestWhatAutoDoesNotLookForIsASet(t *testing.T) {
	for name, why := range heal.Untold() {
		if why == "" || !slices.ContainsFunc(heal.Sets(), func(s rewrite.Set) bool { return s.Name == name }) {
			t.Errorf("%s has the reason %q, and is a set or none", name, why)
		}
	}
}

func TestNoTwoSetsHaveOneName(t *testing.T) {
	var names []string
	for _, s := range heal.Sets() {
		if slices.Contains(names, s.Name) || slices.ContainsFunc(heal.Table(), func(r rewrite.Rule) bool { return r.Name == s.Name }) {
			t.Errorf("%s is there twice", s.Name)
		}
		names = append(names, s.Name)
	}
}
