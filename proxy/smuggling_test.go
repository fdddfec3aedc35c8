package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// A textEnd is what somebody has been known to take for the end of a message,
// and what becomes of it where it is mended; "": it is text, and stays.
var textEnds = []struct{ sent, mended string }{
	{"\n.\n", "\r\n..\r\n"}, {"\n.\r\n", "\r\n..\r\n"}, {"\r\n.\n", "\r\n..\r\n"},
	{"\r.\r", " . "}, {"\r.\n", " .\r\n"}, {"\r.\r\n", " .\r\n"}, {"\n.\r", "\r\n.. "}, {"\r\n.\r", "\r\n. "},
	{"\r\n.\r\r\n", "\r\n..\r\n"}, {"\r\r\n.\r\r\n", "\r\n..\r\n"}, {"\r\r\n.\n", "\r\n..\r\n"},
	{"\r\r\r\n.\r\r\r\n", "\r\n..\r\n"}, {"\n.\r\r\n", "\r\n..\r\n"}, {"\n..\n", "\r\n..\r\n"}, {"\r\r\n..\r\r\n", "\r\n..\r\n"},
	{"\n.x\n..\n", "\r\n..x\r\n...\r\n"}, {"\n..x\n.\n", "\r\n..x\r\n..\r\n"},
	{"\r\n\x00.\r\n", "\r\n .\r\n"}, {"\r\n.\x00\r\n", "\r\n. \r\n"}, {"\r\x00\n.\r\n", "  \r\n..\r\n"},
	{"\r\n.\r\x00\n", "\r\n.  \r\n"}, {"\n\x00.\n", "\r\n .\r\n"},
	{long(2048) + "\n.\r\n", long(2048) + "\r\n..\r\n"}, {long(4096) + ".\r\n", long(4096) + ".\r\n"},
	{long(16<<10) + "\n.\n", long(16<<10) + "\r\n..\r\n"},
	{"\r\n. \r\n", ""}, {"\r\n.\t\r\n", ""}, {"\r\n .\r\n", ""}, {"\r\n.\v\r\n", ""}, {"\r\n.\f\r\n", ""}, {"\r\n.\x1c\r\n", ""},
	{"\r\n.\x1e\r\n", ""}, {"\r\n.\xc2\x85\r\n", ""}, {"\r\n\x85.\x85\r\n", ""}, {"\u2028.\u2028", ""}, {"\r\n\uff0e\r\n", ""},
	{"\r\n.text\r\n", ""}, {"\r\n..\r\n", ""},
}

func long(n int) string { return strings.Repeat("x", n) }

const (
	smuggledBegin = "Subject: x\r\n\r\ntext"
	smuggledRest  = "MAIL FROM:<smuggled@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nsmuggled\r\n"
)

// A reader is a server that understands lines as it does, and says yes to all
// of them. It counts messages and commands.
type reader struct {
	name     string
	lineEnds []string
	textEnds []string
	keywords []string
	secure   *tls.Config // nil: no STARTTLS

	mu       sync.Mutex
	commands []string
	messages []string
}

func readers() []*reader {
	return []*reader{
		{name: "strict", lineEnds: []string{"\r\n"}, textEnds: []string{"\r\n.\r\n"}},
		{name: "LF.LF", lineEnds: []string{"\r\n", "\n"}, textEnds: []string{"\r\n.\r\n", "\n.\n"}},
		{name: "LF.CRLF", lineEnds: []string{"\r\n", "\n"}, textEnds: []string{"\r\n.\r\n", "\n.\r\n"}},
		{name: "CR.CR", lineEnds: []string{"\r\n"}, textEnds: []string{"\r\n.\r\n", "\r.\r"}},
		{name: "CRLF.LF", lineEnds: []string{"\r\n", "\n"}, textEnds: []string{"\r\n.\r\n", "\r\n.\n"}},
	}
}

func (r *reader) take(list *[]string, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, what)
}

// until reads to the earliest of the ends, of two at one place the longer one.
// What is read lies behind begin.
func until(in *bufio.Reader, begin string, ends []string) (string, error) {
	seen := []byte(begin)
	for {
		c, err := in.ReadByte()
		if err != nil {
			return "", err
		}
		seen = append(seen, c)
		for _, end := range ends {
			if bytes.HasSuffix(seen, []byte(end)) {
				return string(seen[len(begin):max(len(begin), len(seen)-len(end))]), nil
			}
		}
	}
}

