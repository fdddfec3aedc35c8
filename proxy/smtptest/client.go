package smtptest

import (
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"
)

// A Client is a row of the table of clients: what a product says and what it
// gets wrong. The zero value of a field is the right behaviour, or the
// default that its comment names.
type Client struct {
	Name string // as in "exchange-5.0"
	Doc  string // what it stands for and what it gets wrong

	Says     Commands
	Requires string // a keyword; if EHLO does not offer it in some spelling, the client bounces with Missing
	Missing  Text   // the text of that report
	// Auth is the form of AUTH or XAUTH that it says, whether or not that is
	// offered; none: it says neither.
	Auth Text

	Hello    string        // its own name; client.example.com
	Password string        // NTLM; "password"
	Timeout  time.Duration // of each read and write; 1 minute
	TLS      *tls.Config   // nil: no STARTTLS; else nothing goes in clear

	NeedsESMTP   bool      // says EHLO only if the greeting has that word
	HeloAfter    []string  // how EHLO replies begin after which it says HELO
	HelloRefused Outcome   // when HELO is refused too, or must not be said
	EhloAfterTLS bool      // as RFC 3207, 4.2 wants it
	Seal         bool      // asks for a sealed stream after 235, and seals
	AsksSeal     bool      // asks for it and goes on in clear
	FirstLine    FirstLine // what it takes for the answer to DATA
}

// Commands are what a client says, without CRLF.
type Commands struct {
	Ehlo, Helo             Text
	Mail, Rcpt             Text
	MailSize, MailReturn   Text // parameters if SIZE, if DSN is offered, with the blank before
	RcptNotify             Text // if DSN is offered
	Data, Reset, Quit, TLS Text
}

// FirstLine is when the first line of the answer to DATA is taken for all of
// it. KB 912341 tells that a slow last line makes it likely; how the first
// line is taken is assumed.
type FirstLine int

const (
	FirstLineNever  FirstLine = iota
	FirstLineAlone            // when nothing else was received yet
	FirstLineAlways           // the others are left for later
)

// Outcome is what became of a message.
type Outcome int

const (
	Queued    Outcome = iota // kept, to be sent again
	Delivered                // the server said 250 and was understood
	Bounced                  // sent back with a report, the NDR
)

func (o Outcome) String() string {
	return [...]string{"queued", "delivered", "bounced"}[o]
}

// Result is what came of one attempt to deliver a message.
type Result struct {
	Outcome  Outcome
	NDR      string // the text in the report, if it bounced
	Dialogue Dialogue
	Err      error // why the attempt broke off, if not for a reply; the message is queued
}

// A Dial makes a connection to the server.
type Dial func() (net.Conn, error)

// Deliver makes one attempt over one connection.
func (c Client) Deliver(dial Dial, m Message) Result {
	if c.Hello == "" {
		c.Hello = "client.example.com"
	}
	if c.Password == "" {
		c.Password = "password"
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	conn, err := dial()
	if err != nil {
		return Result{Err: err}
	}
	a := &attempt{Client: c, w: newWire(conn, c.Timeout, "C"), message: m}
	defer func() { a.w.conn.Close() }()
	err = a.run()
	a.result.Dialogue = a.w.dialogue()
	if !errors.Is(err, errHungUp) && a.result.Outcome == Queued {
		a.result.Err = err
	}
	return a.result
}

// DeliverUntilDone makes attempts until one does not leave the message in the
// queue, or there were so many. It gives all results.
func (c Client) DeliverUntilDone(dial Dial, m Message, attempts int) []Result {
	var results []Result
	for range attempts {
		r := c.Deliver(dial, m)
		results = append(results, r)
		if r.Outcome != Queued {
			break
		}
	}
	return results
}

// fill gives a command with its names filled in.
func (a *attempt) fill(t Text, more ...string) string {
	return t.fill(append(more,
		"{hello}", a.Hello,
		"{from}", a.message.From,
		"{size}", strconv.Itoa(len(a.message.Body)))...)
}
