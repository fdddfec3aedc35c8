// Package provider explains refusals by mail servers: what they mean and what to do
// about them. It knows refusals by Microsoft 365, Google and Exim that concern logins,
// senders, relaying and limits. Of other servers it knows only the refusals of logins
// that RFC 4954 defines. It judges by nothing but the code and the text of the reply.
package provider

import "strings"

// A Meaning explains a refusal to people: Means is what it means, and Do is what to do
// about it. Neither contains text from a peer.
type Meaning struct{ Means, Do string }

// A refusal is identified by its code and a text in lower case that the reply contains.
type refusal struct {
	code int
	text string
	Meaning
}

const (
	useOAuth = "use OAuth: a login whose account has method oauth"
	viaOAuth = "have smtpshim log in by OAuth in the client's place: [[account]] with method oauth, and [[route.login]], as in the recipe scanners-microsoft-365"
	turnOn   = "turn SMTP AUTH on for the mailbox (Set-CASMailbox -SmtpClientAuthenticationDisabled $false)"
	sendAs   = "give the login a sender, or the account the permission SendAs"
)

// refusals are refusals by Microsoft 365, Google and Exim of logins and submissions. The
// first that fits applies. The comment of each names its source; numbers are GitHub
// issues.
var refusals = []refusal{
	// Microsoft 365, logins.
	{535, "smtpclientauthentication is disabled for the tenant", Meaning{ // simonrob/email-oauth2-proxy#193
		"login by SMTP AUTH is turned off for the whole tenant, also by token", "turn SMTP AUTH on for the mailbox, or for the tenant"}},
	{535, "smtpclientauthentication is disabled for the mailbox", Meaning{ // learn.microsoft.com, authenticated-client-smtp-submission; assumed for the text
		"login by SMTP AUTH is turned off for this mailbox, also by token", turnOn}},
	{535, "5.7.139", Meaning{ // rpremraj/mailR#107, nodemailer/nodemailer#1714
		"login by password is turned off by a policy, for the tenant or for the mailbox", viaOAuth + ", or turn login by password on for the mailbox"}},
	{550, "5.7.30 basic authentication", Meaning{ // captaindns.com, microsoft-exchange-basic-auth-smtp-end; 5.7.30 alone is REQUIRETLS (RFC 8689)
		"login by password has ended at Microsoft 365", viaOAuth}},
	{535, "5.7.3", Meaning{ // MS-SMTPNTLM, 2.2.1.4; rustdesk/rustdesk-server-pro#942, jstedfast/MailKit#1126
		"the password or the token is not accepted",
		"check user and password; of a token the scope, the permission SMTP.SendAsApp, that the service principal has the ObjectId of the enterprise application, and that SMTP AUTH is on for the mailbox"}},
	{501, "5.5.127", Meaning{ // Microsoft's High Volume Email; assumed
		"the token ends too soon", "let the token endpoint give tokens that live longer"}},
	{530, "5.7.57", Meaning{ // MicrosoftDocs/OfficeDocs-Exchange#3124
		"the client has not logged in", "give this client a login"}},

	// Microsoft 365, senders and relaying.
	{550, "5.7.60", Meaning{ // swiftmailer/swiftmailer#1030
		"the account may not send as this sender", sendAs}},
	{550, "client does not have permissions to send as this sender", Meaning{ // nodemailer/nodemailer#145, of Exchange
		"the account may not send as this sender", sendAs}},
	{554, "sendasdenied", Meaning{ // in logs of Postfix and Laravel
		"the account may not send as this sender", sendAs}},
	{550, "5.7.64", Meaning{ // learn.microsoft.com, relay-access-denied-smtp
		"no inbound connector of the tenant fits: it goes by the client certificate, or by the address",
		"let the connector name the certificate that server_tls has, or this address"}},
	{550, "5.7.68", Meaning{ // support.zendesk.com/hc/en-us/articles/9646355655450
		"sending to this tenant without a login (Direct Send) is turned off", "use a connector that goes by a client certificate, or give this client a login"}},
	{430, "storedrv", Meaning{ // simonrob/email-oauth2-proxy#271
		"the application has no permission for the mailbox", "Add-MailboxPermission for the service principal"}},
	{450, "4.7.230", outdated}, // techcommunity.microsoft.com, ba-p/4007169
	{550, "5.7.230", outdated},

	// Microsoft 365, limits.
	{432, "4.3.2", Meaning{ // sabuhish/fastapi-mail#75
		"too many connections at once for this mailbox: three are allowed", "give the account sessions = 3, or fewer if others use the mailbox too"}},
	{554, "submissionquotaexceeded", Meaning{ // MicrosoftDocs/OfficeDocs-Support#1150
		"the mailbox has sent to as many recipients as it may in a day", "wait for a day, or send from several mailboxes"}},

	// Google.
	{534, "application-specific password required", Meaning{ // nodemailer/nodemailer#1116, Der-Henning/tgtg#517
		"the password of the account is not enough: an app password is needed", "use an app password, or OAuth"}},
	{535, "username and password not accepted", Meaning{ // PHPMailer/PHPMailer#1708
		"user and password, or the token, are not accepted", "check the user; use an app password, or OAuth: Google takes the account's own password no more"}},
	{454, "too many login attempts", Meaning{ // nodemailer/nodemailer#1388
		"too many logins in a short time", "wait; give the account fewer sessions"}},
	{530, "5.5.1 authentication required", Meaning{ // cloudmailin.com/smtp-troubleshooter/530-error
		"the client has not logged in", "give this client a login"}},
	{550, "5.4.5 daily user sending", Meaning{ // onepub-dev/onepub#543, PHPMailer/PHPMailer#2113
		"the account has sent as much as it may in a day", "wait for a day, or send from several accounts"}},

	// Exim. That its NTLM refuses NTLMv2 was observed with 4.96.
	{535, "incorrect authentication data", Meaning{
		"user and password are not accepted; an Exim that offers NTLM knows NTLMv1 alone, which an account never uses",
		"check user and password; where the mechanism is NTLM, give the account mechanisms without it"}},
}