func (r *reader) serve(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(testPatience))
	in := bufio.NewReader(conn)
	_, err := io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
	for err == nil {
		var line string
		if line, err = until(in, "", r.lineEnds); err != nil {
			break
		}
		verb, argument, _ := strings.Cut(line, " ")
		reply := "250 ok\r\n"
		switch verb {
		case "EHLO":
			reply = "250-mail.example.com\r\n250-" + strings.Join(append(slices.Clone(r.keywords), "PIPELINING"), "\r\n250-") + "\r\n250 SIZE\r\n"
			if _, encrypted := conn.(*tls.Conn); r.secure != nil && !encrypted {
				reply = strings.Replace(reply, "250 SIZE", "250 STARTTLS", 1)
			}
		case "STARTTLS":
			io.WriteString(conn, "220 go\r\n")
			conn = tls.Server(conn, r.secure)
			in = bufio.NewReader(conn)
			continue
		case "DATA":
			io.WriteString(conn, "354 go on\r\n")
			var text string
			if text, err = until(in, "\r\n", r.textEnds); err == nil {
				r.take(&r.messages, strings.TrimSuffix(text, "\r"))
			}
		case "BDAT":
			n := 0
			if _, err = fmt.Sscan(argument, &n); err == nil {
				chunk := make([]byte, n)
				_, err = io.ReadFull(in, chunk)
				r.take(&r.messages, string(chunk))
			}
		}
		if verb != "NOOP" {
			r.take(&r.commands, line)
		}
		if err == nil {
			_, err = io.WriteString(conn, reply)
		}
	}
	return err
}

// testPatience bounds every wait of these tests.
const testPatience = 2 * time.Minute

// bridge puts a proxy with one route between a client and a reader: the client
// over a pipe, so that each write is one read; the server over TCP.
func (r *reader) bridge(t *testing.T, route *Route) *bufio.ReadWriter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if conn, err := l.Accept(); err == nil {
			r.serve(conn)
			conn.Close()
		}
	}()
	route.Name, route.Servers = "test", []string{l.Addr().String()}
	p := &Proxy{Logger: slog.New(slog.DiscardHandler)}
	p.mu.Lock()
	p.prepare()
	p.mu.Unlock()
	near, far := net.Pipe()
	go p.accepted(near, newRunning(route, "shim.example.com"))
	far.SetDeadline(time.Now().Add(testPatience))
	t.Cleanup(func() {
		far.Close()
		p.Close()
		l.Close()
		<-served
	})
	return bufio.NewReadWriter(bufio.NewReader(far), bufio.NewWriterSize(far, 1<<20))
}

// code reads a reply.
func code(t *testing.T, c *bufio.ReadWriter) string {
	t.Helper()
	for {
		line, err := c.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", line, err)
		}
		if len(line) > 3 && line[3] == ' ' {
			return line[:3]
		}
	}
}

