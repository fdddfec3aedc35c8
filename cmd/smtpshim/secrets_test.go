package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The secrets of these tests: what a client says of itself, what was worked out of
// it, what a server says, and somebody's mail.
const (
	secretUser     = "anna+office"
	secretPassword = "Correct/Horse&Battery=7?"
	secretDigest   = "b913a602c7eda7a495b4e6e7334d3890"
	secretNTLM     = "NTLMSSP\x00\x03\x00\x00\x00sealed-with-a-kiss>>>???"
	secretText     = "Meet me at <midnight> & bring the ~~key~~"
)

// marker is in every EHLO, and no secret.
const marker = "marker.example.com"

func inBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// spellings are the forms in which a secret could be told: as it is, for a page,
// for a URL, and in base64 wherever in a longer text it began.
func spellings(secret string) []string {
	list := []string{secret}
	for shift := range 3 {
		whole := inBase64("xx"[:shift] + secret)
		inner := whole[(shift*8+5)/6 : (shift+len(secret))*8/6] // no digit has a bit of what is around it
		list = append(list, inner, strings.NewReplacer("+", "-", "/", "_").Replace(inner))
	}
	for _, s := range list[:len(list):len(list)] {
		list = append(list, url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s))
	}
	return list
}

// A confession is a client that says secrets, and what the server answers: one
// line after the other, and then 500 with what it was told.
type confession struct{ says, answers []string }

func confessions() map[string]confession {
	plain, user, password := inBase64("\x00"+secretUser+"\x00"+secretPassword), inBase64(secretUser), inBase64(secretPassword)
	digest, ntlm := inBase64(secretUser+" "+secretDigest), inBase64(secretNTLM)
	long := inBase64(strings.Repeat(secretPassword, 4000))
	list := map[string]confession{
		"PLAIN":                {[]string{"AUTH PLAIN " + plain}, []string{"235 ok"}},
		"PLAIN, refused":       {[]string{"AUTH PLAIN " + plain}, []string{"535 no"}},
		"PLAIN, behind 334":    {[]string{"AUTH PLAIN", plain}, []string{"334 ", "235 ok"}},
		"LOGIN":                {[]string{"AUTH LOGIN", user, password}, []string{"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 ok"}},
		"LOGIN with the user":  {[]string{"AUTH LOGIN " + user, password}, []string{"334 UGFzc3dvcmQ6", "535 no"}},
		"LOGIN, does not wait": {[]string{"AUTH LOGIN\r\n" + user + "\r\n" + password}, []string{"504 no"}},
		"CRAM-MD5":             {[]string{"AUTH CRAM-MD5", digest}, []string{"334 " + inBase64("<"+secretDigest+"@mail.example.com>"), "235 ok"}},
		"DATA":                 {[]string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", secretText + "\r\n."}, []string{"250 ok", "250 ok", "354 go", "250 ok"}},
		"DATA, refused":        {[]string{"DATA", secretText, secretPassword}, []string{"554 no"}},
		"DATA, does not wait":  {[]string{"DATA\r\n" + secretText + "\r\n."}, []string{"554 no"}},
		"BDAT":                 {[]string{fmt.Sprintf("BDAT %d LAST\r\n%s", len(secretText), secretText)}, nil},
		"too long":             {[]string{"AUTH PLAIN " + long}, nil},
		"too long, behind 334": {[]string{"AUTH PLAIN", long}, []string{"334 "}},
		"no CR, behind 334":    {[]string{"AUTH PLAIN", plain + "\n"}, []string{"334 "}},
		"NTLM, two lines":      {[]string{"AUTH NTLM", "*"}, []string{"334-" + ntlm + "\r\n334 " + ntlm, "501 ok"}},
		"NTLM, no reply":       {[]string{"AUTH NTLM"}, []string{"334 " + ntlm + "\n"}},
		"NTLM, mixed":          {[]string{"AUTH NTLM"}, []string{"334-" + ntlm + "\r\n235 " + ntlm}},
		"NTLM, to nobody":      {[]string{"NOOP"}, []string{"334 " + ntlm}},
		"POP":                  {[]string{"USER " + secretUser, "PASS " + secretPassword}, nil},
		"confused":             {[]string{"AUTH LOGIN", user, password, "USER " + secretUser, plain, secretPassword}, nil},
		"confused by NTLM":     {[]string{"AUTH NTLM", ntlm, "AUTH " + ntlm, digest}, nil},
	}
	for _, verb := range []string{"AUTH NTLM", "XAUTH NTLM", "XAUTH=NTLM", "XAUTH NTLMSSP", "XAUTH", "X-EXPS NTLM"} {
		challenge := []string{"334 " + ntlm, "235 ok"}
		list[verb] = confession{[]string{verb, ntlm}, challenge}
		list[verb+" at once"] = confession{[]string{verb + " " + ntlm, ntlm}, challenge}
		list[verb+", refused"] = confession{[]string{verb + " " + ntlm}, nil}
	}
	for _, line := range []string{"AUTH %s", "AUTH=%s", "AUTH:%s", "AUTH=PLAIN %s", "AUTH\tPLAIN\t%s", "  auth   plain   %s", "AUTH %s x", "AUTH X %s",
		"AUTH PLAIN %s\n", "AUTH\x00PLAIN %s", "auth\rPLAIN %s", "\x00AUTH PLAIN %s", "AUTH PLAIN %s\x00"} {
		list[fmt.Sprintf("%q", line)] = confession{[]string{fmt.Sprintf(line, plain)}, nil}
	}
	return list
}

// A confessor is the server: it knows by the name in EHLO what it answers.
type confessor struct {
	answers map[string][]string
	mu      sync.Mutex
	heard   bytes.Buffer
}

func (c *confessor) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go c.answer(conn)
	}
}

