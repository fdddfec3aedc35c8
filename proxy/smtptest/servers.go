package smtptest

import "time"

// Servers returns the table of servers, with one row for each stand-in. Each call
// returns a new copy.
func Servers() []Server {
	return []Server{
		exchange50Server(),
		exchange55Server(),
		iis4Server(),
		iis5Server(),
		mcis2Server(),
		exchange2003Server(),
		sendmail86Server(),
		modernServer(),
		microsoft365Server(),
		directSendServer(),
		gmailServer(),
		exchange40Server(),
		mailGatewayServer(),
		vmServer(),
		dominoServer(),
		groupwiseServer(),
		mdaemonServer(),
		raptorServer(),
		interlockServer(),
		firewall1Server(),
		messageGuardServer(),
		watchguardServer(),
		pixServer(),
		pixNoopServer(),
		imageRunnerServer(),
		bizhubServer(),
		panasonicServer(),
		exchangeOnlineServer(),
		strictServer(),
	}
}

// LookupServer returns the server called name in the table of [Servers], and whether there
// is one.
func LookupServer(name string) (Server, bool) {
	for _, s := range Servers() {
		if s.Name == name {
			return s, true
		}
	}
	return Server{}, false
}

const (
	likeIMS55   = "assumed: as Exchange 5.5, KB Q262945"
	likeWindows = "assumed: as the Windows 2000 service, without its enhanced code"
	noSource    = "assumed: no source has it"
	plainSMTP   = "assumed: a reply that RFC 5321 allows"
)

// exchange50Server: no EHLO reply of Exchange 5.0 is documented. It is known that it has
// this greeting, SIZE, DSN and since SP1 ETRN, that XAUTH is a keyword and a verb, and
// that it does not understand AUTH.
func exchange50Server() Server {
	return Server{
		Name: "exchange-5.0",
		Doc:  "Exchange 5.0 Internet Mail Service: supports ESMTP and does not say so in its greeting (KB Q164060); knows XAUTH and not AUTH (KB Q195201)",
		Greeting: []Text{
			{"220 {host} Microsoft Exchange Internet Mail Service 5.0.1460.8 ready", "KB Q164060; the build from rapid7/recog"},
		},
		Ehlo: []Text{
			{"{host} Hello [{client}]", "assumed: as Exchange 5.5, KB Q326322"},
			{"XEXCH50", "assumed: by its name; as Exchange 5.5"},
			{"HELP", likeIMS55},
			{"XAUTH NTLM", "assumed: KB Q195201 has the word XAUTH alone"},
			{"ETRN", "KB Q184185, from SP1"},
			{"DSN", "KB Q156063"},
			{"SIZE 0", "assumed: SIZE is in KB Q164060, its value as Exchange 5.5"},
		},
		Replies: Replies{
			Hello:         Text{"250 OK", "assumed: as Exchange 5.5, KB Q250507"},
			Order:         Text{"503 Bad Sequence", "assumed: as Exchange 5.5, KB Q297269"},
			Mail:          Text{"250 OK - mail from <{from}>", "assumed: as Exchange 5.5, KB Q250507"},
			MailSize:      Text{"250 OK - mail from <{from}>; can accomodate {size} bytes", likeIMS55},
			Rcpt:          Text{"250 OK - Recipient <{to}>", likeIMS55},
			Data:          []Text{{"354 Send data.  End with CRLF.CRLF", likeIMS55}},
			Accepted:      Text{"250 OK", noSource},
			Reset:         Text{"250 OK", noSource},
			Noop:          Text{"250 OK", noSource},
			Quit:          Text{"221 closing connection", likeIMS55},
			Unknown:       Text{"500 command not recognized", "KB Q195201, in its words"},
			StartTLS:      Text{"220 SMTP server ready", "assumed: as IIS 4, KB Q279214"},
			NeedTLS:       Text{"505 Must issue a STARTTLS command first", "assumed: as IIS 4, KB Q279214"},
			Prompt:        Text{"334 ", noSource},
			Authenticated: Text{"235 ntlm authentication successful", likeIMS55},
			Denied:        Text{"535 authentication failed", noSource},
			Cancelled:     Text{"501 authentication cancelled", "assumed: the code of RFC 4954, 4"},
			OtherAuth:     Text{"500 command not recognized", "KB Q195201, in its words"},
		},
		Verbs: map[string]Text{
			"EXPN":    {"502 command not implemented", "KB Q175842"},
			"XEXCH50": {"505 Authentication required", "assumed: as Exchange 5.5, KB 843106"},
		},
		Auth: []Text{{XauthInitial, "assumed: as Exchange 5.5 says AUTH, KB Q262945"}},
		Mend: func(s *Server) {
			s.Greeting = []Text{{"220 {host} ESMTP Server (Microsoft Exchange Internet Mail Service 5.0.1460.8) ready", "KB Q194131, with this build"}}
			s.Ehlo = append(s.Ehlo, Text{"AUTH NTLM", "assumed: no Exchange 5.0 has it"})
			s.Auth = append(s.Auth, Text{AuthInitial, "assumed: no Exchange 5.0 has it"})
		},
	}
}