// says writes octets, in one write each, and gives the code of the answer.
func says(t *testing.T, c *bufio.ReadWriter, parts ...string) string {
	t.Helper()
	for _, part := range parts {
		c.WriteString(part)
		if err := c.Flush(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
	}
	return code(t, c)
}

func begin(t *testing.T, c *bufio.ReadWriter) {
	t.Helper()
	code(t, c)
	if got := says(t, c, "EHLO client.example.com\r\n"); got != "250" {
		t.Fatalf("EHLO got %s", got)
	}
}

func envelope(t *testing.T, c *bufio.ReadWriter) {
	t.Helper()
	if from, to := says(t, c, "MAIL FROM:<a@example.com>\r\n"), says(t, c, "RCPT TO:<b@example.net>\r\n"); from+to != "250250" {
		t.Fatalf("the envelope got %s and %s", from, to)
	}
}

// splits cuts s in two at every octet of its middle, and once not at all. Of a
// long one only the octets that matter are tried.
func splits(s string) [][]string {
	all := [][]string{{s}}
	for i := 1; i < len(s); i++ {
		if i < 40 || s[i] != 'x' || s[i-1] != 'x' {
			all = append(all, []string{s[:i], s[i:]})
		}
	}
	return all
}

func (r *reader) wantMessages(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.messages, want) {
		for i := range max(len(want), len(r.messages)) {
			if i >= len(want) || i >= len(r.messages) || want[i] != r.messages[i] {
				t.Fatalf("%d messages at the server, want %d; number %d: %.200q, want %.200q", len(r.messages), len(want), i,
					at(r.messages, i), at(want, i))
			}
		}
	}
	for _, c := range r.commands {
		if strings.Contains(c, "smuggled") {
			t.Fatalf("the server has heard %q", c)
		}
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(none)"
}

func TestOneMessageStaysOneMessage(t *testing.T) {
	certificate, _, err := smtptest.Certificate("mail.example.com", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, secure := range []*tls.Config{nil, {Certificates: []tls.Certificate{certificate}}} {
		for _, r := range readers() {
			if secure != nil && r.name != "strict" && r.name != "LF.LF" {
				continue
			}
			t.Run(fmt.Sprintf("%s, TLS %v", r.name, secure != nil), func(t *testing.T) {
				t.Parallel()
				r.secure = secure
				route := &Route{Limits: Limits{Messages: 1 << 20}}
				if secure != nil {
					route.ServerTLS.Mode = rewrite.ServerTLSOpportunistic
				}
				c := r.bridge(t, route)
				begin(t, c)
				var want []string
				for _, end := range textEnds {
					mended := end.mended
					if mended == "" {
						mended = end.sent
					}
					for _, parts := range splits(smuggledBegin + end.sent + smuggledRest + ".\r\n") {
						envelope(t, c)
						says(t, c, "DATA\r\n")
						if got := says(t, c, parts...); got != "250" {
							t.Fatalf("%q got %s", parts, got)
						}
						if got := says(t, c, "NOOP\r\n"); got != "250" { // as many replies as commands
							t.Fatalf("a NOOP behind %q got %s", parts, got)
						}
						want = append(want, smuggledBegin+mended+strings.TrimSuffix(smuggledRest, "\r\n"))
					}
				}
				r.wantMessages(t, want...)
			})
		}
	}
}

func TestARouteThatRefusesStrayOctetsDeliversNothingOfThem(t *testing.T) {
	for _, r := range readers() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, end := range textEnds {
				all := splits(smuggledBegin + end.sent + smuggledRest + ".\r\n")
				if r.name != "strict" {
					all = all[:1]
				}
				for _, parts := range all {
					r := &reader{name: r.name, lineEnds: r.lineEnds, textEnds: r.textEnds}
					refused(t, r, &Route{Rules: ruleIn(t, "stray-bytes", "refuse")}, end.mended != "" && end.mended != end.sent, parts,
						smuggledBegin+end.sent+smuggledRest)
				}
			}
		})
	}
}

