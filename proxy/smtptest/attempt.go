package smtptest

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An attempt is one connection of a client. Its methods return errHungUp when the outcome
// is known and QUIT was sent.
type attempt struct {
	Client
	w       *wire
	message Message
	keys    []string // keywords that EHLO offered
	result  Result
}

// A reply is the lines that the client takes for a reply.
type reply struct{ lines []string }

func (r reply) is(prefix string) bool {
	return strings.HasPrefix(r.lines[len(r.lines)-1], prefix)
}

// last returns the line that decides.
func (r reply) last() string { return r.lines[len(r.lines)-1] }

func (a *attempt) run() error {
	greeting, err := a.hear(FirstLineNever)
	if err != nil {
		return err
	}
	if !greeting.is("220") {
		return a.giveUp(greeting)
	}
	for _, step := range []func() error{
		func() error { return a.hello(greeting) },
		a.startTLS,
		a.authenticate,
		a.envelope,
		a.send,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return a.quit()
}

// hear reads a reply. With FirstLineNever it reads to the last line.
func (a *attempt) hear(first FirstLine) (reply, error) {
	var r reply
	for {
		line, err := a.w.hear()
		if err != nil {
			return r, err
		}
		if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" {
			return r, fmt.Errorf("%q is no reply", line)
		}
		r.lines = append(r.lines, line)
		alone := first == FirstLineAlone && a.w.r.Buffered() == 0
		if len(line) == 3 || line[3] != '-' || alone || first == FirstLineAlways {
			return r, nil
		}
	}
}

func (a *attempt) say(line string) (reply, error) {
	if err := a.w.say(line); err != nil {
		return reply{}, err
	}
	return a.hear(FirstLineNever)
}

func (a *attempt) quit() error {
	if _, err := a.say(a.Says.Quit.Line); err != nil {
		return err
	}
	return errHungUp
}

// giveUp ends the attempt because of a reply: after 5xx the message bounces, otherwise it
// stays queued.
func (a *attempt) giveUp(r reply) error {
	if r.is("5") {
		return a.bounce(r.last())
	}
	return a.quit()
}

func (a *attempt) bounce(text string) error {
	a.result.Outcome, a.result.NDR = Bounced, text
	return a.quit()
}

func (a *attempt) offered(keyword string) bool {
	return slices.ContainsFunc(a.keys, func(line string) bool { return offers(line, keyword) })
}

func (a *attempt) hello(greeting reply) error {
	if a.NeedsESMTP && !strings.Contains(strings.Join(greeting.lines, " "), "ESMTP") {
		return a.helo()
	}
	r, err := a.say(a.fill(a.Says.Ehlo))
	if err != nil {
		return err
	}
	if r.is("2") {
		a.learn(r)
	} else if slices.ContainsFunc(a.HeloAfter, r.is) {
		if err := a.helo(); err != nil {
			return err
		}
	} else if a.Requires == "" {
		return a.refused(r)
	}
	if a.Requires != "" && !a.offered(a.Requires) {
		return a.bounce(a.Missing.Line)
	}
	return nil
}

func (a *attempt) helo() error {
	r, err := a.say(a.fill(a.Says.Helo))
	if err == nil && !r.is("2") {
		return a.refused(r)
	}
	return err
}

// refused ends an attempt whose hello the server refuses.
func (a *attempt) refused(r reply) error {
	if a.HelloRefused == Bounced {
		return a.bounce(r.last())
	}
	return a.quit()
}

func (a *attempt) learn(r reply) {
	a.keys = nil
	for _, line := range r.lines[1:] {
		a.keys = append(a.keys, line[min(4, len(line)):])
	}
}

func (a *attempt) startTLS() error {
	if a.TLS == nil {
		return nil
	}
	if !a.offered("STARTTLS") {
		return a.quit()
	}
	r, err := a.say(a.Says.TLS.Line)
	if err != nil {
		return err
	}
	if !r.is("220") {
		return a.giveUp(r)
	}
	conn := tls.Client(a.w.conn, a.TLS)
	if err := a.w.change(conn, "TLS"); err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(a.Timeout))
	if err := conn.Handshake(); err != nil {
		return err
	}
	if !a.EhloAfterTLS {
		return nil
	}
	if r, err = a.say(a.fill(a.Says.Ehlo)); err != nil {
		return err
	}
	if !r.is("2") {
		return a.giveUp(r)
	}
	a.learn(r)
	return nil
}

func (a *attempt) authenticate() error {
	if a.Auth.Line == "" {
		return nil
	}
	asks := a.Seal || a.AsksSeal
	r, err := a.say(a.Auth.fill("{type-1}", NTLM1(asks)))
	if err != nil {
		return err
	}
	if r.is("334") && !strings.Contains(a.Auth.Line, "{type-1}") {
		if r, err = a.say(NTLM1(asks)); err != nil { // the text of this 334 has no meaning
			return err
		}
	}
	if r.is("334") {
		blob, err := NTLM3(strings.TrimPrefix(r.last(), "334 "), a.Password, asks)
		if err != nil {
			blob = "*"
		}
		if r, err = a.say(blob); err != nil {
			return err
		}
	}
	if !r.is("235") {
		return a.giveUp(r)
	}
	if a.Seal {
		return a.w.change(&sealed{Conn: a.w.conn}, "sealed")
	}
	return nil
}

// envelope sends MAIL and RCPT. The first refusal decides for the whole message.
func (a *attempt) envelope() error {
	line := a.fill(a.Says.Mail)
	if a.offered("SIZE") {
		line += a.fill(a.Says.MailSize)
	}
	if a.offered("DSN") {
		line += a.Says.MailReturn.Line
	}
	r, err := a.say(line)
	if err != nil {
		return err
	}
	if !r.is("2") {
		return a.giveUp(r)
	}
	for _, to := range a.message.To {
		line := a.fill(a.Says.Rcpt, "{to}", to)
		if a.offered("DSN") {
			line += a.Says.RcptNotify.Line
		}
		if r, err = a.say(line); err != nil {
			return err
		}
		if !r.is("2") {
			return a.giveUp(r)
		}
	}
	return nil
}

func (a *attempt) send() error {
	if err := a.w.say(a.Says.Data.Line); err != nil {
		return err
	}
	r, err := a.hear(a.FirstLine)
	if err != nil {
		return err
	}
	if !r.is("354") {
		return a.giveUp(r)
	}
	a.w.note("~", "message "+strconv.Itoa(len(a.message.Body))+" bytes")
	if err := a.w.send(stuff(a.message.Body)); err != nil {
		return err
	}
	if r, err = a.hear(FirstLineNever); err != nil {
		return err
	}
	switch {
	case r.is("2"):
		a.result.Outcome = Delivered
		return nil
	case r.is("5"):
		return a.bounce(r.last())
	}
	if _, err := a.say(a.Says.Reset.Line); err != nil {
		return err
	}
	return a.quit()
}
