package listen

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/probe"
	"smtpshim/proxy/smtptest"
)

// patience bounds what has to happen at once.
const patience = 20 * time.Second

// start has a listener listen on loopback. Its sessions are over when the test is.
func start(t *testing.T, set func(*Listener)) (l *Listener, addr string, visits chan Visit) {
	t.Helper()
	visits = make(chan Visit, 100)
	l = &Listener{Hostname: "probe.example.com", Timeout: patience, Pause: time.Millisecond, Visited: func(v Visit) { visits <- v }}
	if set != nil {
		set(l)
	}
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(at) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l, at.Addr().String(), visits
}

// withTLS has certificates of its own making.
func withTLS(t *testing.T) func(*Listener) {
	t.Helper()
	acceptor, err := Acceptor(t.TempDir(), "probe.example.com", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return func(l *Listener) { l.TLS = acceptor }
}

// visit waits for a session to be over.
func visit(t *testing.T, visits chan Visit) Visit {
	t.Helper()
	select {
	case v := <-visits:
		return v
	case <-time.After(patience):
		t.Fatal("no session is over")
		return Visit{}
	}
}

func names(list []probe.Finding) (names []string) {
	for _, f := range list {
		names = append(names, f.Name)
	}
	return names
}

var message = smtptest.Message{From: "sender@example.com", To: []string{"recipient@example.net"},
	Body: []byte("Date: Mon, 1 Feb 1999 10:00:00 +0000\r\nFrom: sender@example.com\r\nMessage-ID: <1@example.com>\r\n\r\n.a dot\r\nhello\r\n")}

// Each stand-in, with the wrongs that can be seen of it. What cannot be seen is said.
func TestEachStandInIsFoundOut(t *testing.T) {
	set := withTLS(t)
	unbelieving := &tls.Config{ServerName: "probe.example.com"}
	believing := &tls.Config{InsecureSkipVerify: true}
	for _, test := range []struct {
		name    string
		change  func(*smtptest.Client)
		through string   // the form in which it comes through
		entries []string // of faults
		faults  string
		rules   []string
	}{
		{"exchange-5.0", nil, "a server with AUTH=LOGIN, XAUTH and NTLM", []string{"L30"}, "xauth", []string{"translate-xauth"}},
		// Its answer to an error of EHLO, HELO, is right; that it bounces after a 5xx to MAIL is the server's doing (L107).
		{"exchange-5.5", nil, "a modern server", nil, "", nil},
		{"exchange-5.5", func(c *smtptest.Client) { *c = c.WithAuth(smtptest.AuthInitial) }, "a modern server", []string{"L33"}, "auth-not-offered", nil},
		{"exchange-5.5", func(c *smtptest.Client) { c.TLS = believing }, "a modern server", []string{"L24"}, "no-ehlo-after-tls", []string{"repeat-ehlo"}},
		{"windows-2003", nil, "a modern server", []string{"L60"}, "reads-one-line-of-354", []string{"join-data-reply"}},
		{"notes", nil, "a modern server", []string{"L25", "L21"}, "hello-dot needs-ehlo", // HELO behind 501 alone
			[]string{"fix-hello-name", "fall-back-to-helo"}},
		{"needs-esmtp", nil, "a modern server", []string{"L02"}, "needs-esmtp", []string{"advertise-esmtp"}},
		{"modern", nil, "a modern server", nil, "", nil},
		{"modern", func(c *smtptest.Client) { c.TLS = believing }, "a modern server", nil, "", nil},
		{"modern", func(c *smtptest.Client) { c.TLS = unbelieving }, "", nil, "", nil}, // it sends nothing without TLS
	} {
		client, ok := smtptest.LookupClient(test.name)
		if !ok {
			t.Fatalf("there is no stand-in %s", test.name)
		}
		if test.change != nil {
			test.change(&client)
		}
		client.Timeout = patience
		l, addr, visits := start(t, func(l *Listener) {
			set(l)
			if client.FirstLine != smtptest.FirstLineNever {
				l.waits = func(at string) time.Duration {
					if at == "DATA" {
						return patience // it speaks at once
					}
					return 0
				}
			}
		})
		dial := func() (net.Conn, error) { return net.Dial("tcp", addr) }
		for range len(formTable) {
			client.Deliver(dial, message)
			if visit(t, visits).Next == "" {
				break
			}
		}
		callers := l.Callers()
		if len(callers) != 1 {
			t.Errorf("%s: %d callers", test.name, len(callers))
			continue
		}
		c := callers[0]
		var entries, rules []string
		for _, f := range c.Faults {
			if !slices.Contains(entries, f.Entry) {
				entries = append(entries, f.Entry)
			}
			if f.Rule != "" && !slices.Contains(rules, f.Rule) {
				rules = append(rules, f.Rule)
			}
		}
		if c.Through != test.through || strings.Join(names(c.Faults), " ") != test.faults || !slices.Equal(entries, test.entries) {
			t.Errorf("%s came through at %q with the faults %q of %q; notes %q, can %q", test.name, c.Through, names(c.Faults), entries, names(c.Notes), c.Can)
		}
		if !slices.Equal(rules, test.rules) {
			t.Errorf("%s needs the rules %q, and not %q", test.name, test.rules, rules)
		}
		if len(c.Untried) != 0 {
			t.Errorf("%s has not met %q", test.name, c.Untried)
		}
	}
}

func TestEveryStandInIsLookedAt(t *testing.T) {
	var known []string
	for _, c := range smtptest.Clients() {
		known = append(known, c.Name)
	}
	if want := []string{"exchange-5.0", "exchange-5.5", "windows-2003", "notes", "needs-esmtp", "modern"}; !slices.Equal(known, want) {
		t.Errorf("the stand-ins are %q; look at the new ones in TestEachStandInIsFoundOut", known)
	}
}
