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
		{"a log of ours in JSON", `{"level":"WARN","msg":"session","route":"in","outcome":"server-protocol","messages":0}`, "", "the server sent something that breaks the protocol"},
		{"Microsoft's token endpoint", `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired."}`, "", "the client secret has expired"},
		{"a token endpoint", `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, "", "the token endpoint refuses the credentials, or the refresh token is of no use any more"},
		{"a log of ours", `level=WARN msg=session route=in outcome=server-protocol messages=0`, "", "the server sent something that breaks the protocol"},
		{"a refusal in a log of ours", `level=WARN msg=session outcome=refused messages=0 refused=MAIL code=501 text="5.5.4 Invalid Address"`, "fix-hello-name", ""},
		{"a refusal in a log of ours in JSON", `{"msg":"session","outcome":"refused","refused":"RCPT","code":552,"text":"Too many recipients"}`, "too-many-recipients", ""},
		{"a refusal of one word in a log of ours", `msg=session outcome=refused refused=RCPT code=550 text=5.2.2`, "", fullMailbox},
	} {
		causes := explains.causesOf(c.text)
		if !slices.ContainsFunc(causes, func(got cause) bool {
			return !got.Guess && got.Rule == c.rule && (c.means == "" || got.Means == c.means)
		}) {
			t.Errorf("%s: %q is not told as %q %q but as %+v", c.of, c.text, c.rule, c.means, causes)
		}
	}
}

// Of two rules that heal the same, the one that needs no options is told first.
func TestARuleWithoutOptionsIsToldBeforeOneThatNeedsThem(t *testing.T) {
	causes := newExplainer().causesOf("554 5.6.1 Body type not supported by Remote Host")
	if len(causes) != 2 || causes[0].Rule != "offer-8bitmime" || causes[1].Rule != "hide-keywords" {
		t.Errorf("%+v", causes)
	}
}

func TestOrdinaryRefusalsAreToldAsSuch(t *testing.T) {
	explains := newExplainer()
	for text, want := range map[string]string{
		"550 5.1.1 <b@example.com>: Recipient address rejected: User unknown in local recipient table": "the server does not know the recipient: this is about the address, not about SMTP",
		"554 5.7.1 <b@example.com>: Relay access denied":                                               "the server relays only for clients that it knows",
		"451 4.7.1 Greylisting in action, please come back later":                                      "the server has not seen this sender before, and requires it to try again later (greylisting)",
		"421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade/update your client":              "the two sides have no version or suite of TLS in common that both allow",
		"554 SMTP synchronization error":                                                               "the client has sent something too early",
		"452 4.5.3 Too many recipients":                                                                "the server accepts no more recipients in one message",
		"530 5.7.0 Must issue a STARTTLS command first":                                                "the server accepts mail inside TLS only",
		"552 5.3.4 Message size exceeds fixed limit":                                                   "the message is larger than the server accepts",
		"status=deferred (connect to mx.example.com[192.0.2.1]:25: Connection timed out)":              "there is no connection to the server: nothing was sent",
		"status=deferred (Cannot start TLS: handshake failure)":                                        "TLS was begun, and the two did not agree; another line of the log may say why",
		"lost connection with mx.example.com[192.0.2.1] while receiving the initial server greeting":   "the server accepts the connection, and hangs up or sends nothing instead of a greeting",
		"504 5.5.2 <PRINTER>: Helo command rejected: need fully-qualified hostname":                    "the server requires a name with a domain in EHLO or HELO, and the client sends one word",
		"452 4.3.1 Insufficient system resources":                                                      "the server is short of disk space or memory, and accepts no mail until it has more",
		"451 4.3.1 Try later":    "the server is short of disk space or memory, and accepts no mail until it has more",
		"552 5.2.2 Mailbox full": "the mailbox has no room",
		"450 4.1.8 <a@example.com>: Sender address rejected: Domain not found":                                           "the server does not find the domain of the sender's address in the DNS",
		"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org":                          "the server accepts no mail from this address, because of a list of addresses",
		"550 5.7.26 This mail has been blocked because the sender is unauthenticated":                                    "the server refuses by the domain of the sender: SPF, DKIM or DMARC",
		"certificate verify failed for mx.example.com: self-signed certificate":                                          "one side does not accept the certificate of the other",
		"2003-08-28 09:32:00 192.0.2.1 sub2. SMTPSVC1 MAIL 192.0.2.2 0 EHLO - +sub2. 501 0 32 10 0 SMTP":                 "a Microsoft server refuses the name in EHLO or HELO",
		"2003-08-28 09:32:00 192.0.2.1 client SMTPSVC1 MAIL 192.0.2.2 0 MAIL - +FROM:<a@example.com> 505 0 32 10 0 SMTP": "a Microsoft server requires TLS or a login first, and says so by a code that senders do not know",
		"(host mx.example.com[192.0.2.1] said: 552-5.3.4 Your message file exceeded (in reply to MAIL))":                 "the message is larger than the server accepts",
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
			for _, text := range []string{s, "host mx.example.com[192.0.2.1] said: " + s + " (in the log)", strings.ToUpper(s)} {
				if own, rest := explains.ownCauses(s); own != nil && rest != s {
					continue // it is ours, and tells of much else
				}
				if len(allWordsIn(s)) == 1 && text != s {
					continue // one word is in any line
				}
				if !slices.ContainsFunc(explains.causesOf(text), func(c cause) bool {
					ofFirewall := slices.Contains(setsOf(r.Name), "cisco-pix") && strings.Contains(c.Do, "cisco-pix")
					return ofFirewall || c.Rule == r.Name && (!c.Guess || c.generic)
				}) {
					t.Errorf("%q does not lead to %s", text, r.Name)
				}
			}
		}
	}
}

// What a provider says for good is not what a rule puts off.
func TestARefusalThatIsKnownIsNotTakenForOneWithAnotherEnhancedCode(t *testing.T) {
	explains := newExplainer()
	for text, want := range map[string]bool{
		"535 5.7.139 Authentication unsuccessful, basic authentication is disabled.": false,
		"535 5.7.3 Authentication unsuccessful":                                      true,
		"535 Authentication unsuccessful":                                            true,
		"535 5.7.8 Authentication unsuccessful":                                      true, // as a server says that is no large provider's
	} {
		causes := explains.causesOf(text)
		if got := slices.ContainsFunc(causes, func(c cause) bool { return c.Rule == "defer-auth-failures" }); got != want {
			t.Errorf("%q leads to the rule: %v, want %v: %+v", text, got, want, causes)
		}
	}
}

// A code alone is too little: the enhanced code has to be that of the symptom.
func TestACodeWithAnotherEnhancedCodeIsNotASymptom(t *testing.T) {
	explains := newExplainer()
	for text, want := range map[string]string{
		"550 4.7.1 <client>: not now":                       "status-codes",
		"550-4.7.1 <client>: not now":                       "status-codes",
		"552 5.5.3 <b@example.com>: Recipient limit is 100": "too-many-recipients",
		"Subject: 550 questions":                            "",
		"550 5.7.1 not you":                                 "",
		"552 5.9.7 zork":                                    "",
	} {
		got := ""
		for _, c := range explains.causesOf(text) {
			if got = c.Rule; got != "" {
				break
			}
		}
		if got != want {
			t.Errorf("%q leads to the rule %q, want %q", text, got, want)
		}
	}
}

func TestAnEnhancedCodeIsEnoughWhereNothingElseIsKnown(t *testing.T) {
	explains := newExplainer()
	for text, want := range map[string]string{
		"said: 550 5.1.1 zork":            unknownRecipient,
		"Status: 4.4.1":                   unreachable,
		"dsn=5.4.6, zork":                 circle,
		"550 zork (#5.2.2)":               fullMailbox,
		"550 5.4.1 zork":                  "", // Exchange Online says so of recipients
		"421 4.2.1 zork":                  "",
		"550 5.1.10 zork":                 "",
		"550 5.1.11 zork":                 "",
		"version 5.1.1 of zork":           "",
		"10.5.1.1 is not known":           "",
		"550 5.1.1 over quota, says zork": fullMailbox, // words say more
	} {
		got := ""
		if causes := explains.causesOf(text); causes != nil {
			got = causes[0].Means
		}
		if got != want {
			t.Errorf("%q means %q, want %q", text, got, want)
		}
	}
	for status, means := range byStatus {
		if !slices.ContainsFunc(ordinaryRefusals(), func(o ordinary) bool { return o.means == means }) {
			t.Errorf("%s means %q, which is no ordinary refusal", status, means)
		}
	}
}

func TestATextOfAnOrdinaryRefusalIsInSmallLettersAndMeansOneThing(t *testing.T) {
	seen := map[string]string{}
	for _, o := range ordinaryRefusals() {
		if o.means == "" || o.do == "" || o.source == "" || o.texts == nil {
			t.Errorf("%+v lacks something", o)
		}
		for _, text := range o.texts {
			if text != strings.ToLower(text) {
				t.Errorf("%q is never found: it is not in small letters", text)
			}
			if before, is := seen[text]; is && o.codes == nil {
				t.Errorf("%q means %q and %q", text, before, o.means)
			}
			seen[text] = o.means
		}
	}
}

// Guesses are told as such, and only where nothing is known.
func TestWhatIsOnlyLikeASymptomIsAGuess(t *testing.T) {
	explains := newExplainer()
	for text, want := range map[string]string{
		"conversation failed while performing an EHLO and TLS handshake":    "fall-back-to-helo",
		"505 You must please issue the STARTTLS command first":              "mend-505",
		"STARTTLS first! A command must you issue, 505":                     "", // in another order
		"530 You must issue command 505 of STARTTLS at first":               "",
		"421 Service not available, closing transmission channel":           "",
		"Must " + strings.Repeat("far ", 9) + "issue a STARTTLS " + "today": "",
	} {
		got := ""
		for _, c := range explains.causesOf(text) {
			if got == "" && c.Guess {
				got = c.Rule
			}
		}
		if got != want {
			t.Errorf("%q is guessed to be %q, want %q", text, got, want)
		}
	}
}

func TestLinesWithARefusalOfWhichNothingIsKnownAreShown(t *testing.T) {
	log := "status=bounced (host mx.example.com[192.0.2.1] said: 501 Invalid Address (in reply to EHLO command))\nqmgr: removed\n" +
		"status=bounced (host mx.example.com[192.0.2.1] said: 571 zork (in reply to RCPT TO command))\n"
	var stdout, stderr bytes.Buffer
	if status := explainFrom([]string{"-"}, strings.NewReader(log), &stdout, &stderr); status != succeeded {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	if got := stdout.String(); !strings.Contains(got, "Nothing is known of this line with a refusal:\n\n    status=bounced (host mx.example.com[192.0.2.1] said: 571 zork") ||
		strings.Contains(got, "removed") {
		t.Errorf("it is told\n%s", got)
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
