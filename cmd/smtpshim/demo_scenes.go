package main

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy"
	"smtpshim/proxy/journal"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/transcript"
)

// A scene is a founding article: two legacy programs that fail with each other.
type scene struct {
	article, title, about string
	server                smtptest.Server
	client                smtptest.Client
	secure                bool // both programs support TLS
}

var demoMessage = smtptest.Message{
	From: "anna@example.com",
	To:   []string{"ben@example.net"},
	Body: []byte("From: anna@example.com\r\nTo: ben@example.net\r\nSubject: Hello\r\n\r\nHello Ben.\r\n"),
}

func scenes() []scene {
	server := func(name string) smtptest.Server { s, _ := smtptest.LookupServer(name); return s }
	client := func(name string) smtptest.Client { c, _ := smtptest.LookupClient(name); return c }
	return []scene{
		{"Q164060", "Exchange 5.0 speaks ESMTP and does not say so",
			"Its greeting lacks the word ESMTP. A sender that looks for it stays with HELO, and has no " +
				"SIZE, DSN or AUTH, though the server has them. smtpshim adds the word.",
			server("exchange-5.0"), client("needs-esmtp"), false},
		{"Q195201", "Exchange 5.0 knows XAUTH, Exchange 5.5 knows AUTH",
			"Exchange 5.0 looks for XAUTH among what Exchange 5.5 offers, finds AUTH, and bounces the " +
				"mail. smtpshim offers both, and sends to each what it understands.",
			server("exchange-5.5").WithAuth(smtptest.AuthInitial, smtptest.AuthPrompted), client("exchange-5.0"), false},
		{"Q279214", "IIS asks for STARTTLS although TLS is up",
			"On its first encrypted connection IIS 4 answers MAIL with 505, and Exchange 5.5 bounces the " +
				"mail; the next one passes. smtpshim does the second try itself, and the EHLO that the " +
				"client forgets.",
			server("iis-4"), client("exchange-5.5"), true},
		{"KB912341", "Windows 2003 takes the first line of a 354 for all of it",
			"If the lines of the answer to DATA come apart, Windows 2003 is one reply behind from then " +
				"on: it keeps the mail that was accepted, and sends it again and again. smtpshim waits for " +
				"the whole answer and makes one line of it.",
			server("modern").SlowData(300 * time.Millisecond), client("windows-2003"), false},
		{"Q240832", "A host name that ends in a dot stops mail",
			"IIS 4 refuses EHLO sub2. and HELO sub2., the sender quits, and nothing is delivered. " +
				"smtpshim takes the dot away.",
			server("iis-4"), client("notes"), false},
	}
}

// peers returns the two programs of a scene, with certificates if they need any.
func (s scene) peers() (smtptest.Server, smtptest.Client, error) {
	if s.secure {
		certificate, pool, err := smtptest.Certificate("mail.example.com")
		if err != nil {
			return s.server, s.client, fmt.Errorf("making a certificate: %w", err)
		}
		s.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		s.client.TLS = &tls.Config{RootCAs: pool, ServerName: "mail.example.com"}
	}
	s.client.Timeout = time.Minute
	return s.server, s.client, nil
}

// A lineListener collects the lines of a scene's sessions.
type lineListener struct {
	lines []transcript.Line
	ended chan struct{}
}

func newListener() *lineListener { return &lineListener{ended: make(chan struct{}, attempts)} }

// dialogue is proxy.Route's.
func (l *lineListener) dialogue(proxy.Beginning) proxy.DialogueListener { return l }

func (l *lineListener) Line(line transcript.Line) { l.lines = append(l.lines, line) }

func (l *lineListener) End(proxy.Ending) { l.ended <- struct{}{} }

// A showLines prints lines as they come.
type showLines struct {
	mu  sync.Mutex
	out demoOutput
}

// dialogue is proxy.Route's.
func (s *showLines) dialogue(b proxy.Beginning) proxy.DialogueListener {
	return shownSession{s, b.Session}
}

// message prints that the simulated server has received a message.
func (s *showLines) message(m smtptest.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := brief(m.To[0])
	if n := len(m.To) - 1; n > 0 {
		to += " and " + words.Plural(n, "other")
	}
	s.out.print("%s\n", s.out.paint(event, fmt.Sprintf("got a message for %s from %s, %s", to, brief(cmp.Or(m.From, "<>")), words.Plural(len(m.Body), "octet"))))
}

// brief returns the beginning of an address in printable ASCII.
func brief(address string) string {
	const most = 64
	if len(address) > most {
		address = address[:most] + "..."
	}
	return journal.Printable(address)
}

// A shownSession prints the lines of one session.
type shownSession struct {
	*showLines
	name string
}

func (s shownSession) Line(line transcript.Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.line(s.name+"  ", line, ruleColumn())
}

func (shownSession) End(proxy.Ending) {}
