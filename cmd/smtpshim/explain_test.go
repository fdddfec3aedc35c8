package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

// What people have before them, and what it is. The texts are those of the catalogue,
// as the programs named here show them.
func TestWhatIsSeenIsExplained(t *testing.T) {
	explains := newExplainer()
	for _, c := range []struct{ of, text, rule, means string }{
		{"Postfix", "postfix/smtp[411]: 4F1: to=<b@example.com>, relay=mx.example.com[192.0.2.1]:25, delay=3, dsn=5.7.0, status=bounced (host mx.example.com[192.0.2.1] said: 505 5.7.0 Must issue a STARTTLS command first (in reply to MAIL FROM command))", "mend-505", ""},
		{"Exim", "2026-11-20 10:00:00 1abc-000 ** b@example.com R=dnslookup T=remote_smtp H=mx.example.com [192.0.2.1]: SMTP error from remote mail server after HELO client: 501 5.5.4 Invalid Address", "fix-hello-name", ""},
		{"Sendmail", "stat=User unknown, dsn=5.6.11, reply=550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds, which cannot be sent via DATA", "stray-bytes", ""},
		{"Exchange", "#535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully ##", "", "login by password is turned off by a policy, for the tenant or for the mailbox"},
		{"a W3C log of IIS", "2026-11-20 10:00:00 192.0.2.1 OutboundConnectionResponse SMTPSVC1 HOST - 25 - - 501+5.5.4+Invalid+Address 0 0 27 0", "fix-hello-name", ""},
		{"swaks", "<** 502 Server does not support AUTH.", "translate-xauth", ""},
		{"curl -v", "< 505 5.7.0 Must issue a STARTTLS command first", "retry-starttls", ""},
		{"Python", "smtplib.SMTPAuthenticationError: (535, b'5.7.8 Username and Password not accepted')", "", "user and password, or the token, are not accepted"},
		{"a log of ours in JSON", `{"level":"WARN","msg":"session","route":"in","outcome":"server-protocol","messages":0}`, "", "the server said something that cannot be followed"},
		{"Microsoft's token endpoint", `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired."}`, "", "the client secret has expired"},
		{"a token endpoint", `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, "", "the token endpoint refuses the credentials, or the refresh token is of no use any more"},
		{"a log of ours", `level=WARN msg=session route=in outcome=server-protocol messages=0`, "", "the server said something that cannot be followed"},
	} {
		causes := explains.causesOf(c.text)
		if !slices.ContainsFunc(causes, func(got cause) bool {
			return !got.Guess && got.Rule == c.rule && (c.means == "" || got.Means == c.means)
		}) {
			t.Errorf("%s: %q is not told as %q %q but as %+v", c.of, c.text, c.rule, c.means, causes)
		}
	}
}

func TestOrdinaryRefusalsAreToldAsSuch(t *testing.T) {
	explains := newExplainer()
	for text, want := range map[string]string{
		"550 5.1.1 <b@example.com>: Recipient address rejected: User unknown in local recipient table":   "the server does not know the recipient: this is about the address, not about SMTP",
		"554 5.7.1 <b@example.com>: Relay access denied":                                                 "the server relays for clients alone that it knows",
		"451 4.7.1 Greylisting in action, please come back later":                                        "the server has not seen this sender before, and wants it to come again (greylisting)",
		"421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade/update your client":                "the two sides have no version or suite of TLS in common that both allow",
		"554 SMTP synchronization error":                                                                 "the client has sent something before it was its turn",
		"452 4.5.3 Too many recipients":                                                                  "the server takes no more recipients in one message",
		"530 5.7.0 Must issue a STARTTLS command first":                                                  "the server takes mail inside TLS only",
		"552 5.3.4 Message size exceeds fixed limit":                                                     "the message is larger than the server takes",
		"(host mx.example.com[192.0.2.1] said: 552-5.3.4 Your message file exceeded (in reply to MAIL))": "the message is larger than the server takes",
	} {
		if causes := explains.causesOf(text); len(causes) == 0 || causes[0].Means != want || causes[0].Guess {
			t.Errorf("%q is told as %+v", text, causes)
		}
	}
	for _, text := range []string{"550 5.1.1 <b@example.com>: Recipient address rejected: User unknown", "554 5.7.1 <b@example.com>: Relay access denied"} {
		for _, c := range explains.causesOf(text) {
			if c.Rule != "" {
				t.Errorf("%q leads to the rule %s", text, c.Rule)
			}
		}
	}
}

func TestEverySymptomOfARuleLeadsToIt(t *testing.T) {
	explains := newExplainer()
	for _, r := range heal.Table() {
		for _, s := range r.Symptoms {
			for _, text := range []string{s, "host mx.example.com[192.0.2.1] said: " + s + " (in reply to MAIL FROM command)", strings.ToUpper(s)} {
				if len(wordsIn(s)) == 1 && text != s {
					continue // a code alone is in any line
				}
				if !slices.ContainsFunc(explains.causesOf(text), func(c cause) bool { return c.Rule == r.Name && !c.Guess }) {
					t.Errorf("%q does not lead to %s", text, r.Name)
				}
			}
		}
	}
}

func TestWhatIsNotKnownIsSaidPlainly(t *testing.T) {
	for _, text := range []string{"SMTP error", "the quick brown fox", "250 2.0.0 Ok: queued as 4F1", "452"} {
		var stdout, stderr bytes.Buffer
		if status := explainFrom([]string{text}, nil, &stdout, &stderr); status != failed || stdout.Len() > 0 || !strings.Contains(stderr.String(), "nothing is known about this text") {
			t.Errorf("%q: status %d, %q, %q", text, status, &stdout, &stderr)
		}
	}
}

func TestLinesOfStandardInputAreExplainedTogether(t *testing.T) {
	input := "Final-Recipient: rfc822; b@example.com\nDiagnostic-Code: smtp; 550 5.6.11\n SMTPSEND.BareLinefeedsAreIllegal\n\nothers\n" +
		"550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal\n"
	var stdout, stderr bytes.Buffer
	if status := explainFrom([]string{"-json", "-"}, strings.NewReader(input), &stdout, &stderr); status != succeeded {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	var got explanation
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(got.Found, func(f finding) bool { return f.Rule == "stray-bytes" })
	if got.Lines != 4 || at < 0 || got.Found[at].Lines != 2 || got.Found[at].Text != "Diagnostic-Code: smtp; 550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal" {
		t.Errorf("explained as %s", &stdout)
	}
}

func TestExplainWithoutATextSaysWhatIsMissing(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := explainFrom(nil, nil, &stdout, &stderr); status != misused || !strings.Contains(stderr.String(), "TEXT is missing") {
		t.Errorf("status %d, %q", status, &stderr)
	}
}

func TestEveryOutcomeHasAMeaning(t *testing.T) {
	for _, o := range vocabulary.Outcomes() {
		if o.Means() == "" {
			t.Errorf("%s has none", o)
		}
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("host said: 505 5.7.0 Must issue a STARTTLS command first")
	f.Add("535+5.7.139+Authentication+unsuccessful")
	f.Add("outcome=")
	explains := newExplainer()
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range explains.causesOf(text) {
			if c.Means == "" || c.Do == "" {
				t.Errorf("%q is told as %+v", text, c)
			}
		}
	})
}
