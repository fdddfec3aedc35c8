package main

import (
	"strings"
	"testing"
)

// aBounceOfIMS is a bounce of Exchange 5.5's Internet Mail Service with this end, and with
// the lines of a recipient indented by so much.
func aBounceOfIMS(indent, end string) string {
	return "Your message did not reach some or all of the intended recipients.\n\n" +
		"The following recipient(s) could not be reached:\n\n" +
		"ben@example.com on 11/20/2026 10:00 AM\n" +
		indent + "The recipient name is not recognized\n" +
		indent + "The MTS-ID of the original message is: c=us;a= ;p=example;l=MAIL-261120090000Z-1\n" +
		indent + "MSEXCH:IMS:EXAMPLE:SITE:MAIL 0 " + end + "\n"
}

func TestTheReplyThatExchangeRepeatsCountsAndNotItsOwnWords(t *testing.T) {
	for _, indent := range []string{"", "    "} {
		for end, want := range map[string]firstAnswer{
			"(000B09B6) 550 5.7.1 Unable to relay for ben@example.com": {sure: true, means: "relays only for clients"},
			"(000B09B6) 501 Invalid Address":                           {sure: true, rule: "fix-hello-name"},
			"(000B09B6) 550 5.1.1 User unknown":                        {sure: true, means: unknownRecipient},
			"(000B09B6) 502 Command not implemented":                   {sure: false, rule: "upper-case-verbs"},
			"(000C05A6) Unknown Recipient":                             {sure: true, means: unknownRecipient},
			"(000B099C) Message exceeds size limit.":                   {sure: true, means: largeMessage},
		} {
			want.text = aBounceOfIMS(indent, end)
			want.check(t)
			printed, _ := printedFor(t, want.text)
			if want.means != unknownRecipient && want.means != largeMessage && strings.Contains(printed, "correct the address") {
				t.Errorf("%q: %s", want.text, printed)
			}
		}
		text := aBounceOfIMS(indent, "(000B09B6) 571 zork")
		if stdout, stderr := saidOf(text); stdout != "" || !strings.Contains(stderr, "with a refusal:") || !strings.Contains(stderr, "(000B09B6) 571 zork") {
			t.Errorf("%q: %s%s", text, stdout, stderr)
		}
	}
	for _, c := range []firstAnswer{
		{"<mail.example.com #5.1.1 smtp;550 5.7.1 Unable to relay for ben@example.com>", true, "", "relays only for clients"},
		{"The e-mail account does not exist at the organization this message was sent to. <mail.example.com #5.1.1 smtp;550 Relaying is prohibited>", true, "", "relays only for clients"},
		{"The e-mail account does not exist at the organization this message was sent to. <mail.example.com #5.1.1>", true, "", "does not know the recipient"},
		{"The recipient name is not recognized", true, "", "does not know the recipient"},
		{"Recipient name is not recognized\nOne line more\n", true, "", "does not know the recipient"},
	} {
		c.check(t)
	}
}
