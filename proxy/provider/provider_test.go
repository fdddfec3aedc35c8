package provider

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRefusalsAreExplained(t *testing.T) {
	for text, want := range map[string]string{
		"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled": "whole tenant",
		"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit":                                  "this mailbox",
		"535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [BM1P287CA0015.INDP287.PROD.OUTLOOK.COM]":                   "by a policy",
		"550 5.7.30 Basic authentication is not supported for Client Submission.":                                                               "has ended",
		"550 5.7.30 REQUIRETLS support required":                                                                       "",
		"535 5.7.3 Authentication unsuccessful [PA7P264CA0408.FRAP264.PROD.OUTLOOK.COM]":                               "not accepted",
		"501 5.5.127 Token will expire soon":                                                                           "ends too soon",
		"530 5.7.57 Client not authenticated to send mail.":                                                            "not logged in",
		"550 5.7.60 SMTP; Client does not have permissions to send as this sender":                                     "may not send as",
		"550 5.7.1 Client does not have permissions to send as this sender":                                            "may not send as",
		"554 5.2.252 SendAsDenied; office@example.com not allowed to send as boss@example.com":                         "may not send as",
		"550 5.7.64 TenantAttribution; Relay Access Denied SMTP.":                                                      "connector",
		"550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources": "Direct Send",
		"430 4.2.0 STOREDRV; mailbox logon failure; STOREDRV.Submission.Exception":                                     "no permission",
		"450 4.7.230 Connecting Exchange server version is out-of-date; connection to Exchange Online throttled":       "out of date",
		"550 5.7.230 Connecting Exchange server version is out-of-date; connection to Exchange Online blocked":         "out of date",
		"432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending":                     "connections at once",
		"554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException":                                     "in a day",
		"534 5.7.9 Application-specific password required. For more information, go to":                                "app password",
		"534 5.7.9 Authentication mechanism is too weak":                                                               "stronger mechanism",
		"535 5.7.8 Username and Password not accepted. For more information, go to":                                    "not accepted",
		"535 5.7.8 Error: authentication failed":                                                                       "not accepted",
		"535 Incorrect authentication data":                                                                            "NTLMv1 alone",
		"454 4.7.0 Too many login attempts, please try again later.":                                                   "too many logins",
		"454 4.7.0 TLS not available":                                                                                  "",
		"530 5.5.1 Authentication Required. For more information, go to":                                               "not logged in",
		"530 5.7.0 authentication required":                                                                            "not logged in",
		"530 5.7.0 Must issue a STARTTLS command first":                                                                "",
		"550 5.4.5 Daily user sending limit exceeded. For more information on Gmail":                                   "in a day",
		"535 5.7.38 something else":                                                                                    "",
		"535 5.7.38 and then 5.7.3":                                                                                    "not accepted",
		"250 5.7.30 Basic authentication":                                                                              "",
		"550 5.1.1 no such user":                                                                                       "",
		"550 ":                                                                                                         "",
	} {
		var code int
		fmt.Sscan(text, &code)
		m, ok := Explain(code, text[4:])
		if ok != (want != "") || !strings.Contains(m.Means, want) || ok && m.Do == "" {
			t.Errorf("%q means %+v", text, m)
		}
	}
}

// .NET tells a reply without its code.
func TestWithoutACodeTheEnhancedCodeIsEnough(t *testing.T) {
	for text, want := range map[string]string{
		"5.7.139 Authentication unsuccessful, basic authentication is disabled.": "by a policy",
		"5.7.57 Client not authenticated to send mail.":                          "not logged in",
		"4.7.139 of another class":                                               "",
		"5.7.1390 of another code":                                               "",
		"unsuccessful: 5.7.139":                                                  "",
		"":                                                                       "",
	} {
		if m, ok := Explain(0, text); ok != (want != "") || !strings.Contains(m.Means, want) {
			t.Errorf("%q means %+v", text, m)
		}
	}
}

func TestNoEntryHidesAnother(t *testing.T) {
	for i, r := range slices.Concat(refusals, general) {
		if r.text != strings.ToLower(r.text) {
			t.Errorf("%q is not in lower case, and is never found", r.text)
		}
		for _, before := range slices.Concat(refusals, general)[:i] {
			if before.code == r.code && contains(r.text, before.text) {
				t.Errorf("%d %q is never reached: %q comes first", r.code, r.text, before.text)
			}
		}
		if r.Means == "" || r.Do == "" || strings.ContainsAny(r.Means+r.Do, "\r\n") {
			t.Errorf("%d %q: %+v", r.code, r.text, r.Meaning)
		}
	}
}