func exchange55Server() Server {
	return Server{
		Name: "exchange-5.5",
		Doc:  "Exchange 5.5 Internet Mail Service: refuses a second EHLO (KB Q297269); accepts AUTH NTLM that it does not offer, and may seal the stream after it (KB Q262945, Q245565)",
		Greeting: []Text{
			{"220 {host} ESMTP Server (Microsoft Exchange Internet Mail Service 5.5.2653.13) ready", "KB Q173656; the build from rapid7/recog"},
		},
		Ehlo: []Text{
			{"{host} Hello [{client}]", "KB Q326322, KB Q262945"},
			{"XEXCH50", "KB Q262945"},
			{"HELP", "KB Q262945"},
			{"ETRN", "KB Q262945"},
			{"DSN", "KB Q262945"},
			{"SIZE 0", "KB Q262945"},
			{"STARTTLS", "KB Q255753; its place assumed"},
			{"AUTH LOGIN", "KB Q262945"},
			{"AUTH=LOGIN", "KB Q262945"},
		},
		Replies: Replies{
			Hello:         Text{"250 OK", "KB Q250507, KB Q295725"},
			Order:         Text{"503 Bad Sequence", "KB Q297269"},
			Mail:          Text{"250 OK - mail from <{from}>", "KB Q250507"},
			MailSize:      Text{"250 OK - mail from <{from}>; can accomodate {size} bytes", "KB Q262945"},
			Rcpt:          Text{"250 OK - Recipient <{to}>", "KB Q262945, KB Q272672"},
			Data:          []Text{{"354 Send data.  End with CRLF.CRLF", "KB Q262945, KB Q295725"}},
			Accepted:      Text{"250 OK", noSource},
			Reset:         Text{"250 OK", noSource},
			Noop:          Text{"250 OK", noSource},
			Quit:          Text{"221 closing connection", "KB Q262945, KB Q295725"},
			Unknown:       Text{"500 command not recognized", "assumed: as Exchange 5.0, KB Q195201"},
			StartTLS:      Text{"220 SMTP server ready", "assumed: as IIS 4, KB Q279214"},
			NeedTLS:       Text{"505 Must issue a STARTTLS command first", "assumed: as IIS 4, KB Q279214"},
			Prompt:        Text{"334 ntlm supported", "assumed: as the Windows service, [MS-SMTPNTLM] 4.1"},
			Authenticated: Text{"235 ntlm authentication successful", "KB Q262945"},
			Denied:        Text{"535 authentication failed", noSource},
			Cancelled:     Text{"501 authentication cancelled", "assumed: the code of RFC 4954, 4"},
			OtherAuth:     Text{"504 authentication type not supported", "assumed: of its mechanisms only NTLM is played"},
		},
		Verbs: map[string]Text{
			"EXPN":    {"502 command not implemented", "KB Q175842"},
			"XEXCH50": {"505 Authentication required", "KB 843106, from 5.5.2657.72"},
		},
		Auth: []Text{
			{AuthInitial, "KB Q262945"},
			{AuthPrompted, "assumed: as the Windows service, [MS-SMTPNTLM] 4.1"},
		},
		OneHello: true,
		Seals:    true,
		Mend:     func(s *Server) { s.OneHello = false },
	}
}