func (c *confessor) answer(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "220 mail.example.com ESMTP\r\n")
	var answers []string
	text := false
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		c.mu.Lock()
		c.heard.WriteString(line)
		c.mu.Unlock()
		line = strings.TrimSuffix(line, "\r\n")
		hello, isHello := strings.CutPrefix(line, "EHLO ")
		answer := "500 what is " + line
		switch {
		case text && line != ".":
			continue
		case isHello:
			answers, answer = c.answers[hello], "250-mail.example.com\r\n250 AUTH PLAIN LOGIN CRAM-MD5 NTLM"
		case line == "QUIT":
			answer = "221 bye"
		case len(answers) > 0:
			answer, answers = answers[0], answers[1:]
		}
		text = strings.HasPrefix(answer, "354")
		fmt.Fprintf(conn, "%s\r\n", answer)
	}
}

// confess is one session of a client, with TLS if it may be had. Whatever goes
// wrong after EHLO is part of it.
func confess(t *testing.T, address, hello string, encrypted bool, says []string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close() }()
	conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	say := func(line string) (code string) {
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		for {
			reply, err := r.ReadString('\n')
			if err != nil || len(reply) < 4 {
				return ""
			}
			if reply[3] != '-' {
				return reply[:3]
			}
		}
	}
	codes := say("") + say("EHLO "+hello)
	if encrypted {
		codes += say("STARTTLS")
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		r = bufio.NewReader(conn)
		codes += say("EHLO " + hello)
	}
	if codes != "220250" && codes != "220250220250" {
		t.Fatalf("%s: the session begins with %q", hello, codes)
	}
	for _, line := range says {
		if say(line) == "" {
			return
		}
	}
	say("QUIT")
}

// A heard is what somebody was told, while it still goes on.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newHeard() *heard { return &heard{more: make(chan struct{}, 1)} }

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case h.more <- struct{}{}:
	default:
	}
	return h.text.Write(b)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// wait waits until something was told so many times.
func (h *heard) wait(t *testing.T, what string, n int) {
	t.Helper()
	timeout := time.After(patience)
	for strings.Count(h.String(), what) < n {
		select {
		case <-h.more:
		case <-timeout:
			t.Fatalf("%q was told %d times of %d", what, strings.Count(h.String(), what), n)
		}
	}
}

