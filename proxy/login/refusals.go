package login

import (
	"strconv"
	"strings"
)

// A Meaning says what a provider's refusal means, and what to do.
type Meaning struct{ Means, Do string }

// A refusal is known by its code and by a text that stands in it, without regard to case.
type refusal struct {
	code int
	text string
	Meaning
}

const useOAuth = "give the account method oauth"

// refusals are those of Microsoft 365 and Google for logins and submission. Where
// several fit, the first counts. Attested are 535 5.7.3 (MS-SMTPNTLM, 2.2.1.4; for tokens
// github.com/PHPMailer/PHPMailer/discussions/2845), 530 5.7.57 and 554 SendAsDenied (in
// logs of Postfix and Laravel). The other texts are as administrators report them, and
// assumed.
var refusals = []refusal{
	{535, "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant",
		Meaning{"login by SMTP AUTH is turned off for the whole tenant", "turn SMTP AUTH on for the mailbox, or for the tenant"}},
	{535, "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox",
		Meaning{"login by SMTP AUTH is turned off for this mailbox", "turn SMTP AUTH on for the mailbox"}},
	{535, "5.7.139", Meaning{"login by password is turned off by a policy, for the tenant or for the mailbox", useOAuth + ", or turn SMTP AUTH on for the mailbox"}},
	{550, "5.7.30", Meaning{"login by password has ended at this provider", useOAuth}},
	{535, "5.7.3", Meaning{"the token or password is not accepted",
		"check the scope, the permission SMTP.SendAsApp, that the service principal has the ObjectId of the enterprise application, and that SMTP AUTH is on for the mailbox"}},
	{530, "5.7.57", Meaning{"the client has not logged in", "give this client a login"}},
	{550, "5.7.60", Meaning{"the account may not send as this sender", "give the login a sender, or the account the permission SendAs"}},
	{554, "SendAsDenied", Meaning{"the account may not send as this sender", "give the login a sender, or the account the permission SendAs"}},
	{550, "5.7.68", Meaning{"sending to this tenant without a login (Direct Send) is turned off", "use a connector with a client certificate, or a login"}},
	{430, "STOREDRV", Meaning{"the application has no permission for the mailbox", "Add-MailboxPermission for the service principal"}},
	{432, "4.3.2", Meaning{"too many connections at once for this mailbox", "lower sessions of the account"}},
	{450, "4.7.230", Meaning{"the Exchange server that sends is out of date", "update that server"}},
	{550, "5.7.230", Meaning{"the Exchange server that sends is out of date", "update that server"}},
	{534, "5.7.9", Meaning{"a password of the account is not enough: an app password is needed", "use an app password, or " + useOAuth}},
	{535, "5.7.8", Meaning{"user and password, or the token, are not accepted", "check user and password; with two-step verification an app password is needed"}},
	{454, "Too many login attempts", Meaning{"too many logins in a short time", "wait; lower sessions of the account"}},
	{501, "5.5.127", Meaning{"the token ends too soon", "let the token endpoint give tokens that live longer"}},
}

// Explain says what a refusal by a provider means. text is what stands behind the code.
// It is false where nothing is known.
func Explain(code int, text string) (Meaning, bool) {
	folded := strings.ToLower(text)
	for _, r := range refusals {
		at := strings.Index(folded, strings.ToLower(r.text))
		if r.code != code || at < 0 {
			continue
		}
		end := at + len(r.text)
		if end < len(folded) && isDigit(r.text[len(r.text)-1]) && isDigit(folded[end]) {
			continue // 5.7.3 is no part of 5.7.30
		}
		return r.Meaning, true
	}
	return Meaning{}, false
}

func isDigit(c byte) bool { _, err := strconv.Atoi(string(c)); return err == nil }