// iisReplies returns the replies of the SMTP service of the NT 4 Option Pack, which IIS 4
// and MCIS have in common.
func iisReplies() Replies {
	return Replies{
		Hello:         Text{"250 {host} Hello [{client}]", "assumed: as the Windows 2000 service, KB 251581"},
		BadHello:      Text{"501 Invalid Address", "KB Q240832"},
		Order:         Text{"503 Bad sequence of commands", plainSMTP},
		Mail:          Text{"250 {from}....Sender OK", likeWindows + ", KB Q304897"},
		Rcpt:          Text{"250 {to}", likeWindows + ", KB Q304897"},
		Data:          []Text{{"354 Start mail input; end with <CRLF>.<CRLF>", plainSMTP}},
		Accepted:      Text{"250 <{id}> Queued mail for delivery", likeWindows},
		Reset:         Text{"250 Resetting", likeWindows + ", KB Q304897"},
		Noop:          Text{"250 OK", plainSMTP},
		Quit:          Text{"221 {host} Service closing transmission channel", likeWindows},
		Unknown:       Text{"500 Unrecognized command", noSource},
		StartTLS:      Text{"220 SMTP server ready", "KB Q279214"},
		NeedTLS:       Text{"505 Must issue a STARTTLS command first", "KB Q279214"},
		Prompt:        Text{"334 ntlm supported", "assumed: as the Windows 2000 service, [MS-SMTPNTLM] 4.1"},
		Authenticated: Text{"235 authentication successful", noSource},
		Denied:        Text{"535 Authentication unsuccessful", likeWindows + ", [MS-SMTPNTLM] 4.2"},
		Cancelled:     Text{"501 Authentication cancelled", "assumed: the code of RFC 4954, 4"},
		OtherAuth:     Text{"500 Unrecognized command", noSource},
	}
}

// iis4Server: no complete EHLO reply of IIS 4 is documented; the keywords are documented
// one by one.
func iis4Server() Server {
	return Server{
		Name: "iis-4",
		Doc:  "SMTP service of IIS 4: refuses a client's name that ends in a dot (KB Q240832); with TLS required it asks for STARTTLS although TLS is up, the first time (KB Q279214)",
		Greeting: []Text{
			{"220-{host} Microsoft SMTP MAIL ready at Sat, 28 Aug 1999 09:32:00 -0400 Version: 5.5.1774.114.11", "KB Q240832"},
			{"220 ESMTP spoken here", "KB Q240832"},
		},
		Ehlo: []Text{
			{"{host} Hello [{client}]", "assumed: as the Windows 2000 service, [MS-SMTPNTLM] 4.1"},
			{"SIZE", "assumed: its value and place"},
			{"PIPELINING", "assumed: as the Windows 2000 service"},
			{"8bitmime", "KB Q198415; its place assumed"},
			{"STARTTLS", "KB Q230309; its place assumed"},
			{"ETRN", "KB Q183476, from NT 4 SP4; its place assumed"},
			{"TURN", "KB Q183476, from NT 4 SP4; its place assumed"},
			{"OK", "assumed: as the Windows 2000 service, [MS-SMTPNTLM] 4.1"},
		},
		Replies:      iisReplies(),
		RefusesDot:   true,
		RefusesEmpty: true, // assumed
		RequiresTLS:  true,
		Forgets:      ForgetsFirst,
		Mend:         mendIIS,
	}
}

// mendIIS makes the changes of the hotfixes of KB Q240832 and KB Q279214.
func mendIIS(s *Server) { s.RefusesDot, s.RefusesEmpty, s.Forgets = false, false, ForgetsNothing }

func mcis2Server() Server {
	s := iis4Server()
	s.Name = "mcis-2"
	s.Doc = "Microsoft Commercial Internet System 2.x: refuses a client's name that ends in a dot (KB Q240832)"
	s.Greeting = []Text{
		{"220-{host} Microsoft SMTP MAIL ready at Sat, 28 Aug 1999 09:32:00 -0400 Version: 5.5.1774.114.11", "KB Q240832, which names IIS 4, IIS 5 and MCIS 2"},
		{"220 ESMTP spoken here", "KB Q240832, which names IIS 4, IIS 5 and MCIS 2"},
	}
	s.RequiresTLS, s.Forgets = false, ForgetsNothing
	return s
}

