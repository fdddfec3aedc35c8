package smtptest

// The servers of this file are gateways, firewalls and devices, of each of which only a
// line or two is known. Everything else is a plain reply of RFC 821.

const inNmap = "nmap, nmap-service-probes"

// plainReplies returns replies of no particular product, as RFC 821 allows them.
func plainReplies() Replies {
	return Replies{
		Hello:     Text{"250 {host}", plainSMTP},
		BadHello:  Text{"501 Syntax error in parameters or arguments", plainSMTP},
		Order:     Text{"503 Bad sequence of commands", plainSMTP},
		Mail:      Text{"250 OK", plainSMTP},
		Rcpt:      Text{"250 OK", plainSMTP},
		Data:      []Text{{"354 Start mail input; end with <CRLF>.<CRLF>", plainSMTP}},
		Accepted:  Text{"250 OK", plainSMTP},
		Reset:     Text{"250 OK", plainSMTP},
		Noop:      Text{"250 OK", plainSMTP},
		Quit:      Text{"221 {host} Service closing transmission channel", plainSMTP},
		Unknown:   Text{"500 Syntax error, command unrecognized", plainSMTP},
		OtherAuth: Text{"500 Syntax error, command unrecognized", plainSMTP},
	}
}

// knowsEHLO makes a server without ESMTP support EHLO.
func knowsEHLO(s *Server) {
	s.Ehlo, s.Closes = []Text{{"{host}", plainSMTP}, {"SIZE", plainSMTP}}, false
}

func exchange40Server() Server {
	s := exchange50Server()
	s.Name = "exchange-4.0"
	s.Doc = "Exchange 4.0 Internet Mail Connector: knows no EHLO, and before SP2 loses what follows a line that begins with a dot (KB Q140935)"
	s.Greeting = []Text{{"220 {host} service ready", "KB Q146157, where the greeting is similar to this"}}
	s.Ehlo, s.Auth, s.Verbs = nil, nil, map[string]Text{"EXPN": {"502 command not implemented", "KB Q175842"}}
	s.CutsAtDot = true
	s.Mend = func(s *Server) { s.CutsAtDot = false }
	return s
}

func mailGatewayServer() Server {
	s := Server{
		Name:     "mail-gateway-3.0",
		Doc:      "Microsoft Mail Gateway to SMTP 3.0: names no host, hangs up on EHLO (KB Q100352) and on every command that it does not know, and sends 250 without a text (KB Q112286)",
		Greeting: []Text{{"220 All set, fire away", "KB Q112286"}},
		Replies:  plainReplies(),
		Verbs:    map[string]Text{"EHLO": {"550 Huh?", "KB Q100352"}},
		Closes:   true,
		Mend: func(s *Server) { // 3.0.1 names hosts (KB Q102107), and 3.0.2 does not hang up (KB Q100352)
			s.Greeting[0] = Text{"220 {host} All set, fire away", "assumed: KB Q102107 says that the name is there"}
			s.Replies.Hello = Text{"250 {host} Hi there, pleased to meet you", "assumed: KB Q102107 says that the name is there"}
			s.Replies.Accepted = Text{"250 OK", plainSMTP}
			s.Closes = false
		},
	}
	s.Replies.Hello = Text{"250 Hi there, pleased to meet you", "KB Q112286"}
	s.Replies.Order = Text{"503 Bad command sequence", "KB Q99854 or one beside it"}
	s.Replies.Mail = Text{"250 Sender OK", "KB Q112286"}
	s.Replies.Rcpt = Text{"250 Recipient OK", "KB Q112286"}
	s.Replies.Data = []Text{{"354 Start mail input; end with <CRLF>.<CRLF>", "KB Q112286"}}
	s.Replies.Accepted = Text{"250 ", "KB Q112286; the blank is assumed"}
	s.Replies.Quit = Text{"221 See you later", "KB Q112286"}
	s.Replies.Unknown = Text{"500 Huh?", "KB Q99854"}
	return s
}

