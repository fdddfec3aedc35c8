package smtptest

import (
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"
)

// A Client is a row of the table of clients: what a product sends, and its faults. If a
// field for a fault is zero, the client does not have the fault, unless the comment of
// the field says otherwise.
type Client struct {
	Name string // such as "exchange-5.0"
	Doc  string // which product it stands for, and its faults

	Says Commands
	// Requires is a keyword that the client needs in the reply to EHLO; "": none.
	// Without the keyword the message bounces, and Missing is the text of the
	// report. Parameters do not matter: "XAUTH LOGIN" and "XAUTH=LOGIN" have the
	// keyword XAUTH.
	Requires string
	Missing  Text
	// Auth is the command by which the client begins NTLM, such as [AuthInitial].
	// The client sends it whether or not the server offers it. Zero: the client
	// does not authenticate.
	Auth Text

	Hello    string        // its host name; default client.example.com
	Password string        // for NTLM; default "password"
	Timeout  time.Duration // for each read and write; default 1 minute
	TLS      *tls.Config   // nil: no STARTTLS; otherwise no mail is sent in clear

	NeedsESMTP bool     // sends HELO if the greeting lacks the word ESMTP
	HeloAfter  []string // sends HELO if the refusal of EHLO begins with one of these
	// HelloRefused is the outcome if the server refuses HELO, or refuses EHLO and
	// the client does not send HELO then; default Queued. In the second case, with
	// Requires, the message bounces instead.
	HelloRefused Outcome
	// If EhloAfterTLS is true, the client sends EHLO again inside TLS, as RFC 3207,
	// 4.2 requires. Here false is the fault.
	EhloAfterTLS bool
	Seal         bool // asks in NTLM for a sealed stream, and seals after 235
	AsksSeal     bool // asks in NTLM for a sealed stream, and continues in clear
	// FirstLine says when the client takes the first line of the reply to DATA for
	// the whole reply.
	FirstLine FirstLine
}

// Commands are the commands that a client sends, without CRLF, and the parameters that it
// adds to MAIL and RCPT. AUTH is not among them: see Client.Auth.
type Commands struct {
	Ehlo, Helo Text
	Mail, Rcpt Text
	// Parameters of MAIL and RCPT, each with the blank before it. MailSize is sent if
	// SIZE is offered, MailReturn and RcptNotify are sent if DSN is offered.
	MailSize, MailReturn   Text
	RcptNotify             Text
	Data, Reset, Quit, TLS Text
}

// A FirstLine says when a client takes the first line of the reply to DATA for the
// whole reply. KB 912341 only says that a slow last line makes this likely. How the
// client decides is assumed.
type FirstLine int

const (
	FirstLineNever  FirstLine = iota
	FirstLineAlone            // if nothing else was received yet
	FirstLineAlways           // always; the other lines stay unread
)

// An Outcome is what became of a message.
type Outcome int

const (
	Queued    Outcome = iota // the client keeps it, to send it again
	Delivered                // the client got 2xx for the message, or believes so
	Bounced                  // it was returned to the sender with a report, the NDR
)

func (o Outcome) String() string {
	return [...]string{"queued", "delivered", "bounced"}[o]
}

// A Result says how one attempt to deliver a message ended.
type Result struct {
	Outcome  Outcome
	NDR      string // the text in the report, if the message bounced
	Dialogue Dialogue
	Err      error // why the attempt broke off; Outcome is Queued then
}

// A Dial is a function that makes a new connection to the server.
type Dial func() (net.Conn, error)

// Deliver makes one attempt to deliver m, over one connection made by dial, and returns
// its result. If dial fails, the Outcome is Queued, and Err is the error of dial.
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

// DeliverUntilDone calls Deliver until the Outcome is not Queued, but at most attempts
// times. It returns the results of all calls, in order.
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

// fill returns a command with its names filled in.
func (a *attempt) fill(t Text, more ...string) string {
	return t.fill(append(more,
		"{hello}", a.Hello,
		"{from}", a.message.From,
		"{size}", strconv.Itoa(len(a.message.Body)))...)
}