func windowsReplies() Replies {
	return Replies{
		Hello:         Text{"250 {host} Hello [{client}]", "KB 251581"},
		BadHello:      Text{"501 5.5.4 Invalid Address", "assumed: KB Q240832 with an enhanced code"},
		Order:         Text{"503 5.5.2 Bad sequence of commands", plainSMTP},
		Mail:          Text{"250 2.1.0 {from}....Sender OK", "KB Q304897"},
		Rcpt:          Text{"250 2.1.5 {to}", "KB Q304897"},
		Data:          []Text{{"354 Start mail input; end with <CRLF>.<CRLF>", plainSMTP}},
		Accepted:      Text{"250 2.6.0 <{id}> Queued mail for delivery", "a transcript of 2005, woodaway.wordpress.com"},
		Reset:         Text{"250 2.0.0 Resetting", "KB Q304897"},
		Noop:          Text{"250 2.0.0 OK", plainSMTP},
		Quit:          Text{"221 2.0.0 {host} Service closing transmission channel", "a transcript of 2005, woodaway.wordpress.com"},
		Unknown:       Text{"500 5.3.3 Unrecognized command", noSource},
		StartTLS:      Text{"220 2.0.0 SMTP server ready", "assumed: KB Q279214 with an enhanced code"},
		NeedTLS:       Text{"530 5.7.0 Must issue a STARTTLS command first", "KB 329061"},
		Prompt:        Text{"334 ntlm supported", "[MS-SMTPNTLM] 4.1"},
		Authenticated: Text{"235 2.7.0 Authentication successful.", "assumed: [MS-SMTPNTLM] 4.1 has the code alone"},
		Denied:        Text{"535 5.7.3 Authentication unsuccessful", "[MS-SMTPNTLM] 4.2"},
		Cancelled:     Text{"501 5.7.0 Authentication cancelled", "assumed: the code of RFC 4954, 4"},
		OtherAuth:     Text{"504 5.7.4 Unrecognized authentication type", "assumed: of its mechanisms only NTLM is played"},
	}
}

func windowsAuth() []Text {
	return []Text{
		{AuthPrompted, "[MS-SMTPNTLM] 4.1"},
		{AuthInitial, "[MS-SMTPNTLM], which allows an initial response"},
	}
}

func iis5Server() Server {
	const seen = "[MS-SMTPNTLM] 4.1"
	s := Server{
		Name: "iis-5",
		Doc:  "SMTP service of Windows 2000, IIS 5: refuses a client's name that ends in a dot (KB Q240832); with TLS required it asks for STARTTLS although TLS is up, the first time (KB Q279214)",
		Greeting: []Text{
			{"220 {host} Microsoft ESMTP MAIL Service, Version: 5.0.2172.1 ready at  Tue, 29 Feb 2000 18:55:48 -0600", "KB 254560"},
		},
		Ehlo: []Text{
			{"{host} Hello [{client}]", seen},
			{"AUTH GSSAPI NTLM", seen},
			{"TURN", seen},
			{"SIZE 2097152", seen},
			{"ETRN", seen},
			{"PIPELINING", seen},
			{"DSN", seen},
			{"ENHANCEDSTATUSCODES", seen},
			{"8bitmime", seen},
			{"BINARYMIME", seen},
			{"CHUNKING", seen},
			{"VRFY", seen},
			{"STARTTLS", "assumed: its place; KB Q279214 has the command"},
			{"OK", seen},
		},
		Replies:     windowsReplies(),
		Auth:        windowsAuth(),
		RefusesDot:  true,
		RequiresTLS: true,
		Forgets:     ForgetsFirst,
		Mend:        mendIIS,
	}
	s.Replies.BadHello = Text{"501 Invalid Address", "KB Q240832"}
	s.Replies.StartTLS = Text{"220 SMTP server ready", "KB Q279214"}
	s.Replies.NeedTLS = Text{"505 Must issue a STARTTLS command first", "KB Q279214"}
	return s
}

func exchange2003Server() Server {
	const seen = "KB 257569, of Exchange 2000; TechNet bb124688 has the same of 2003, but for the size"
	return Server{
		Name: "exchange-2003",
		Doc:  "Exchange 2003 on Windows Server 2003: a long EHLO answer with private verbs, and 334 with a text that is not base64",
		Greeting: []Text{
			{"220 {host} Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready at  Wed, 21 Jul 2010 19:04:24 -0700", "rapid7/recog"},
		},
		Ehlo: []Text{
			{"{host} Hello [{client}]", "[MS-SMTPNTLM] 4.1"},
			{"TURN", seen},
			{"ATRN", seen},
			{"SIZE 2097152", seen},
			{"ETRN", seen},
			{"PIPELINING", seen},
			{"DSN", seen},
			{"ENHANCEDSTATUSCODES", seen},
			{"8bitmime", seen},
			{"BINARYMIME", seen},
			{"CHUNKING", seen},
			{"VRFY", seen},
			{"STARTTLS", "assumed: its place"},
			{"X-EXPS GSSAPI NTLM LOGIN", seen},
			{"X-EXPS=LOGIN", seen},
			{"AUTH GSSAPI NTLM LOGIN", seen},
			{"AUTH=LOGIN", seen},
			{"XEXCH50", seen},
			{"X-LINK2STATE", seen},
			{"OK", seen},
		},
		Replies: windowsReplies(),
		Verbs: map[string]Text{
			"XEXCH50": {"504 Need to authenticate first", "KB 843106"},
		},
		Auth: windowsAuth(),
		Mend: func(s *Server) { s.Replies.Prompt = Text{"334 ", "RFC 4954, 4"} },
	}
}

