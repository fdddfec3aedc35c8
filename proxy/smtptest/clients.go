package smtptest

// Clients returns the table of clients, with one row for each client that the tests
// imitate. Each call returns a new copy.
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

// LookupClient returns the client called name in the table of [Clients], and whether there
// is one.
func LookupClient(name string) (Client, bool) {
	for _, c := range Clients() {
		if c.Name == name {
			return c, true
		}
	}
	return Client{}, false
}

// WithAuth returns a copy of c that begins NTLM with command, whether or not the server
// offers it. command is a form of AUTH or XAUTH, such as [AuthInitial].
func (c Client) WithAuth(command string) Client {
	c.Auth = Text{command, "assumed: chosen for a variant"}
	return c
}

// imsCommands returns the commands of the Internet Mail Service, as a server of the same
// kind logged them.
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

// exchange50Client returns a client that is set up to authenticate to the server's
// domain. How Exchange 5.0 sends XAUTH is not documented, see [XauthForms].
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

// exchange55Client returns a client without AUTH. WithAuth(AuthInitial) makes it send
// AUTH unasked, as KB Q262945 shows. With TLS it sends STARTTLS and then MAIL. Whether it
// sends EHLO in between is not documented; EhloAfterTLS makes it do so.
func exchange55Client() Client {
	return Client{
		Name:         "exchange-5.5",
		Doc:          "Exchange 5.5 Internet Mail Service: after any error to EHLO it sends HELO (KB Q241892); a 5xx to the first MAIL bounces the message (KB Q279214)",
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

// windows2003Client returns a client that sends RSET and QUIT after a reply that it does
// not understand. That it sends exactly these is assumed; that it keeps the message is
// from KB 912341.
func windows2003Client() Client {
	return Client{
		Name:      "windows-2003",
		Doc:       "SMTP service of Windows Server 2003: takes the first line of a slow answer to DATA for all of it, reads one line behind from then on, and sends the message again and again (KB 912341)",
		Says:      plainCommands("assumed: no product's, right by RFC 5321"),
		HeloAfter: []string{"5"},
		FirstLine: FirstLineAlone,
	}
}

// notesClient returns the sender of KB Q240832. That it keeps the mail, rather than
// returning it, is assumed.
func notesClient() Client {
	says := plainCommands("assumed: no product's, right by RFC 5321")
	says.Ehlo.Evidence = "KB Q240832"
	says.Helo.Evidence = "KB Q240832"
	says.Quit.Evidence = "KB Q240832"
	return Client{
		Name:      "notes",
		Doc:       "a sender whose name ends in a dot: it sends EHLO sub2., after 501 HELO sub2., after 501 QUIT, and no mail passes (KB Q240832)",
		Says:      says,
		Hello:     "sub2.",
		HeloAfter: []string{"501"},
	}
}

// needsESMTPClient returns a client that looks for the word ESMTP as Sendmail does since
// 8.7.
func needsESMTPClient() Client {
	return Client{
		Name:         "needs-esmtp",
		Doc:          "a client that sends EHLO only to a server whose greeting has the word ESMTP, as Sendmail since 8.7 (sendmail RELEASE_NOTES) and the one of KB Q164060",
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