func vmServer() Server {
	s := Server{
		Name:         "vm-smtp",
		Doc:          "IBM VM SMTP V2R2: refuses HELO without a name (KB Q102107)",
		Greeting:     []Text{{"220 {host} running IBM VM SMTP V2R2 on Fri, 19 Mar 93 12:19:29 EST", "KB Q102107"}},
		Replies:      plainReplies(),
		RefusesEmpty: true,
		Mend:         func(s *Server) { s.RefusesEmpty = false },
	}
	s.Replies.Hello = Text{"250 {host} is my domain name.", "KB Q102107"}
	s.Replies.BadHello = Text{"501 Syntax Error. Domain name missing", "KB Q102107"}
	s.Replies.Quit = Text{"221 {host} IBM VM SMTP V2R2 closing connection", "KB Q102107"}
	return s
}

func dominoServer() Server {
	s := Server{
		Name:     "domino",
		Doc:      "Lotus Domino: refuses EHLO without a name, and offers logins as AUTH=LOGIN alone, as 5.0.4 did (Postfix HISTORY 20010121)",
		Greeting: []Text{{"220 {host} ESMTP Service (Lotus Domino Release 8.5.3) ready at Tue, 4 Sep 2012 10:00:00 +0200", "rapid7/recog"}},
		Ehlo: []Text{
			{"{host} Hello {hello} ([{client}]), pleased to meet you", noSource},
			{"SIZE", "assumed: Domino 8's help says that SIZE is on; its value and place"},
			{"PIPELINING", "assumed: Domino 8's help says that PIPELINING is on; its place"},
			{"AUTH=LOGIN", "Postfix HISTORY 20010121"},
		},
		Replies:      plainReplies(),
		Auth:         []Text{{AuthLogin, "Postfix HISTORY 20010121"}},
		RefusesEmpty: true,
		Mend: func(s *Server) {
			s.Ehlo[3] = Text{"AUTH LOGIN", plainSMTP}
			s.RefusesEmpty = false
		},
	}
	s.Replies.BadHello = Text{`501 Command "EHLO" requires an argument`, inNmap}
	s.Replies.Authenticated = Text{"235 Authentication successful", noSource}
	s.Replies.Denied = Text{"535 Authentication failed", noSource}
	s.Replies.Cancelled = Text{"501 Authentication cancelled", noSource}
	return s
}

func groupwiseServer() Server {
	s := Server{
		Name:     "groupwise",
		Doc:      "Novell GroupWise Internet Agent; no faults are known",
		Greeting: []Text{{"220 {host} GroupWise Internet Agent 5.5.1 Ready (C)1993, 1998 Novell, Inc.", "rapid7/recog"}},
		Ehlo:     []Text{{"{host}", inNmap}, {"AUTH LOGIN", inNmap}, {"8BITMIME", inNmap}, {"SIZE", inNmap}, {"DSN", inNmap}},
		Replies:  plainReplies(),
		Auth:     []Text{{AuthLogin, inNmap}},
	}
	s.Replies.Authenticated = Text{"235 Authentication successful", noSource}
	s.Replies.Denied = Text{"535 Authentication failed", noSource}
	s.Replies.Cancelled = Text{"501 Authentication cancelled", noSource}
	return s
}

func mdaemonServer() Server {
	s := Server{
		Name:         "mdaemon",
		Doc:          "MDaemon: refuses EHLO without a name with 550",
		Greeting:     []Text{{"220 {host} ESMTP MDaemon 9.6.2; Sat, 28 Aug 2010 09:32:00 -0400", "assumed: by nmap its name stands behind ESMTP"}},
		Ehlo:         []Text{{"{host} Hello {hello}, pleased to meet you", noSource}, {"VRFY", noSource}, {"8BITMIME", noSource}, {"SIZE", noSource}},
		Replies:      plainReplies(),
		Verbs:        map[string]Text{"HELP": {"214 Help system currently inactive.", "rapid7/recog"}},
		RefusesEmpty: true,
		Mend:         func(s *Server) { s.RefusesEmpty = false },
	}
	s.Replies.BadHello = Text{"550 Invalid or missing command argument(s)", inNmap}
	return s
}

