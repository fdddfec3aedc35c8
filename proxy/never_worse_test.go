package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy"
)

// Promise 8: a pair that exchanges mail without us exchanges it with us. Each test
// plays a pair twice, direct and through a proxy with the default rules, and compares
// what the client is told and which messages the server has.

// defaultRules are those of a route that names none.
var defaultRules = []string{"standard", "stray-bytes"}

// A peculiar is a server that is tolerant in all it reads, and says at some steps
// what no standard allows. Keys are greeting, EHLO, HELO, MAIL, RCPT, DATA, dot, RSET,
// NOOP, QUIT, and first EHLO for the first of all connections.
type peculiar struct {
	says map[string]string // at a step, as it goes out; "" is nothing; a hangUp at its end closes

	mu       sync.Mutex
	conns    int
	messages []string // with one line end, LF, and without the dots that stuff
}

const hangUp = "\x00"

var usual = map[string]string{
	"greeting": "220 mail.example.com ESMTP\r\n", "EHLO": "250-mail.example.com\r\n250 SIZE 1000000\r\n", "HELO": "250 mail.example.com\r\n",
	"MAIL": "250 sender ok\r\n", "RCPT": "250 recipient ok\r\n", "DATA": "354 go ahead\r\n", "dot": "250 queued\r\n",
	"RSET": "250 reset\r\n", "NOOP": "250 ok\r\n", "QUIT": "221 bye\r\n" + hangUp, "other": "502 what\r\n",
}

func (p *peculiar) say(conn net.Conn, first bool, step string) (goesOn bool) {
	text, ok := p.says["first "+step]
	if !ok || !first {
		if text, ok = p.says[step]; !ok {
			text = usual[step]
		}
	}
	text, ends := strings.CutSuffix(text, hangUp)
	io.WriteString(conn, text)
	return !ends
}

func (p *peculiar) serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	p.mu.Lock()
	p.conns++
	first := p.conns == 1
	p.mu.Unlock()
	r := bufio.NewReader(conn)
	for goesOn := p.say(conn, first, "greeting"); goesOn; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		step := strings.ToUpper(strings.Trim(strings.SplitN(line, " ", 2)[0], " \t\r\n"))
		if _, ok := usual[step]; !ok {
			step = "other"
		}
		goesOn = p.say(conn, first, step)
		if said, ok := p.says["DATA"]; step == "DATA" && (!ok || strings.Contains(said, "354")) {
			text, err := tolerantText(r)
			if err != nil {
				return
			}
			reply, ok := p.says["dot"]
			if !ok || strings.Contains(reply, "250") {
				p.mu.Lock()
				p.messages = append(p.messages, text)
				p.mu.Unlock()
			}
			goesOn = p.say(conn, first, "dot")
		}
	}
}

// tolerantText reads a message as servers do that end lines with LF and throw away
// the CRs before it.
func tolerantText(r *bufio.Reader) (string, error) {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "." {
			return text.String(), nil
		}
		text.WriteString(strings.TrimPrefix(line, ".") + "\n")
	}
}

// A tolerantClient reads replies as Postfix' client does: lines end with LF, a line
// without a code is passed over, and the last line's code counts.
type tolerantClient struct {
	conn net.Conn
	r    *bufio.Reader
	told []string // codes, or what became of the connection
}

func (c *tolerantClient) hear() (code string) {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil && line == "" {
			c.told = append(c.told, "lost")
			return "lost"
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" || len(line) > 3 && line[3] == '-' {
			continue
		}
		c.told = append(c.told, line[:3])
		return line[:3]
	}
}

func (c *tolerantClient) say(line string) (code string) {
	io.WriteString(c.conn, line)
	return c.hear()
}

// A peculiarClient says what its lines are, and goes on as long as it hears a yes.
type peculiarClient struct {
	name  string
	lines []string // each is one write, after which a reply is read for each of its replies
	text  string   // the message, with its end
}

var usualLines = []string{"EHLO client.example.com\r\n", "MAIL FROM:<anna@example.com>\r\n", "RCPT TO:<ben@example.net>\r\n", "DATA\r\n"}