// TestNoSecretLeavesTheProgram has clients confess to a server through the whole
// program, and looks at everything that it tells.
func TestNoSecretLeavesTheProgram(t *testing.T) {
	configDir(t)
	list := confessions()
	server := &confessor{answers: map[string][]string{}}
	names := map[string]string{}
	for name, c := range list {
		hello := fmt.Sprintf("c%d.%s", len(names), marker)
		names[name], server.answers[hello] = hello, c.answers
	}
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go server.serve(l)
	routes := map[string]string{"clear": freeAddress(t), "encrypted": freeAddress(t)}
	admin, dir := freeAddress(t), t.TempDir()
	text := fmt.Sprintf("admin.listen = %q\nlog.level = \"debug\"\n", admin)
	for name, address := range routes {
		text += fmt.Sprintf("[[route]]\nname = %q\nlisten = [%q]\nservers = [%q]\nrecord.dir = %q\n", name, address, l.Addr(), dir)
		if name == "encrypted" {
			text += "client_tls = {mode = \"offer\", certificate = \"cert.pem\", key = \"key.pem\"}\n"
		}
	}
	write(t, "smtpshim.toml", text)

	log, events, watched := newHeard(), newHeard(), newHeard()
	signals, status := make(chan os.Signal, 4), make(chan int, 1)
	go func() { status <- serve("smtpshim.toml", signals, log, atLarge) }()
	defer close(signals)
	log.wait(t, "msg=started", 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	listen(t, ctx, "http://"+admin+"/events", events, watched)
	get := func(path string) string {
		r := &running{t: t, admin: admin}
		code, body := r.get(path)
		if code != http.StatusOK {
			t.Fatalf("%s: %d\n%s", path, code, body)
		}
		return body
	}

	told := map[string]string{}
	sessions := 0
	for route, address := range routes {
		for name, c := range list {
			confess(t, address, names[name], route == "encrypted", c.says)
			sessions++
			events.wait(t, `"kind":"ended"`, sessions) // a page has the last 50
			if sessions%40 == 0 {
				told[fmt.Sprintf("the page after %d sessions", sessions)] = get("/")
			}
		}
	}
	told["the page"] = get("/")
	told["/metrics"] = get("/metrics")
	watched.wait(t, " message", sessions) // of their ends
	signals <- syscall.SIGTERM
	if got := <-status; got != succeeded {
		t.Errorf("exit status %d", got)
	}
	told["the log"], told["/events"], told["watch"] = log.String(), events.String(), watched.String()
	told["recordings"] = contents(t, dir, sessions)
	for where, what := range told {
		if strings.Contains(what, marker) == (where == "/metrics") {
			t.Errorf("that %s has the name in EHLO is %v; it is %d octets", where, where == "/metrics", len(what))
		}
	}
	if !strings.Contains(told["/metrics"], `smtpshim_commands_total{route="encrypted",verb="xauth"}`) {
		t.Error("the metrics count no XAUTH")
	}
	wantNoSecrets(t, told, server)
}

// listen has events heard as they are served, and as watch prints them.
func listen(t *testing.T, ctx context.Context, from string, events, watched io.Writer) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer answer.Body.Close()
		io.Copy(events, answer.Body)
	}()
	connected := make(chan struct{})
	w := watching{url: from, out: demoOutput{watched, false}, notes: watched}
	go w.follow(ctx, func() { close(connected) })
	select {
	case <-connected:
	case <-time.After(patience):
		t.Fatal("watch does not connect")
	}
}

// contents is what all the files of a directory have, and their names.
func contents(t *testing.T, dir string, files int) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) < files {
		t.Fatalf("%d recordings of %d sessions, %v", len(names), files, err)
	}
	var all strings.Builder
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s", filepath.Base(name), data)
	}
	return all.String()
}

// wantNoSecrets reports the secrets that are in what was told, and those that the
// server was not told.
func wantNoSecrets(t *testing.T, told map[string]string, server *confessor) {
	t.Helper()
	server.mu.Lock()
	heard := server.heard.String()
	server.mu.Unlock()
	for _, secret := range []string{secretUser, secretPassword, secretDigest, secretNTLM, secretText} {
		arrived := false
		for _, form := range spellings(secret) {
			arrived = arrived || strings.Contains(heard, form)
			for where, what := range told {
				if at := strings.Index(what, form); at >= 0 {
					t.Errorf("%q, which is %q, is in %s: %q", form, secret, where, what[max(0, at-200):min(len(what), at+200)])
				}
			}
		}
		if !arrived {
			t.Errorf("%q did not get through to the server", secret)
		}
	}
}