// ruleIn is a rule in a mode of its, with others.
func ruleIn(t *testing.T, name, mode string, others ...string) *rewrite.Rules {
	t.Helper()
	rules, errs := heal.Compile(append(others, name), map[string]map[string]any{name: {"mode": mode}})
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

// refused sends one message: it is either refused, or comes as it is.
func refused(t *testing.T, r *reader, route *Route, refuses bool, parts []string, text string) {
	t.Helper()
	t.Run("", func(t *testing.T) {
		c := r.bridge(t, route)
		begin(t, c)
		envelope(t, c)
		says(t, c, "DATA\r\n")
		got := says(t, c, parts...)
		if refuses && got != "554" || !refuses && got != "250" {
			t.Fatalf("%.100q got %s", parts, got)
		}
		if refuses {
			r.wantMessages(t)
		} else {
			r.wantMessages(t, strings.TrimSuffix(text, "\r\n"))
		}
	})
}

func TestLongLinesAreFoldedOrRefusedWithoutASecondMessage(t *testing.T) {
	for _, r := range readers() {
		for _, do := range []string{"fold", "refuse"} {
			t.Run(fmt.Sprint(r.name, do), func(t *testing.T) {
				t.Parallel()
				for _, end := range textEnds {
					mended := end.mended
					if mended == "" {
						mended = end.sent
					}
					text := smuggledBegin + mended + smuggledRest
					long := strings.Contains(mended, "xx")
					r := &reader{name: r.name, lineEnds: r.lineEnds, textEnds: r.textEnds}
					var lines rewrite.Lines
					want := string(lines.Fold(nil, []byte(text)))
					refused(t, r, &Route{Rules: ruleIn(t, "long-lines", do)}, do == "refuse" && long,
						[]string{smuggledBegin + end.sent + smuggledRest + ".\r\n"}, want)
				}
			})
		}
	}
}

func TestChunksAreWhatTheyWereToEveryReader(t *testing.T) {
	for _, made := range []bool{false, true} { // DATA of BDAT
		for _, r := range readers() {
			t.Run(fmt.Sprint(r.name, " ", made), func(t *testing.T) {
				t.Parallel()
				route := &Route{Limits: Limits{Messages: 1 << 20}}
				if made {
					var errs []error
					if route.Rules, errs = heal.Compile([]string{"bdat-to-data"}, nil); errs != nil {
						t.Fatal(errs)
					}
				} else {
					r.keywords = []string{"CHUNKING"}
				}
				c := r.bridge(t, route)
				begin(t, c)
				var want []string
				for _, end := range textEnds {
					text := smuggledBegin + end.sent + smuggledRest
					for _, parts := range splits(text) {
						envelope(t, c)
						if len(parts) > 1 {
							if got := says(t, c, fmt.Sprintf("BDAT %d\r\n", len(parts[0])), parts[0]); got != "250" {
								t.Fatalf("a chunk got %s", got)
							}
						}
						last := parts[len(parts)-1]
						if got := says(t, c, fmt.Sprintf("BDAT %d LAST\r\n%s", len(last), last)); got != "250" {
							t.Fatalf("the last chunk got %s", got)
						}
						if got := says(t, c, "NOOP\r\n"); got != "250" {
							t.Fatalf("a NOOP behind %q got %s", parts, got)
						}
						if made {
							want = append(want, asText(text))
						} else {
							want = append(want, parts...)
						}
					}
				}
				r.wantMessages(t, want...)
			})
		}
	}
}

func TestARouteThatRefusesStrayOctetsDoesSoInChunksThatBecomeText(t *testing.T) {
	for _, test := range []struct{ rule, text, want string }{
		{"stray-bytes", "a\nb\r\n", "554"},
		{"stray-bytes", "a\r\nb\r", "554"},
		{"stray-bytes", "a\r\r\nb\r\n", "554"},
		{"stray-bytes", "a\r\nb\r\n", "250"},
		{"long-lines", long(999) + "\r\n", "554"},
		{"long-lines", long(998) + "\r\n", "250"},
	} {
		r := readers()[0]
		c := r.bridge(t, &Route{Rules: ruleIn(t, test.rule, "refuse", "bdat-to-data")})
		begin(t, c)
		envelope(t, c)
		says(t, c, fmt.Sprintf("BDAT 1\r\n%s", test.text[:1]))
		got := says(t, c, fmt.Sprintf("BDAT %d LAST\r\n%s", len(test.text)-1, test.text[1:]))
		if got != test.want {
			t.Errorf("%.20q got %s, want %s", test.text, got, test.want)
		}
		if r.mu.Lock(); len(r.messages) > 0 != (test.want == "250") {
			t.Errorf("%.20q: the server has %d messages", test.text, len(r.messages))
		}
		r.mu.Unlock()
	}
}

// A reply with a stray octet is as many replies to a lenient client.
func TestNoClientHearsMoreRepliesThanTheServerGave(t *testing.T) {
	for _, end := range textEnds {
		if end.mended == "" || end.mended == end.sent {
			continue
		}
		said := "250 first" + strings.Trim(end.sent, "x") + "250 second\r\n"
		want := "220 mail.example.com ESMTP\r\n"
		if strings.HasPrefix(said, "250 first\r\n") { // that is one
			want += "250 first\r\n"
		}
		t.Run(fmt.Sprintf("%q", said), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if heard := hears(said); heard != want+"421 4.3.0 server broke the protocol\r\n" {
					t.Errorf("the client hears %q", heard)
				}
			})
		})
	}
}

// hears is what a client is told that says one NOOP, and whose server says this.
func hears(said string) string {
	p := &Proxy{Logger: slog.New(slog.DiscardHandler)}
	p.dial = func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			smtptest.Play(theirs, testPatience, smtptest.Say("220 mail.example.com ESMTP"), smtptest.Expect("NOOP"), smtptest.Send(said))
			io.Copy(io.Discard, theirs)
			theirs.Close()
		}()
		return ours, nil
	}
	p.mu.Lock()
	p.prepare()
	p.mu.Unlock()
	defer p.Close()
	near, far := net.Pipe()
	defer far.Close()
	go p.accepted(near, newRunning(&Route{Name: "test", Servers: []string{"192.0.2.1:25"}}, "shim.example.com"))
	far.SetDeadline(time.Now().Add(testPatience))
	go io.WriteString(far, "NOOP\r\n")
	heard, _ := io.ReadAll(far)
	return string(heard)
}