const usualText = "Subject: x\r\n\r\ntext\r\n.\r\n"

// An exchanged is how an exchange went.
type exchanged struct {
	told     []string
	messages []string
}

// accepted reports whether the client was told that the message was taken, and it was.
func (e exchanged) accepted() bool {
	return len(e.told) > 0 && e.told[len(e.told)-1] == "250" && len(e.messages) > 0
}

func (e exchanged) String() string {
	return fmt.Sprintf("the client is told %q, the server has %q", e.told, e.messages)
}

func exchange(t *testing.T, says map[string]string, client peculiarClient, through bool) exchanged {
	t.Helper()
	server := &peculiar{says: says}
	l := listen(t)
	serveEach(l, server.serve)
	dial := func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	if through {
		_, dial = startProxy(t, &proxy.Route{Servers: []string{l.Addr().String()}, Rules: compile(t, defaultRules...)})
	}
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	c := &tolerantClient{conn: conn, r: bufio.NewReader(conn)}
	c.deliver(client)
	server.mu.Lock()
	defer server.mu.Unlock()
	return exchanged{c.told, server.messages}
}

// deliver stops at the first no, but says HELO where EHLO is refused.
func (c *tolerantClient) deliver(client peculiarClient) {
	if !isYes(c.hear()) {
		return
	}
	lines := client.lines
	if lines == nil {
		lines = usualLines
	}
	for _, line := range lines {
		io.WriteString(c.conn, line)
		ok := true
		for range bytes.Count([]byte(line), []byte("\n")) {
			ok = isYes(c.hear()) && ok
		}
		if !ok && strings.HasPrefix(line, "EHLO") && c.told[len(c.told)-1] != "lost" {
			ok = isYes(c.say("HELO" + line[4:]))
		}
		if !ok {
			return
		}
	}
	text := client.text
	if text == "" {
		text = usualText
	}
	c.say(text)
}

func isYes(code string) bool { return code[0] == '2' || code[0] == '3' }

// wantNoWorse compares an exchange through the proxy with a direct one.
func wantNoWorse(t *testing.T, says map[string]string, client peculiarClient) {
	t.Helper()
	direct, through := exchange(t, says, client, false), exchange(t, says, client, true)
	last := func(e exchanged) string { return e.told[len(e.told)-1] }
	switch {
	case direct.accepted() && (!through.accepted() || fmt.Sprint(direct.messages) != fmt.Sprint(through.messages)):
	case last(through) == "250" && len(through.messages) == 0: // a false yes
	case !direct.accepted() && last(direct)[0] == '5' && !through.accepted() && last(through)[0] != '5': // a reason becomes days of retries
	case last(direct) == "lost" && last(through)[0] == '5':
	default:
		return
	}
	t.Errorf("direct %v;\nthrough %v", direct, through)
}

func TestWhatAServerSaysOddlyIsNoWorseThroughTheProxy(t *testing.T) {
	for name, says := range oddServers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantNoWorse(t, says, peculiarClient{})
		})
	}
}

