package rewrite

// Table lists every rule there is. Commands meet them first to last, replies
// last to first.
func Table() []Rule {
	return []Rule{
		joinDataReply(), // last of all to see a reply
		fixHelloName(),
		translateXAUTH(),
		starttlsKeyword(),
		acceptEarlyTLS(),
		greetInClear(),
		repeatEHLO(),
		mend505(), // sees what retry-starttls leaves
		retrySTARTTLS(),
		fallBackToHELO(),
		advertiseESMTP(),
		bdatToData(),
	}
}

// Sets lists the names for several rules.
func Sets() []Set {
	return []Set{
		{"standard", "what acts only on its own evidence and harms nobody; the default", []string{
			"join-data-reply", "fix-hello-name", "translate-xauth", "starttls-keyword", "accept-early-tls", "repeat-ehlo",
			"mend-505", "retry-starttls", "fall-back-to-helo", "advertise-esmtp"}},
		{"exchange-4.0", "Exchange 4.0's Internet Mail Connector: no ESMTP at all", []string{"fall-back-to-helo"}},
		{"exchange-5.0", "Exchange 5.0's Internet Mail Service", []string{
			"advertise-esmtp", "fall-back-to-helo", "translate-xauth"}},
		{"exchange-5.5", "Exchange 5.5's Internet Mail Service", []string{
			"translate-xauth", "starttls-keyword", "repeat-ehlo", "mend-505", "retry-starttls"}},
		{"iis-4", "the SMTP service of IIS 4.0 (NT 4 Option Pack)", []string{
			"fix-hello-name", "repeat-ehlo", "mend-505", "retry-starttls"}},
		{"iis-5", "the SMTP service of IIS 5.0 (Windows 2000)", []string{
			"fix-hello-name", "repeat-ehlo", "mend-505", "retry-starttls"}},
		{"mcis-2", "Microsoft Commercial Internet System 2.x", []string{"fix-hello-name"}},
		{"windows-2003", "Windows Server 2003's SMTP service and Exchange 2000 and 2003 on it, as senders", []string{"join-data-reply"}},
		{"sendmail-8.6", "Sendmail 8.6 and older", []string{"fall-back-to-helo"}},
	}
}
