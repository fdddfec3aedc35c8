package main

import (
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// printedFor returns what explain prints about a text, with single blanks, and what it
// found.
func printedFor(t *testing.T, text string) (printed string, e explanation) {
	t.Helper()
	e, err := newExplainer().explain(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	printExplained(&b, e)
	return strings.Join(strings.Fields(b.String()), " "), e
}

// A firstAnswer is what the first answer to a text is.
type firstAnswer struct {
	text  string
	sure  bool
	rule  string // "": none
	means string // a part of its meaning
}

func (c firstAnswer) check(t *testing.T) {
	t.Helper()
	_, e := printedFor(t, c.text)
	if e.Found == nil {
		t.Errorf("%q: nothing is found", c.text)
		return
	}
	if got := e.Found[0]; got.Guess == c.sure || got.Rule != c.rule || !strings.Contains(got.Means, c.means) {
		t.Errorf("%q: sure %t, rule %q, %q; want sure %t, rule %q, %q", c.text, !got.Guess, got.Rule, got.Means, c.sure, c.rule, c.means)
	}
}

func TestANameThatIsRefusedInTheWordsOfServersLeadsToItsRule(t *testing.T) {
	for _, text := range []string{
		"#5.5.0 smtp;501 5.5.4 Invalid domain name", // a bounce of Exchange 2003
		"501 5.5.4 Invalid domain name [AS4P189CA0060.EURP189.PROD.OUTLOOK.COM 2023-10-24T06:56:46.567Z 08DBD2CBA8497480]",
		"501 Invalid domain name",
		`smtp failed-command command="HELO " result="501 5.5.4 Invalid command arguments: Invalid domain name"`,
		"550 5.5.0 Invalid EHLO/HELO domain.",
		"550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
	} {
		firstAnswer{text, true, "fix-hello-name", "refuse the name"}.check(t)
	}
}

// What "smtpshim rules TEXT" finds is a guess, since it may be the answer to something
// else.
func TestWhereNothingIsKnownTheRulesThatHaveTheWordsAreGuesses(t *testing.T) {
	for _, c := range []firstAnswer{
		{"553 5.5.4 line to submit longer", false, "long-lines", ""},
		{"status=bounced (host mx.example.com[192.0.2.1] said: 559 5.5.4 Unexpected whitespace before (in reply to MAIL FROM command))", false, "tidy-commands", ""},
	} {
		c.check(t)
		words := replyText(c.text)
		if !slices.ContainsFunc(findRules(words), func(f found) bool { return f.rule.Name == c.rule }) {
			t.Errorf("rules %q does not find %s", words, c.rule)
		}
	}
	for _, text := range []string{"571 zork", "SMTP error", "the quick brown fox", "559 5.5.4 domain", "550 Access denied"} {
		if printed, _ := printedFor(t, text); printed != "" {
			t.Errorf("%q: %s", text, printed)
		}
	}
}

func TestTheTextOfAReplyIsFoundInALine(t *testing.T) {
	for line, want := range map[string]string{
		"501 5.5.4 Invalid domain name":                                      "Invalid domain name",
		"#5.5.0 smtp;501 5.5.4 Invalid domain name":                          "Invalid domain name",
		"said: 571 5.7.1 zork zork (in reply to RCPT TO command))":           "zork zork",
		"571 zork [AS4P189CA0060.EURP189.PROD.OUTLOOK.COM 2023-10-24T06:56]": "zork",
		"without a code": "without a code",
	} {
		if got := replyText(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// An enhanced status code about an address or a mailbox is not about the name in EHLO,
// whatever the text.
func TestARefusalOfAnAddressIsNotTakenForOneOfTheNameInEHLO(t *testing.T) {
	for _, c := range []firstAnswer{
		{"501 5.1.3 Invalid address", true, "", "how the recipient's address is written"},
		{"501 5.1.7 Invalid address", true, "", "how the sender's address is written"},
		{"550 5.1.7 Invalid address", true, "", "how the sender's address is written"},
		{"Mail: Mailserver response error -- 501 5.1.3 Invalid address", true, "", "how the recipient's address is written"},
		{"501 5.5.4 Invalid Address", true, "fix-hello-name", ""},
		{"501 Invalid Address", true, "fix-hello-name", ""},
	} {
		c.check(t)
	}
}

func TestARefusalOfAnotherCommandDoesNotLeadToARule(t *testing.T) {
	for text, rule := range map[string]string{
		`500 Syntax error, command "XEXCH50" unrecognized`:                "fall-back-to-helo",
		`500 5.5.1 Command unrecognized: "XEXCH50 1124 2"`:                "fall-back-to-helo",
		"said: 501 Invalid Address (in reply to RCPT TO command)":         "fix-hello-name",
		"after RCPT TO:<b@example.com>: 501 Invalid Address":              "fix-hello-name",
		"said: 503 Bad Sequence (in reply to DATA command)":               "second-ehlo",
		"said: 500 Line too long (in reply to end of DATA command)":       "split-auth-line",
		"said: 552 Too many recipients (in reply to end of DATA command)": "too-many-recipients",
		`the SMTP command "xexch50" with "505 Authentication required "`:  "mend-505",
	} {
		_, e := printedFor(t, text)
		for _, f := range e.Found {
			if f.Rule == rule {
				t.Errorf("%q leads to %s", text, rule)
			}
		}
	}
	for text, rule := range map[string]string{
		"said: 501 Invalid Address (in reply to EHLO command)":      "fix-hello-name",
		"said: 500 Line too long (in reply to AUTH command)":        "split-auth-line",
		`500 5.5.1 Command unrecognized: "EHLO relay"`:              "fall-back-to-helo",
		"after EHLO relay.example.net: 503 Bad Sequence":            "second-ehlo",
		"SMTP ERROR: MAIL FROM command failed: 503 EHLO first":      "repeat-ehlo",
		"said: 500 Line too long (in reply to end of DATA command)": "long-lines",
	} {
		firstAnswer{text, true, rule, ""}.check(t)
	}
}

func TestARefusalOfXEXCH50IsToldAsHarmless(t *testing.T) {
	for _, text := range []string{
		"504 Need to authenticate first",
		`The remote host "mx.example.com", responded to the SMTP command "xexch50" with "504 Need to authenticate first ". The full command sent was "XEXCH50 2336 3 ".`,
		`500 Syntax error, command "XEXCH50" unrecognized`,
		`the SMTP command "xexch50" with "505 Authentication required "`,
	} {
		firstAnswer{text, true, "", "refuses XEXCH50"}.check(t)
	}
	if printed, _ := printedFor(t, "250-XEXCH50"); printed != "" {
		t.Errorf("a keyword is told as %s", printed)
	}
}

func TestTheRulesAndCommandsThatAreComparedAreThere(t *testing.T) {
	for rule := range answersTo {
		if !slices.ContainsFunc(heal.Table(), func(r rewrite.Rule) bool { return r.Name == rule }) {
			t.Errorf("there is no rule %s", rule)
		}
	}
}

// Such texts are the answers of many servers to many mistakes.
func TestARuleThatAGenericTextShowsIsAGuess(t *testing.T) {
	for text, rule := range map[string]string{
		"502 Command not implemented":                   "upper-case-verbs",
		"502 5.5.1 Command not implemented":             "upper-case-verbs",
		"503 Bad sequence of commands":                  "second-ehlo",
		"503 5.5.1 Bad sequence of commands":            "second-ehlo",
		"501 5.1.7 Bad sender address syntax":           "strip-parameters",
		"501 5.1.3 Bad recipient address syntax":        "tidy-commands",
		"501 Syntax error in parameters or arguments":   "tidy-commands",
		"501 Bad command":                               "tidy-commands",
		"500 Command unrecognized":                      "fall-back-to-helo",
		"555 5.5.2 Syntax error. abc123 - gsmtp":        "split-auth-line",
		"535 Authentication Failed":                     "split-auth-line",
		"535 5.7.8 Error: authentication failed":        "login-to-plain",
		"535 5.7.3 Authentication unsuccessful":         "map-auth-names",
		"535 Incorrect authentication data":             "join-auth-lines",
		"Login denied":                                  "join-auth-lines",
		"530 5.7.0 Authentication required":             "helo-to-ehlo",
		"530 5.7.0 Must issue a STARTTLS command first": "retry-starttls",
		"250-Hello":          "unended-replies",
		"<- 250-Hello relay": "unended-replies",
		"smtplib.SMTPNotSupportedError: STARTTLS extension not supported by server.":  "starttls-keyword",
		"smtplib.SMTPNotSupportedError: SMTP AUTH extension not supported by server.": "auth-spelling",
		"No compatible authentication mechanisms found.":                              "plain-keywords",
		"500 5.3.3 Unrecognized command":                                              "retry-ehlo",
		"500 5.5.2 Error: bad syntax":                                                 "blank-lines",
		"502 Invalid/unsupported command":                                             "accept-early-tls",
		"invalid response":                                                            "reply-separators",
		"said: 502 Command not implemented (in reply to EHLO command)":                "upper-case-verbs",
	} {
		printed, e := printedFor(t, text)
		at := slices.IndexFunc(e.Found, func(f finding) bool { return f.Rule == rule })
		if at < 0 || !e.Found[at].Guess || !strings.Contains(printed, "Perhaps: this is known of "+strings.Join(strings.Fields(e.Found[at].Means[len("this is known of "):]), " ")) {
			t.Errorf("%q: %s is not a guess: %s", text, rule, printed)
		}
	}
	for text, rule := range map[string]string{ // as a server says it that has this fault, or with the command
		"503 Bad Sequence": "second-ehlo",
		"said: 503 Bad sequence of commands (in reply to EHLO command)": "second-ehlo",
		"said: 500 Command unrecognized (in reply to EHLO command)":     "fall-back-to-helo",
		"505 Authentication required":                                   "mend-505",
		"500 5.3.3 Unrecognized command '????'":                         "retry-ehlo",
		"500 5.3.3 Unrecognized command 'unknown'":                      "retry-ehlo",
	} {
		firstAnswer{text, true, rule, ""}.check(t)
	}
}

func TestAGuessIsToldBehindWhatTheSameLineShowsForCertain(t *testing.T) {
	printed, e := printedFor(t, "571 5.1.1 zork\n501 5.1.7 Bad sender address syntax\n")
	if len(e.Found) != 3 || e.Found[1].Means != wrongSender || e.Found[1].Guess || e.Found[2].Rule != "strip-parameters" || !e.Found[2].Guess {
		t.Errorf("told as %s", printed)
	}
}

// What a firewall has masked says nothing about the server behind it.
func TestWhatAFirewallHasMaskedIsToldAsSuch(t *testing.T) {
	for _, text := range []string{
		"220 ****************************************2******0*****",
		"<- 220 *2************0*",
		"220 SMTP/cmap_____________________________________read",
		"250-XXXXXXXX",
		"250 XXXA",
		"250-XXXX LOGIN PLAIN",
		`500 Syntax error, command "XXXX" unrecognized`,
		`500 5.5.1 Command unrecognized: "XXXX relay.example.net"`,
	} {
		printed, e := printedFor(t, text)
		if len(e.Found) != 1 || e.Found[0].Guess || !strings.Contains(e.Found[0].Means, "Cisco's PIX") || strings.Contains(printed, "Exchange 5.0") {
			t.Errorf("%q: %s", text, printed)
		}
		for _, name := range []string{`rules = ["standard", "cisco-pix"]`, "masked-ehlo"} {
			if !strings.Contains(printed, name) {
				t.Errorf("%q does not name %s: %s", text, name, printed)
			}
		}
	}
	for _, text := range []string{"220 mail.example.com ESMTP", "250-XEXCH50", "250 XXL", "password: XXXX", "*****", "220 2 0 20", `500 Command unrecognized: "XXXXA"`} {
		if printed, _ := printedFor(t, text); strings.Contains(printed, "PIX") {
			t.Errorf("%q: %s", text, printed)
		}
	}
	set := slices.IndexFunc(heal.Sets(), func(s rewrite.Set) bool { return s.Name == "cisco-pix" })
	c, _ := maskedCause("")
	if do := adviceBetween(c); !strings.HasPrefix(do, "set rules = ") {
		t.Errorf("with smtpshim between the advice is %q", do)
	}
	for _, rule := range []string{"masked-ehlo", "fall-back-to-helo", "host-name-first", "advertise-esmtp"} {
		if set < 0 || !slices.Contains(heal.Sets()[set].Rules, rule) || !strings.Contains(c.Do, rule) {
			t.Errorf("the set cisco-pix, or the advice, does not have %s", rule)
		}
	}
}

func TestTextsOfServersThatWereNotFoundAreKnown(t *testing.T) {
	for _, c := range []firstAnswer{
		{"451 5.7.3 STARTTLS is required to send mail", true, "", "inside TLS only"},
		{"451 5.7.3 Must issue a STARTTLS command first.", true, "", "inside TLS only"},
		{"451 STARTTLS is required for this sender - psmtp", true, "", "inside TLS only"},
		{"LED=450 4.4.317 Cannot connect to remote server [Message=451 5.7.3 STARTTLS is required to send mail]", true, "", "inside TLS only"},
		{"454 5.7.3 Client does not have permission to submit mail to this server", true, "", "has not logged in"},
		{"The server response was: 454 5.7.3 Client does not have permission to submit mail to this server", true, "", "has not logged in"},
		{"421 4.4.2 Connection dropped due to SocketError", true, "", "no version of TLS in common"},
		{"550 5.4.300 Message expired -> 451 4.4.397 Error communicating with target host. -> 421 4.4.2 Connection dropped due to ConnectionReset", true, "", "no version of TLS in common"},
		{"503 5.5.1 Error: send HELO/EHLO first", true, "", "has not received EHLO"},
		{"503 Error: send HELO first", true, "", "has not received EHLO"},
		{"503 EHLO/HELO first please", true, "", "has not received EHLO"},
		{"503 5.5.2 Send hello first", true, "repeat-ehlo", ""},
		{"501 5.5.4 Invalid arguments", false, "strip-parameters", ""},
		{"454 TLS not available due to temporary reason", true, "hide-failed-starttls", ""},
		{"550 Relaying is prohibited", true, "", "relays only for clients"},
	} {
		c.check(t)
	}
}

func TestACodeThatStandsAloneMeansWhatTheStandardSays(t *testing.T) {
	for _, c := range []firstAnswer{
		{"550 5.7.1", false, "", "by a rule of its operator"},
		{"5.7.1", false, "", "by a rule of its operator"},
		{"#5.7.1#", false, "", "by a rule of its operator"},
		{"dsn=5.6.1", false, "", "of a kind that the recipient's system does not accept"},
		{"554-5.6.1", false, "", "of a kind that the recipient's system does not accept"},
		{"550 5.1.1", true, "", "does not know the recipient"},
	} {
		c.check(t)
	}
	printed, e := printedFor(t, "5.6.1")
	if len(e.Found) < 2 || e.Found[1].Rule != "offer-8bitmime" || strings.Contains(printed, nothingKnown) || !strings.Contains(printed, "RFC 3463, 3.7") {
		t.Errorf("5.6.1 is told as %s", printed)
	}
	if printed, e := printedFor(t, "550 5.7.1"); len(e.Found) != 1 {
		t.Errorf("550 5.7.1 is told as %s", printed)
	}
	for _, text := range []string{"550", "2.1.5", "250 2.0.0", "550 5.7.1 zork", "5.9.99", "version 5.7.1"} {
		if printed, _ := printedFor(t, text); printed != "" {
			t.Errorf("%q is told as %s", text, printed)
		}
	}
	for status := range statusMeanings {
		if byStatus[status] != "" {
			t.Errorf("%s is known for certain, and as a guess", status)
		}
	}
}