// general are refusals that the RFCs define for all servers (RFC 4954, 6). They apply if
// none of refusals fits.
var general = []refusal{
	{530, "5.7.0 authentication required", Meaning{"the client has not logged in", "have the client log in, or give it a login; if smtpshim itself sent this, no [[route.login]] of the route fits the client's address"}},
	{534, "5.7.9", Meaning{"the server wants a stronger mechanism than this one", "let the account use more mechanisms, or " + useOAuth}},
	{535, "5.7.8", Meaning{"user and password, or the token, are not accepted", "check user and password; where there is two-step verification an app password is needed"}},
}

var outdated = Meaning{"the Exchange server that sends is out of date, and is throttled or blocked", "update that server"}

// Explain returns what a server's refusal means and what to do about it. code is the
// reply's code, or 0 if it is not known. text is what follows the code. If code is 0,
// Explain only finds refusals by the enhanced status code at the beginning of text. ok
// is false if Explain does not know the refusal.
func Explain(code int, text string) (m Meaning, ok bool) {
	if m, ok = find(refusals, code, text); ok {
		return m, ok
	}
	return Generally(code, text)
}

// Generally is like Explain, but knows only refusals that mean the same at every
// server. These are three of RFC 4954: a login is required, has failed, or needs a
// stronger mechanism. ok is false for any other.
func Generally(code int, text string) (m Meaning, ok bool) { return find(general, code, text) }

func find(list []refusal, code int, text string) (m Meaning, ok bool) {
	folded := ""
	for _, r := range list {
		if r.code != code && (code != 0 || !strings.HasPrefix(text, r.text) || text[0] != byte('0'+r.code/100)) {
			continue
		}
		if folded == "" {
			folded = strings.ToLower(text)
		}
		if contains(folded, r.text) {
			return r.Meaning, true
		}
	}
	return Meaning{}, false
}

// contains reports whether text occurs in all and no digit follows it there: 5.7.30 does
// not contain 5.7.3.
func contains(all, text string) bool {
	for {
		at := strings.Index(all, text)
		if at < 0 {
			return false
		}
		all = all[at+len(text):]
		if all == "" || !isDigit(all[0]) || !isDigit(text[len(text)-1]) {
			return true
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
