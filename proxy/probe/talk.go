package probe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"smtpshim/rewrite/transcript"
)

// Limits for what is read from a server: octets of a line, lines of a reply, and octets
// of a connection.
const (
	maxLine       = 16 << 10
	maxLines      = 512
	maxConnection = 1 << 20
)

// errTooMuch ends a conversation with a server that sends without end.
var errTooMuch = errors.New("it sent more than a reply may have")

// A reply is a server's answer to a command, well formed or not.
type reply struct {
	lines []string // with their line ends
	code  int      // the code of the last line; 0: it has none
	open  bool     // the last line announces another one, which did not come
	early bool     // several lines look like the last one
	lost  error    // why the connection has ended; nil: it has not
}

// ok reports whether the reply is positive.
func (r reply) ok() bool { return r.lost == nil && r.code/100 == 2 }

// refused reports whether the reply is a permanent refusal.
func (r reply) refused() bool { return r.code/100 == 5 }

// texts returns the lines without line ends, codes and separators.
func (r reply) texts() []string {
	var list []string
	for _, line := range r.lines {
		line = strings.TrimRight(line, "\r\n\x00")
		if codeOf(line) != 0 {
			if line = line[3:]; line != "" && (line[0] == '-' || line[0] == ' ') {
				line = line[1:]
			}
		}
		list = append(list, line)
	}
	return list
}

func (r reply) text() string { return strings.Join(r.texts(), "\n") }

// codeOf returns the code at the beginning of a line; 0: there is none.
func codeOf(line string) int {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) || len(line) > 3 && isDigit(line[3]) {
		return 0
	}
	return int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// An exchange is a command and its reply.
type exchange struct {
	command string // without CRLF; "": the greeting
	reply
}

// seen returns the lines of exchanges for a finding. It shortens long replies.
func seen(list ...exchange) []string {
	const maxSeen, maxText = 12, 300
	var lines []string
	add := func(side transcript.Side, text string) {
		if len(text) > maxText {
			text = text[:maxText] + "..."
		}
		lines = append(lines, Line(side, text))
	}
	for _, e := range list {
		if e.command != "" {
			add(transcript.Client, e.command)
		}
		for i, line := range e.lines {
			if i == maxSeen {
				lines = append(lines, Line(0, fmt.Sprintf("%d more lines", len(e.lines)-i)))
				break
			}
			if text, ok := strings.CutSuffix(line, "\r\n"); ok && !strings.HasSuffix(text, "\r") {
				line = text
			}
			add(transcript.Server, line)
		}
		switch {
		case errors.Is(e.lost, os.ErrDeadlineExceeded):
			lines = append(lines, Line(0, "no answer"))
		case errors.Is(e.lost, errTooMuch):
			lines = append(lines, Line(0, errTooMuch.Error()))
		case e.lost != nil:
			lines = append(lines, Line(0, "the server has hung up"))
		case e.open:
			lines = append(lines, Line(0, "nothing more comes"))
		}
	}
	return lines
}

// A conversation is one connection to the server.
type conversation struct {
	conn   net.Conn
	r      *bufio.Reader
	times  times
	said   int   // number of commands
	hello  bool  // a hello was accepted, inside TLS if there is TLS
	secure bool  // inside TLS
	lost   error // why the connection has ended; nil: it has not
	end    func() bool
}

// times are the longest times that a conversation waits.
type times struct {
	greeting time.Duration // for the greeting
	reply    time.Duration // for any other reply
	rest     time.Duration // for the next line of a reply
	linger   time.Duration // for lines after the last one of a greeting or of a reply to a hello
}

func converse(conn net.Conn, t times) *conversation {
	c := &conversation{times: t}
	c.use(conn)
	return c
}

// use replaces the connection by conn, such as TLS over it.
func (c *conversation) use(conn net.Conn) {
	c.conn = conn
	c.r = bufio.NewReaderSize(&io.LimitedReader{R: conn, N: maxConnection}, maxLine)
}

