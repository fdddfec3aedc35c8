package smtptest

// The servers of this file are those at which old machines must log in today. They are
// known from published dialogues; a row has their lines without host names.

const (
	outlookSeen = "github.com/simonrob/email-oauth2-proxy#95, a dialogue of 2022"
	outlookLike = "assumed: as Exchange 2013 and later, which it grew from"
	gmailSeen   = "github.com/PHPMailer/PHPMailer#633, a dialogue of 2016"
	gmailTaken  = "github.com/The-Login/SMTP-Smuggling-Tools#11, Google's MX in 2024"
)

// outlookReplies returns the replies that submission and MX have in common.
func outlookReplies() Replies {
	return Replies{
		Hello:           Text{"250 {host} Hello [{client}]", outlookLike},
		Order:           Text{"503 5.5.2 Send hello first", outlookLike},
		Mail:            Text{"250 2.1.0 Sender OK", outlookLike},
		Rcpt:            Text{"250 2.1.5 Recipient OK", outlookLike},
		Data:            []Text{{"354 Start mail input; end with <CRLF>.<CRLF>", outlookLike}},
		Accepted:        Text{"250 2.0.0 OK <{id}> [Hostname={host}]", "assumed: its beginning is in logs of Postfix"},
		Reset:           Text{"250 2.0.0 Resetting", outlookLike},
		Noop:            Text{"250 2.0.0 OK", outlookLike},
		Quit:            Text{"221 2.0.0 Service closing transmission channel", outlookLike},
		Unknown:         Text{"500 5.3.3 Unrecognized command 'unknown' [{host}]", "github.com/simonrob/email-oauth2-proxy#232"},
		StartTLS:        Text{"220 2.0.0 SMTP server ready", "github.com/tarickb/sasl-xoauth2#97"},
		NeedTLS:         Text{"530 5.7.57 Client not authenticated to send mail. [{host}]", "github.com/simonrob/email-oauth2-proxy#315"},
		NeedAuth:        Text{"530 5.7.57 Client not authenticated to send mail. [{host}]", "github.com/simonrob/email-oauth2-proxy#315"},
		NeedCertificate: Text{"550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources", "assumed: as administrators report it; that MAIL is answered with it is not known"},
		Prompt:          Text{"334 ", "github.com/Enough-Software/enough_mail#107, from Microsoft's documentation"},
		Authenticated:   Text{"235 2.7.0 Authentication successful", "github.com/Enough-Software/enough_mail#107, from Microsoft's documentation"},
		Denied:          Text{"535 5.7.3 Authentication unsuccessful [{host}]", "github.com/geoffsmith82/GmailAuthSMTP#15, after XOAUTH2"},
		Cancelled:       Text{"535 5.7.3 Authentication unsuccessful [{host}]", "assumed: not 501, as administrators report"},
		OtherAuth:       Text{"504 5.7.4 Unrecognized authentication type [{host}]", outlookLike},
	}
}

// Replies of Microsoft 365 to a login, for use as Denied.
var (
	// TenantDisabled and MailboxDisabled mean that all logins are off, for the
	// tenant or for the mailbox. BasicDisabled means that only passwords are
	// refused.
	TenantDisabled  = Text{"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [{host}]", "github.com/simonrob/email-oauth2-proxy#193"}
	MailboxDisabled = Text{"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information. [{host}]", "assumed: as of a tenant, in the words of administrators"}
	BasicDisabled   = Text{"535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [{host}]", "assumed: as administrators report it"}
)

// microsoft365Server returns smtp.office365.com, port 587.
func microsoft365Server() Server {
	return Server{
		Name: "microsoft-365",
		Doc:  "Microsoft 365, submission on port 587: offers AUTH inside TLS only, and refuses a wrong token at once",
		Greeting: []Text{
			{"220 {host} Microsoft ESMTP MAIL Service ready at Wed, 9 Nov 2022 10:09:41 +0000", outlookSeen},
		},
		Ehlo: []Text{
			{"{host} Hello [{client}]", outlookSeen},
			{"SIZE 157286400", outlookSeen},
			{"PIPELINING", outlookSeen},
			{"DSN", outlookSeen},
			{"ENHANCEDSTATUSCODES", "github.com/simonrob/email-oauth2-proxy#232"},
			{"STARTTLS", "assumed: its place"},
			{"AUTH LOGIN XOAUTH2", "assumed: as administrators show it; its place is that of github.com/simonrob/email-oauth2-proxy#232"},
			{"8BITMIME", "github.com/simonrob/email-oauth2-proxy#232"},
			{"BINARYMIME", "github.com/simonrob/email-oauth2-proxy#232"},
			{"CHUNKING", "github.com/simonrob/email-oauth2-proxy#232"},
			{"SMTPUTF8", "github.com/simonrob/email-oauth2-proxy#232"},
		},
		Replies: outlookReplies(),
		Auth: []Text{
			{AuthLogin, "github.com/nodemailer/nodemailer#1484"},
			{AuthXOAuth2, "github.com/Enough-Software/enough_mail#107, from Microsoft's documentation"},
		},
		Host:         "AM3PR05CA0094.outlook.office365.com",
		AuthSecure:   true,
		RequiresTLS:  true,
		RequiresAuth: true,
	}
}