// sendmail86Server also has a variant with HangsUp.
func sendmail86Server() Server {
	return Server{
		Name: "sendmail-8.6",
		Doc:  "Sendmail 8.6: greets in two lines (sendmail RELEASE_NOTES) and knows no EHLO",
		Greeting: []Text{
			{"220-{host} Sendmail 8.6.12/8.6.9 ready at Mon, 28 Aug 1995 09:32:00 -0400", "sendmail RELEASE_NOTES 8.7; the date assumed"},
			{"220 ESMTP spoken here", "sendmail RELEASE_NOTES 8.7"},
		},
		Replies: Replies{
			Hello:     Text{"250 {host} Hello {hello} [{client}], pleased to meet you", noSource},
			Order:     Text{"503 Need MAIL command", noSource},
			Mail:      Text{"250 {from}... Sender ok", noSource},
			Rcpt:      Text{"250 {to}... Recipient ok", noSource},
			Data:      []Text{{`354 Enter mail, end with "." on a line by itself`, noSource}},
			Accepted:  Text{"250 Message accepted for delivery", noSource},
			Reset:     Text{"250 Reset state", noSource},
			Noop:      Text{"250 OK", noSource},
			Quit:      Text{"221 {host} closing connection", noSource},
			Unknown:   Text{"500 Command unrecognized", "assumed: sendmail RELEASE_NOTES has the code alone"},
			OtherAuth: Text{"500 Command unrecognized", "assumed: sendmail RELEASE_NOTES has the code alone"},
		},
		Mend: knowsEHLO,
	}
}

// modernServer does not stand for a product. It is the other side of legacy clients. Its
// lines are invented, and its behaviour is that of the RFCs.
func modernServer() Server {
	const rfc = "assumed: no product's, right by RFC 5321"
	return Server{
		Name: "modern",
		Doc:  "a server that does nothing wrong; the reply to DATA may have two lines that arrive separately (KB 912341)",
		Greeting: []Text{
			{"220 {host} ESMTP", rfc},
		},
		Ehlo: []Text{
			{"{host}", rfc},
			{"SIZE 67108864", rfc},
			{"PIPELINING", rfc},
			{"8BITMIME", rfc},
			{"ENHANCEDSTATUSCODES", rfc},
			{"STARTTLS", "assumed: no product's, right by RFC 3207"},
			{"AUTH NTLM", "assumed: no product's, right by RFC 4954"},
		},
		Replies: Replies{
			Hello:         Text{"250 {host}", rfc},
			Order:         Text{"503 5.5.1 Error: wrong order of commands", rfc},
			Mail:          Text{"250 2.1.0 Ok", rfc},
			Rcpt:          Text{"250 2.1.5 Ok", rfc},
			Data:          []Text{{"354 End data with <CR><LF>.<CR><LF>", rfc}},
			Accepted:      Text{"250 2.0.0 Ok: queued as {id}", rfc},
			Reset:         Text{"250 2.0.0 Ok", rfc},
			Noop:          Text{"250 2.0.0 Ok", rfc},
			Quit:          Text{"221 2.0.0 Bye", rfc},
			Unknown:       Text{"500 5.5.2 Error: command not recognized", rfc},
			StartTLS:      Text{"220 2.0.0 Ready to start TLS", rfc},
			NeedTLS:       Text{"530 5.7.0 Must issue a STARTTLS command first", "RFC 3207, 4"},
			Prompt:        Text{"334 ", "RFC 4954, 4"},
			Authenticated: Text{"235 2.7.0 Authentication successful", rfc},
			Denied:        Text{"535 5.7.8 Authentication credentials invalid", "RFC 4954, 6"},
			Cancelled:     Text{"501 5.7.0 Authentication cancelled", rfc},
			OtherAuth:     Text{"504 5.5.4 Unrecognized authentication type", rfc},
		},
	}
}

// SlowData returns a copy of s that replies to DATA in the two lines of KB 912341. It
// sends the second line after gap, or as soon as the client sends something. If
// s.GapFunc is not nil, gap is not used: the copy calls GapFunc between the two lines.
func (s Server) SlowData(gap time.Duration) Server {
	s.Replies.Data = []Text{
		{"354-Line 1", "KB 912341"},
		{"354 Send message", "KB 912341"},
	}
	s.Gap = gap
	return s
}
