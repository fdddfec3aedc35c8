package smtptest

// Clients gives the table of clients, new at each call.
func Clients() []Client {
	return []Client{
		exchange50Client(),
		exchange55Client(),
		windows2003Client(),
		notesClient(),
		needsESMTPClient(),
		modernClient(),
	}
}

// LookupClient finds a row by its name.
func LookupClient(name string) (Client, bool) {
	for _, c := range Clients() {
		if c.Name == name {
			return c, true
		}
	}
	return Client{}, false
}

// WithAuth says this form of AUTH or XAUTH.
func (c Client) WithAuth(form string) Client {
	c.Auth = Text{form, "assumed: chosen for a variant"}
	return c
}

// imsCommands are those of the Internet Mail Service, as a server of that kind
// logged them.
func imsCommands() Commands {
	return Commands{
		Ehlo:       Text{"EHLO {hello}", "KB Q262945"},
		Helo:       Text{"HELO {hello}", "KB Q241892"},
		Mail:       Text{"MAIL FROM:<{from}>", "KB Q262945"},
		MailSize:   Text{" SIZE={size}", "KB Q262945"},
		MailReturn: Text{" RET=FULL", "KB Q262945"},
		Rcpt:       Text{"RCPT TO:<{to}>", "KB Q262945"},
		RcptNotify: Text{" NOTIFY=FAILURE,DELAY", "KB Q262945"},
		Data:       Text{"DATA", "KB Q262945"},
		Reset:      Text{"RSET", "assumed: RFC 5321"},
		Quit:       Text{"QUIT", "KB Q262945"},
		TLS:        Text{"STARTTLS", "KB Q279214"},
	}
}

// exchange50Client is set up to authenticate to the server's domain. How 5.0
// says XAUTH is not on record, see [XauthForms].
func exchange50Client() Client {
	return Client{
		Name:     "exchange-5.0",
		Doc:      "Exchange 5.0 Internet Mail Service with authentication for this domain: without XAUTH in the EHLO answer it quits and the message bounces (KB Q195201)",
		Says:     imsCommands(),
		Requires: "XAUTH",
		Missing:  Text{"502 Server does not support AUTH.", "KB Q195201"},
		Auth:     Text{XauthInitial, "assumed: as Exchange 5.5 says AUTH, KB Q262945"},
	}
}

// exchange55Client says nothing of AUTH as it is in the table; with
// WithAuth(AuthInitial) it says it unasked, as KB Q262945 shows, and with TLS
// it says STARTTLS and then MAIL. Whether it says EHLO between the two is not
// on record: EhloAfterTLS is for that.
func exchange55Client() Client {
	return Client{
		Name:         "exchange-5.5",
		Doc:          "Exchange 5.5 Internet Mail Service: after any error to EHLO it says HELO (KB Q241892); a 5xx to the first MAIL bounces the message (KB Q279214)",
		Says:         imsCommands(),
		HeloAfter:    []string{"4", "5"},
		HelloRefused: Bounced,
	}
}

func plainCommands(evidence string) Commands {
	return Commands{
		Ehlo:     Text{"EHLO {hello}", evidence},
		Helo:     Text{"HELO {hello}", evidence},
		Mail:     Text{"MAIL FROM:<{from}>", evidence},
		MailSize: Text{" SIZE={size}", evidence},
		Rcpt:     Text{"RCPT TO:<{to}>", evidence},
		Data:     Text{"DATA", evidence},
		Reset:    Text{"RSET", evidence},
		Quit:     Text{"QUIT", evidence},
		TLS:      Text{"STARTTLS", evidence},
	}
}

// windows2003Client says RSET and QUIT after an answer that it does not
// understand; that it says just these is assumed, and that it keeps the message
// is KB 912341.
func windows2003Client() Client {
	return Client{
		Name:      "windows-2003",
		Doc:       "SMTP service of Windows Server 2003: takes the first line of a slow answer to DATA for all of it, reads one line behind from then on, and sends the message again and again (KB 912341)",
		Says:      plainCommands("assumed: no product's, right by RFC 5321"),
		HeloAfter: []string{"5"},
		FirstLine: FirstLineAlone,
	}
}

// notesClient stands for the sender of KB Q240832. That the mail stays with it,
// rather than bounces, is assumed.
func notesClient() Client {
	says := plainCommands("assumed: no product's, right by RFC 5321")
	says.Ehlo.Evidence = "KB Q240832"
	says.Helo.Evidence = "KB Q240832"
	says.Quit.Evidence = "KB Q240832"
	return Client{
		Name:      "notes",
		Doc:       "a sender whose name ends in a dot: it says EHLO sub2., on 501 HELO sub2., on 501 QUIT, and mail stops (KB Q240832)",
		Says:      says,
		Hello:     "sub2.",
		HeloAfter: []string{"501"},
	}
}

// needsESMTPClient looks for the word as Sendmail since 8.7 does.
func needsESMTPClient() Client {
	return Client{
		Name:         "needs-esmtp",
		Doc:          "a client that says EHLO only to a server whose greeting has the word ESMTP, as Sendmail since 8.7 (sendmail RELEASE_NOTES) and the one of KB Q164060",
		Says:         plainCommands("assumed: no product's, right by RFC 5321"),
		NeedsESMTP:   true,
		HeloAfter:    []string{"5"},
		HelloRefused: Bounced,
	}
}

func modernClient() Client {
	return Client{
		Name:         "modern",
		Doc:          "a client that does nothing wrong",
		Says:         plainCommands("assumed: no product's, right by RFC 5321"),
		HeloAfter:    []string{"5"},
		HelloRefused: Bounced,
		EhloAfterTLS: true,
	}
}