// directSendServer returns the MX of a tenant, where machines have sent mail to its users
// without a login.
func directSendServer() Server {
	s := microsoft365Server()
	s.Name = "direct-send"
	s.Doc = "Microsoft 365, the MX of a tenant that has closed Direct Send: MAIL is for whoever shows the certificate of a connector"
	s.Ehlo[6] = Text{"X-ANONYMOUSTLS", outlookLike}
	s.Auth, s.AuthSecure, s.RequiresTLS, s.RequiresAuth = nil, false, false, false
	s.RequiresCertificate = true
	return s
}

// gmailServer returns smtp.gmail.com, port 587.
func gmailServer() Server {
	return Server{
		Name: "gmail",
		Doc:  "Gmail, submission on port 587: sends the fault of a wrong token in a 334, and the refusal once the client has answered that; knows OAUTHBEARER",
		Greeting: []Text{
			{"220 {host} ESMTP x144sm11813878oif.23 - gsmtp", gmailSeen},
		},
		Ehlo: []Text{
			{"{host} at your service, [{client}]", gmailSeen},
			{"SIZE 35882577", gmailSeen},
			{"8BITMIME", gmailSeen},
			{"STARTTLS", gmailSeen},
			{"AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH", "assumed: as github.com/nodemailer/nodemailer#413 has it, which is of before OAUTHBEARER"},
			{"ENHANCEDSTATUSCODES", gmailSeen},
			{"PIPELINING", gmailSeen},
			{"CHUNKING", "github.com/nodemailer/nodemailer#413"},
			{"SMTPUTF8", gmailSeen},
		},
		Replies: Replies{
			Hello:         Text{"250 {host} at your service", "assumed: as EHLO"},
			Order:         Text{"503 5.5.1 Bad sequence of commands - gsmtp", "assumed: the code of RFC 5321"},
			Mail:          Text{"250 2.1.0 OK 98e67ed59e1d1-2ee8501748asi8563552a91.78 - gsmtp", gmailTaken},
			Rcpt:          Text{"250 2.1.5 OK 98e67ed59e1d1-2ee8501748asi8563552a91.78 - gsmtp", gmailTaken},
			Data:          []Text{{"354 Go ahead 98e67ed59e1d1-2ee8501748asi8563552a91.78 - gsmtp", gmailTaken}},
			Accepted:      Text{"250 2.0.0 OK  1733221044 98e67ed59e1d1-2ee8501748asi8563552a91.78 - gsmtp", "assumed: as its other replies, with the time"},
			Reset:         Text{"250 2.1.5 Flushed - gsmtp", "assumed: no source has it"},
			Noop:          Text{"250 2.0.0 OK - gsmtp", "assumed: no source has it"},
			Quit:          Text{"221 2.0.0 closing connection - gsmtp", "assumed: no source has it"},
			Unknown:       Text{"502 5.5.1 Unrecognized command. - gsmtp", "assumed: no source has it"},
			StartTLS:      Text{"220 2.0.0 Ready to start TLS", gmailSeen},
			NeedTLS:       Text{"530 5.7.0 Must issue a STARTTLS command first.", "github.com/prey/prey-bash-client#77"},
			NeedAuth:      Text{"530 5.7.0 Authentication Required. - gsmtp", "assumed: the code of RFC 4954"},
			Authenticated: Text{"235 2.7.0 Accepted", "assumed: as administrators show it"},
			Denied:        Text{"535 5.7.8 Username and Password not accepted.", "github.com/nodemailer/nodemailer#413"},
			DeniedLines: []Text{
				{"535-5.7.8 Username and Password not accepted. Learn more at", "github.com/nodemailer/nodemailer#413"},
				{"535 5.7.8 http://support.google.com/mail/bin/answer.py?answer=14257 jt8sm12013679wid.4", "github.com/nodemailer/nodemailer#413"},
			},
			Failure:   Text{"334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==", "github.com/nodemailer/nodemailer#114, as it decodes: {\"status\":\"400\",\"schemes\":\"Bearer\",\"scope\":\"https://mail.google.com/\"}"},
			Cancelled: Text{"501 5.5.4 Authentication cancelled - gsmtp", "assumed: the code of RFC 4954"},
			OtherAuth: Text{"504 5.7.4 Unrecognized Authentication Type - gsmtp", "assumed: the code of RFC 4954"},
		},
		Auth: []Text{
			{AuthLogin, "github.com/nodemailer/nodemailer#413"},
			{AuthPlain, "github.com/nodemailer/nodemailer#413"},
			{AuthXOAuth2, "github.com/nodemailer/nodemailer#114"},
			{AuthOAuthBearer, "assumed: offered, so understood"},
		},
		Host:         "smtp.gmail.com",
		AuthSecure:   true,
		RequiresTLS:  true,
		RequiresAuth: true,
	}
}

// AppPasswordNeeded is Google's reply to the password of an account with two-step
// verification. It is for the field Replies.Denied.
var AppPasswordNeeded = Text{"534 5.7.9 Application-specific password required. - gsmtp", "assumed: its code is in issues of many programs"}
