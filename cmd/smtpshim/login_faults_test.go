package main

import (
	"net"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
)

// attemptMail sends one message, and returns the last reply: the 250 of the message, or
// the first that is none.
func attemptMail(address string) (code int, text string, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, "", err
	}
	conn.SetDeadline(time.Now().Add(patience))
	c := textproto.NewConn(conn)
	defer c.Close()
	for _, line := range []string{"", "EHLO scanner.example.com", "MAIL FROM:<scanner@example.com>", "RCPT TO:<ben@example.net>", "DATA", "Subject: x\r\n\r\nx\r\n."} {
		if line != "" {
			c.PrintfLine("%s", line)
		}
		if code, text, err = c.ReadResponse(0); err != nil || code >= 400 {
			break
		}
	}
	c.PrintfLine("QUIT")
	return code, text, err
}

// mailsUntil tries until a message gets this reply.
func mailsUntil(t *testing.T, address string, want int) {
	t.Helper()
	late := time.Now().Add(patience)
	for code, text := 0, ""; code != want; {
		var err error
		if code, text, err = attemptMail(address); err != nil || time.Now().After(late) {
			t.Fatalf("it says %d %s, %v; not %d", code, text, err, want)
		}
	}
}

func TestNoMailIsSentAndNoneIsLostWhileTheTokenEndpointFails(t *testing.T) {
	for fault, want := range map[tokenFault]int{"silent": 454, "500": 454, "503": 454, "a page": 454, "no token": 454, "cut off": 454, "temporarily_unavailable": 454,
		"invalid_client": 535, "invalid_grant": 535, "unauthorized_client": 535} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			e := startTokenEndpoint(t)
			to, serverTLS := startOffice(t, nil)
			e.breaks(fault)
			r, address := startWithTokens(t, e, to, serverTLS, "client-credentials", "timeout = \"1s\"\n")
			for range 5 {
				if code, text, err := attemptMail(address); err != nil || code != want {
					t.Errorf("the client hears %d %s, %v; not %d", code, text, err, want)
				}
			}
			if n := len(to.Messages()); n > 0 {
				t.Errorf("%d messages are at the server", n)
			}
			e.breaks("")
			write(t, filepath.Join(filepath.Dir(r.path), "office.secret"), "another made-up secret\n") // a refusal is not asked about again before
			mailsUntil(t, address, 250)
			if n := len(to.Messages()); n != 1 {
				t.Errorf("%d messages are at the server, not 1", n)
			}
			if requests, most, _, _ := e.counted(); most != 1 {
				t.Errorf("of %d requests %d were under way at once", requests, most)
			}
		})
	}
}

func TestAnEndpointThatIsNotThereIsForNow(t *testing.T) {
	e := startTokenEndpoint(t)
	to, serverTLS := startOffice(t, nil)
	e.url = "http://" + freeAddress(t)
	_, address := startWithTokens(t, e, to, serverTLS, "client-credentials", "timeout = \"2s\"\n")
	if code, text, err := attemptMail(address); err != nil || code != 454 {
		t.Errorf("the client hears %d %s, %v; not 454", code, text, err)
	}
}

func TestAClockThatIsOffDoesNotKeepAnAccountOut(t *testing.T) {
	for _, off := range []time.Duration{-26 * time.Hour, 5 * time.Hour} {
		e := startTokenEndpoint(t)
		e.off = off
		to, serverTLS := startOffice(t, nil)
		_, address := startWithTokens(t, e, to, serverTLS, "client-credentials", "client_certificate = \"erp.pem\"\nclient_key = \"erp.key\"\n")
		if code, text, err := attemptMail(address); err != nil || code != 250 {
			t.Errorf("where the clocks differ by %v the client hears %d %s, %v", off, code, text, err)
		}
	}
}

// The server refuses from one moment on what it has taken all day: one client may hear
// 454, and the next token is got once for all.
func TestATokenThatIsRefusedInTheMiddleOfTheDayIsReplaced(t *testing.T) {
	p := startProvider(t)
	_, address := startLogins(t, p)
	sendAsScanner(t, address, "250")
	second := "second-made-up-token"
	p.token.Store(&second)
	var sent, later atomic.Int32
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			switch code, text, err := attemptMail(address); {
			case err != nil:
				t.Error(err)
			case code == 250:
				sent.Add(1)
			case code == 454:
				later.Add(1)
			default:
				t.Errorf("a client hears %d %s", code, text)
			}
		})
	}
	clients.Wait()
	mailsUntil(t, address, 250)
	if n := p.requests.Load(); n != 2 {
		t.Errorf("%d requests for a token, %d sent, %d told to come again; want 2 requests", n, sent.Load(), later.Load())
	}
}

func TestAThousandSessionsOfOneAccountAreServedThreeAtATime(t *testing.T) {
	var inside, most atomic.Int32
	e := startTokenEndpoint(t)
	to, serverTLS := startOffice(t, func(s *smtptest.Server) {
		s.Replies.Data = []smtptest.Text{{Line: "354-Line 1", Evidence: "KB 912341"}, {Line: "354 Send message", Evidence: "KB 912341"}}
		s.GapFunc = func() {
			for n := inside.Add(1); n > most.Load(); {
				most.Store(n)
			}
			inside.Add(-1)
		}
	})
	r, address := startWithTokens(t, e, to, serverTLS, "client-credentials", "sessions = 3\nwait = \"1s\"\n")
	var sent, later atomic.Int32
	var clients sync.WaitGroup
	room := make(chan struct{}, 250) // a thousand ports and descriptors more than the machine may have
	for range 1000 {
		clients.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			switch code, text, err := attemptMail(address); {
			case err != nil:
				t.Errorf("a session ends with %v", err)
			case code == 250:
				sent.Add(1)
			case code == 451 && strings.HasPrefix(text, "4.3.2"):
				later.Add(1)
			default:
				t.Errorf("a client hears %d %s", code, text)
			}
		})
	}
	clients.Wait()
	if n := len(to.Messages()); n != int(sent.Load()) || sent.Load() == 0 || sent.Load()+later.Load() != 1000 {
		t.Errorf("%d clients heard yes and %d to come again; %d messages are at the server", sent.Load(), later.Load(), n)
	}
	if n := most.Load(); n > 3 {
		t.Errorf("%d at once at the server", n)
	}
	if requests, _, _, _ := e.counted(); requests != 1 {
		t.Errorf("%d requests for a token", requests)
	}
	mailsUntil(t, address, 250) // no place was lost
	for range 3 {
		say := connectTo(t, address, "220")
		say("HELO scanner.example.com", "250")
		say("MAIL FROM:<scanner@example.com>", "250")
	}
	if code, text, err := attemptMail(address); err != nil || code != 451 {
		t.Errorf("where all three places are taken a client hears %d %s, %v", code, text, err)
	}
	if _, metrics := r.get("/metrics"); !strings.Contains(metrics, `smtpshim_token_requests_total{account="office",outcome="ok"} 1`) {
		t.Error("the request is not counted")
	}
}