// oddServers are servers that real clients put up with: an odd form of a reply, at
// each step.
func oddServers() map[string]map[string]string {
	servers := map[string]map[string]string{
		"a refusal in the greeting behind a yes": {"greeting": "220-mail.example.com\r\n521 no mail here\r\n" + hangUp},
		"an EHLO reply with several codes":       {"EHLO": "250-mail.example.com\r\n240-SIZE\r\n250 HELP\r\n"},
		"an EHLO reply without hyphens":          {"EHLO": "250 mail.example.com\r\n250 8BITMIME\r\n250 SIZE\r\n"},
		"EHLO is refused by 503":                 {"EHLO": "503 HELO first\r\n"},
		"EHLO is refused by 421, once":           {"first EHLO": "421 come again\r\n" + hangUp},
		"a second yes behind the dot":            {"dot": "250\r\n250 Ok 1-2-3\r\n"},
		"a refusal and its goodbye":              {"dot": "554 no\r\n500 closing\r\n" + hangUp},
		"a yes and a goodbye":                    {"dot": "250 queued\r\n500 closing\r\n" + hangUp},
		"a reason of 9,000 octets":               {"dot": "554 " + strings.Repeat("no ", 3000) + "\r\n"},
		"a yes of 9,000 octets":                  {"dot": "250 " + strings.Repeat("ok ", 3000) + "\r\n"},
		"a refusal of DATA and a close":          {"DATA": "554 no\r\n" + hangUp},
		"a refusal of MAIL and a close":          {"MAIL": "550 no\r\n" + hangUp},
	}
	for step, reply := range usual {
		if step == "other" || step == "QUIT" {
			continue
		}
		text := strings.TrimSuffix(reply, "\r\n")
		code := text[:3]
		servers["a refusal of "+step+" whose line has no end"] = map[string]string{step: "550 go away" + hangUp}
		servers["a refusal of "+step+" whose second line has no end"] = map[string]string{step: "550-go\n550away" + hangUp}
		for form, odd := range map[string]string{
			"with LF":                        strings.ReplaceAll(reply, "\r\n", "\n"),
			"with CR CR LF":                  strings.ReplaceAll(reply, "\r\n", "\r\r\n"),
			"with an empty line behind":      reply + "\r\n",
			"with an empty line before":      "\r\n" + reply,
			"of a code alone":                code + "\r\n",
			"of a code and a blank":          code + " \r\n",
			"with a TAB behind the code":     code + "\tok\r\n",
			"twice":                          reply + reply,
			"in a long line":                 strings.Replace(reply, text[4:], strings.TrimRight(text[4:], "\r\n")+strings.Repeat(" x", 3000), 1),
			"with a line that has no code":   "hello there\r\n" + reply,
			"with blanks at the end of line": text + "   \r\n",
		} {
			if step == "EHLO" && form == "in a long line" || step == "DATA" && form == "twice" {
				continue // a keyword of that length, and a second 354, are no answers
			}
			servers["the reply to "+step+" "+form] = map[string]string{step: odd}
		}
	}
	return servers
}

func TestWhatAClientSaysOddlyIsNoWorseThroughTheProxy(t *testing.T) {
	for _, client := range oddClients() {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			wantNoWorse(t, nil, client)
		})
	}
}

// oddClients are clients that tolerant servers put up with.
func oddClients() []peculiarClient {
	with := func(old, new string) []string {
		lines := make([]string, len(usualLines))
		for i, line := range usualLines {
			lines[i] = strings.Replace(line, old, new, 1)
		}
		return lines
	}
	return []peculiarClient{
		{name: "lines that end with LF", lines: with("\r\n", "\n")},
		{name: "lines that end with CR CR LF", lines: with("\r\n", "\r\r\n")},
		{name: "a blank behind DATA", lines: with("DATA", "DATA ")},
		{name: "a blank behind the colon", lines: with(":<", ": <")},
		{name: "small letters", lines: with("MAIL FROM", "mail from")},
		{name: "a name with an underscore", lines: with("client.example.com", "my_client.example.com")},
		{name: "no hello", lines: usualLines[1:]},
		{name: "a second hello", lines: append([]string{usualLines[0]}, usualLines...)},
		{name: "150 NOOPs", lines: append(append([]string{usualLines[0]}, strings.SplitAfter(strings.Repeat("NOOP\r\n", 150), "\n")[:150]...), usualLines[1:]...)},
		{name: "all commands at once", lines: []string{usualLines[0], strings.Join(usualLines[1:], "")}},
		{name: "a message whose lines end with CR CR LF", text: "From: anna@example.com\r\r\nSubject: x\r\r\n\r\r\nThe pump stands still.\r\r\n.\r\n"},
		{name: "a message whose lines end with LF", text: "Subject: x\n\ntext\n..hidden\r\n.\r\n"},
		{name: "a message that ends with several CRs", text: "Subject: x\r\n\r\ntext\r\r\r\n.\r\n"},
		{name: "a long name", lines: with("client.example.com", strings.Repeat("a", 60)+".example.com")},
	}
}
