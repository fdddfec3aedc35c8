package proxy_test

import (
	"bytes"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/heal"
)

func TestTheLogAndTheObserverTellTheProduct(t *testing.T) {
	rules, errs := heal.Compile([]string{"auto"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
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