func raptorServer() Server {
	s := Server{
		Name:     "raptor",
		Doc:      "Raptor firewall: knows no EHLO (KB Q245787)",
		Greeting: []Text{{"220 {host} Generic SMTP handler", "KB Q245787"}},
		Replies:  plainReplies(),
		Mend:     knowsEHLO,
	}
	s.Replies.Hello = Text{"250 {host} talking to {host} ([{client}])", "KB Q245787, where the second host is another"}
	s.Replies.Mail = Text{"250 <{from}>: Sender Ok", "KB Q245787"}
	s.Replies.Quit = Text{"221 {host} closing connection. Goodbye!", "KB Q245787"}
	s.Replies.Unknown = Text{"500 Command unrecognized", "KB Q245787"}
	return s
}

func interlockServer() Server {
	return Server{
		Name:     "interlock",
		Doc:      "ANS InterLock gateway: its EHLO reply has no last line (KB Q228725, whose log may leave the rest out)",
		Greeting: []Text{{"220 {host} InterLock SMTP Gateway 3.0 ready at Mon, 5 Apr 1999 10:22:41 -0400", "KB Q228725"}},
		Ehlo:     []Text{{"Hello {hello}, pleased to meet you", "KB Q228725"}},
		Replies:  plainReplies(),
		NoLast:   true,
		Mend:     func(s *Server) { s.NoLast = false },
	}
}

func firewall1Server() Server {
	s := Server{
		Name:     "fw-1",
		Doc:      "Check Point FireWall-1 security server: answers NOOP with 220",
		Greeting: []Text{{"220 CheckPoint FireWall-1 secure SMTP server", "rapid7/recog"}},
		Replies:  plainReplies(),
		Mend:     func(s *Server) { s.Replies.Noop = Text{"250 OK", plainSMTP} },
	}
	s.Replies.Noop = Text{"220 OK", "rapid7/recog"}
	return s
}

func messageGuardServer() Server {
	s := Server{
		Name:        "message-guard",
		Doc:         "Secure Message Guard: refuses messages with a line over 254 octets (KB Q180414)",
		Greeting:    []Text{{"220 {host} ready", noSource}},
		Replies:     plainReplies(),
		LongestLine: 254,
		Mend:        func(s *Server) { s.LongestLine = 0 },
	}
	s.Replies.LongLine = Text{"554 Input line to submit longer than 254 characters", "KB Q180414"}
	return s
}

// watchguardServer: the article says that the firewall can be configured to pass AUTH, or
// AUTH-LOGON, and that otherwise mail from clients that log in is not delivered. What the
// firewall does with the command is not known. Here it passes it, so that offer-auth has
// an effect.
func watchguardServer() Server {
	const behind = "assumed: as Exchange 5.5, KB Q262945; what the firewall lets pass is not known"
	s := exchange55Server()
	s.Name = "watchguard"
	s.Doc = "WatchGuard's SMTP proxy before Exchange 5.5: removes AUTH from the EHLO reply (KB Q305007)"
	s.Greeting = []Text{{"220 SMTP service ready", inNmap}}
	s.Ehlo = []Text{{"{host} Hello [{client}]", "KB Q326322, KB Q262945"}, {"HELP", behind}, {"ETRN", behind}, {"DSN", behind}, {"SIZE 0", behind}}
	s.Auth = []Text{{AuthLogin, "assumed: that the command passes"}}
	s.Replies.Authenticated = Text{"235 LOGIN authentication successful", "KB Q173656"}
	s.Verbs = nil
	s.OneHello, s.Seals = false, false
	s.Mend = func(s *Server) { // KB Q305007: AUTH and AUTH-LOGON may pass
		s.Ehlo = append(s.Ehlo, Text{"AUTH LOGIN", "KB Q262945"}, Text{"AUTH=LOGIN", "KB Q262945"})
	}
	return s
}

