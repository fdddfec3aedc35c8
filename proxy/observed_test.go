package proxy_test

import (
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/testdata"
)

// healed are the rules of the dialogue that a file without rules is the failure of; those
// of standard where there is none.
func healed(t *testing.T, name string) *rewrite.Rules {
	t.Helper()
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if with, isOff := strings.CutSuffix(name, "-off"); isOff {
		f, err := testdata.Of(with)
		if err != nil {
			t.Fatal(err)
		}
		if f != nil {
			rules, errs = heal.Compile(f.Rules, f.Options)
		}
	}
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

// TestAnObservingProxyDoesWhatTheTranscriptsWithoutRuleSay plays the dialogues of
// rewrite's testdata that have no rules, or lack one, through a proxy that observes those
// that would have healed them: each side gets what it gets without them.
func TestAnObservingProxyDoesWhatTheTranscriptsWithoutRuleSay(t *testing.T) {
	all, err := testdata.All()
	if err != nil {
		t.Fatal(err)
	}
	certificate, pool, err := smtptest.Certificate("mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	played := 0
	for title, f := range all {
		if len(f.Rules) > 0 && !strings.HasSuffix(title, "-off") || f.Settings["chunking"] != "" || unplayable[title] != "" {
			continue
		}
		played++
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			s := &stage{f, certificate, pool}
			s.playWith(t, func(r *proxy.Route) { r.Observed = healed(t, title) })
		})
	}
	if played < 50 {
		t.Errorf("%d dialogues of testdata fit; there were more", played)
	}
}

func TestAnObservedSessionTellsWhatWouldHealIt(t *testing.T) {
	for _, wants := range []bool{false, true} {
		server := startServer(t, legacyServer(t, "raptor"))
		rules := compile(t, "standard")
		o := endings{newCounts(), wants, make(chan told, 10)}
		_, dial := startProxy(t, &proxy.Route{Servers: []string{server.Addr()}, Observed: rules, Observer: o, Dialogue: o.Dialogue, Ended: o.Ended})
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := smtptest.Play(conn, patience, smtptest.Expect("220 mail.example.com Generic SMTP handler"), smtptest.Send("EHLO client.example.net\r\n"), smtptest.Expect("500 Command unrecognized"), smtptest.Send("QUIT\r\n"), smtptest.Expect("221 mail.example.com closing connection. Goodbye!")); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-o.ended:
			d := e.Would["fall-back-to-helo"]
			if d.Times != 1 || !strings.HasPrefix(d.Line, "500 ") {
				t.Errorf("heard %v: fall-back-to-helo would have acted %d times, on %q; want once, on the refusal of EHLO", wants, d.Times, d.Line)
			}
			if len(e.Rules) > 0 {
				t.Errorf("rules acted: %v", e.Rules)
			}
		case <-time.After(patience):
			t.Fatal("the session did not end")
		}
	}
}
