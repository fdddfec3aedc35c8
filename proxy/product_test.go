package proxy_test

import (
	"bytes"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
)

func TestTheLogAndTheObserverTellTheProduct(t *testing.T) {
	rules := compile(t, "auto")
	hear, say := smtptest.Expect, smtptest.Say
	keywords := []string{"250-mail.example.com Hello", "250-XEXCH50", "250 X-LINK2STATE"}
	for greeting, want := range map[string]string{
		"220 mail.example.com ESMTP": "exchange-2003:ehlo",
		"220 mail.example.com Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready at  Wed, 21 Jul 2010 19:04:24 -0700": "windows-2003:greeting,exchange-2003:ehlo",
	} {
		s := startScripted(t, plays(say(greeting), hear("EHLO c"), say(keywords...), hear("QUIT"), say("221 bye")))
		r := plainRoute(s)
		r.Rules = rules
		var log bytes.Buffer
		p, dial := logged(t, r, &log)
		act(t, dial, plays(hear(greeting), say("EHLO c"), hear("250 mail.example.com Hello"), say("QUIT"), hear("221 bye")))
		s.wait(t)
		count := r.Observer.(*counts)
		count.outcome(t)
		p.Close() // which waits for the log
		if e := endIn(t, &log); e.Products != want {
			t.Errorf("the log tells %q, not %q", e.Products, want)
		}
		if count.get("product exchange-2003 by ehlo") != 1 || strings.Contains(want, "greeting") != (count.get("product windows-2003 by greeting") == 1) {
			t.Errorf("the observer heard %v", count.n)
		}
	}
}

// What one session has learned of a server the next one knows from the greeting on,
// as long as the server greets so.
func TestAProductIsRememberedOfItsServer(t *testing.T) {
	hear, say := smtptest.Expect, smtptest.Say
	session := func(greeting string, keywords ...string) part {
		return plays(say("220 "+greeting), hear("EHLO c"), say(keywords...), hear("QUIT"), say("221 bye"))
	}
	client := func(greeting string, keywords ...string) part {
		return plays(hear("220 "+greeting), say("EHLO c"), hear(keywords...), say("QUIT"), hear("221 bye"))
	}
	s := startScripted(t,
		session("mail.example.com ESMTP ready at 09:32:00", "250-mail.example.com Hello", "250 X-LINK2STATE"),
		plays(say("220 mail.example.com ESMTP ready at 10:45:12"), hear("QUIT"), say("221 bye")),
		plays(say("220 another.example.com ESMTP ready at 10:45:12"), hear("QUIT"), say("221 bye")))
	r := plainRoute(s)
	r.Rules = compile(t, "auto")
	var log bytes.Buffer
	p, dial := logged(t, r, &log)
	act(t, dial, client("mail.example.com ESMTP ready at 09:32:00", "250 mail.example.com Hello"))
	r.Observer.(*counts).outcome(t)
	for _, host := range []string{"mail", "another"} {
		act(t, dial, plays(hear("220 "+host+".example.com ESMTP ready at 10:45:12"), say("QUIT"), hear("221 bye")))
		r.Observer.(*counts).outcome(t)
	}
	s.wait(t)
	p.Close() // which waits for the log
	if got := strings.Count(log.String(), `"products":"exchange-2003:remembered"`); got != 1 || strings.Count(log.String(), `"products"`) != 2 {
		t.Errorf("the product is remembered in %d sessions:\n%s", got, &log)
	}
}