// greeting reads the greeting.
func (c *conversation) greeting() exchange {
	return exchange{reply: c.hear(c.times.greeting, true)}
}

// say sends a command and reads its reply.
func (c *conversation) say(command string) exchange {
	return c.send(command, command+"\r\n")
}

// send is say for octets that are not a line.
func (c *conversation) send(command, octets string) exchange {
	if c.lost != nil {
		return exchange{command, reply{lost: c.lost}}
	}
	c.said++
	c.conn.SetWriteDeadline(time.Now().Add(c.times.reply))
	if _, err := io.WriteString(c.conn, octets); err != nil {
		c.lost = err
		return exchange{command, reply{lost: err}}
	}
	e := exchange{command, c.hear(c.times.reply, isHello(command))}
	if e.code == 421 { // the server closes the connection (RFC 5321, 3.8)
		c.lost = io.EOF
	}
	return e
}

func isHello(command string) bool {
	verb, _, _ := strings.Cut(command, " ")
	return strings.EqualFold(verb, "EHLO") || strings.EqualFold(verb, "HELO")
}

// unasked returns octets that have come without a command. ok is false if there are none.
func (c *conversation) unasked() (reply, bool) {
	if c.lost != nil || !c.more(time.Millisecond) {
		return reply{}, false
	}
	return c.hear(c.times.rest, false), true
}

// gone waits for the server to hang up or to send 421, and reports whether it has.
func (c *conversation) gone(wait time.Duration) bool {
	if c.lost != nil {
		return true
	}
	c.conn.SetReadDeadline(time.Now().Add(wait))
	if begin, err := c.r.Peek(len("421")); string(begin) == "421" {
		c.lost = io.EOF
	} else if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.lost = err
	}
	return c.lost != nil
}

// more waits for an octet.
func (c *conversation) more(wait time.Duration) bool {
	if c.r.Buffered() > 0 {
		return true
	}
	c.conn.SetReadDeadline(time.Now().Add(wait))
	_, err := c.r.Peek(1)
	return err == nil
}

// hear reads a reply. For a hello, further lines with the same code belong to it.
func (c *conversation) hear(wait time.Duration, isHello bool) (r reply) {
	if c.lost != nil {
		r.lost = c.lost
		return r
	}
	for len(r.lines) < maxLines {
		c.conn.SetReadDeadline(time.Now().Add(wait))
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			if len(line) > 0 {
				r.lines = append(r.lines, string(line))
			}
			c.ends(&r, err)
			return r
		}
		wait = c.times.rest
		r.lines = append(r.lines, string(line))
		code := codeOf(string(line))
		if code == 0 {
			continue
		}
		goesOn := len(line) > 3 && line[3] == '-'
		if r.code = code; goesOn {
			continue
		}
		if !isHello || !c.sameFollows(line[:3]) {
			return r
		}
		r.early = true
	}
	c.lost, r.lost = errTooMuch, errTooMuch
	return r
}

// ends records that no line came. If a reply has begun, the server waits for the next
// command.
func (c *conversation) ends(r *reply, err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) && r.code != 0 && r.lines[len(r.lines)-1] != "" {
		r.open = true
		return
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		err = errTooMuch
	}
	c.lost, r.lost = err, err
}

// sameFollows reports whether a line with this code has come.
func (c *conversation) sameFollows(code []byte) bool {
	code = bytes.Clone(code)
	if !c.more(c.times.linger) {
		return false
	}
	c.conn.SetReadDeadline(time.Now().Add(c.times.rest))
	next, _ := c.r.Peek(len(code) + 1)
	return bytes.HasPrefix(next, code)
}

// close sends QUIT if possible and hangs up.
func (c *conversation) close() {
	switch {
	case c.lost == nil:
		c.say("QUIT")
	case errors.Is(c.lost, os.ErrDeadlineExceeded): // the server may wait for the end of a line
		c.conn.SetWriteDeadline(time.Now().Add(c.times.linger))
		io.WriteString(c.conn, "\r\nQUIT\r\n")
	}
	c.conn.Close()
	if c.end != nil {
		c.end()
	}
}