func pixServer() Server {
	s := Server{
		Name:     "cisco-pix",
		Doc:      "Cisco PIX with fixup protocol smtp before a server: overwrites the greeting, and changes EHLO to XXXX (KB 320027)",
		Greeting: []Text{{"220 ****************************************2******0*****", "KB 320027"}},
		Replies:  plainReplies(),
		Mend: func(s *Server) { // as without the fixup
			knowsEHLO(s)
			s.Greeting[0] = Text{"220 {host} ESMTP", plainSMTP}
		},
	}
	s.Replies.Unknown = Text{`500 Syntax error, command "XXXX" unrecognized`, "rapid7/recog"}
	return s
}

func pixNoopServer() Server {
	s := pixServer()
	s.Name = "cisco-pix-noop"
	s.Doc = "Cisco PIX with fixup protocol smtp before a server, where it changes EHLO to NOOP: the reply is 250 OK, and the server has received no EHLO (KB 320027)"
	s.HidesEhlo = true
	mend := s.Mend
	s.Mend = func(s *Server) { mend(s); s.HidesEhlo = false }
	return s
}

func imageRunnerServer() Server {
	s := Server{
		Name:         "imagerunner",
		Doc:          "Canon imageRUNNER as a server: refuses HELO without a name",
		Greeting:     []Text{{"220 [{host}] ESMTP Ready", inNmap}},
		Replies:      plainReplies(),
		RefusesEmpty: true,
		Mend:         func(s *Server) { s.RefusesEmpty = false },
	}
	s.Replies.BadHello = Text{"501 HELO requires domain address", inNmap}
	return s
}

func bizhubServer() Server {
	s := Server{
		Name:         "bizhub",
		Doc:          "Konica Minolta bizhub 350 as a server: replies without a text",
		Greeting:     []Text{{"220 ", inNmap}},
		Replies:      plainReplies(),
		RefusesEmpty: true,
		Mend: func(s *Server) {
			s.Greeting[0], s.RefusesEmpty = Text{"220 {host} ready", plainSMTP}, false
		},
	}
	s.Replies.BadHello = Text{"501 ", inNmap}
	return s
}

func panasonicServer() Server {
	return Server{
		Name:     "panasonic-dp",
		Doc:      "Panasonic DP as a server: its EHLO reply has no last line",
		Greeting: []Text{{"220  DP-3510", inNmap}},
		Ehlo:     []Text{{"Hello", inNmap}, {"DSN", "nmap, whose pattern ends with this line: that nothing follows is assumed"}},
		Replies:  plainReplies(),
		NoLast:   true,
		Mend:     func(s *Server) { s.NoLast = false },
	}
}

func exchangeOnlineServer() Server {
	s := directSendServer()
	s.Name = "office-365"
	s.Doc = "Microsoft 365, an MX: does not know the first EHLO of some sessions, and accepts the second (muquit/mailsend#152)"
	s.RequiresCertificate, s.LateHello = false, true
	s.Mend = func(s *Server) { s.LateHello = false }
	return s
}

// strictServer does not stand for a product.
func strictServer() Server {
	s := modernServer()
	s.Name = "modern-strict"
	s.Doc = "a server that follows RFC 5321 to the letter: refuses a blank before a path, and parameters that it has not offered"
	s.Replies.BadPath = Text{"501 5.5.4 Syntax error in parameters or arguments", "RFC 5321, 3.3"}
	s.Replies.BadParam = Text{"555 5.5.4 Unsupported option", "RFC 5321, 4.1.1.11"}
	s.Strict = true
	s.Mend = func(s *Server) { s.Strict = false }
	return s
}
