//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

func TestAThousandMessagesArriveAsSent(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{})
	through := startShim(t, shimOptions{server: to.Addr})
	clients, each, big := 8, 125, 50<<20
	if smtptest.RaceDetected() {
		each, big = 25, 5<<20
	}
	want := map[string][sha256.Size]byte{} // what was sent, by subject
	t.Run("sending", func(t *testing.T) {
		for c := range clients {
			bodies := map[string][]byte{}
			for n := c * each; n < (c+1)*each; n++ {
				bodies[fmt.Sprintf("Subject: %d", n)] = oddBody(n)
			}
			if c == 0 {
				bodies["Subject: big"] = bigBody(big)
			}
			for subject, body := range bodies {
				want[subject] = sha256.Sum256(body)
			}
			t.Run(fmt.Sprint(c), func(t *testing.T) {
				t.Parallel()
				sendAll(t, through.addr, bodies)
			})
		}
	})

	got := to.Messages(t, len(want))
	if len(got) != len(want) {
		t.Errorf("%d messages arrived instead of %d", len(got), len(want))
	}
	for _, m := range got {
		_, rest, _ := strings.Cut(m.Header, "\nSubject: ")
		number, _, _ := strings.Cut(rest, "\n")
		subject := "Subject: " + number
		sum, sent := want[subject]
		if delete(want, subject); !sent {
			t.Errorf("%q arrived twice, or was never sent", subject)
		} else if sum != sha256.Sum256(m.Body) {
			t.Errorf("%q is not as it was sent: %d octets that begin with %.100q", subject, len(m.Body), m.Body)
		}
	}
}

// sendAll sends messages with these bodies, by their first header lines, one
// after the other over one connection, with PIPELINING.
func sendAll(t *testing.T, addr string, bodies map[string][]byte) {
	c := dial(t, addr)
	c.say("EHLO client.example.com")
	for subject, body := range bodies {
		c.say("MAIL FROM:<sender@example.com> BODY=8BITMIME", "RCPT TO:<recipient@example.com>", "DATA")
		text := bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))
		text = bytes.ReplaceAll(text, []byte("\r\n."), []byte("\r\n.."))
		if bytes.HasPrefix(text, []byte(".")) {
			text = append([]byte("."), text...)
		}
		c.send([]byte(subject + "\r\n\r\n" + string(text) + ".\r\n"))
		c.hear("250")
	}
	c.say("QUIT")
}

// oddBody is the n-th body: of each kind that has once been broken by some program.
func oddBody(n int) []byte {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	var b bytes.Buffer
	for range random.IntN(40) {
		switch random.IntN(6) {
		case 0:
			b.WriteString(strings.Repeat(".", random.IntN(4))) // as the end of a message, and nearly
		case 1:
			b.WriteString("." + strings.Repeat("x", random.IntN(80)))
		case 2: // octets of 8 bits, and all of 7 that are no line ends and no NUL
			for range random.IntN(200) {
				if octet := byte(1 + random.IntN(255)); octet != '\r' && octet != '\n' {
					b.WriteByte(octet)
				}
			}
		case 3:
			b.WriteString(strings.Repeat("long line ", 99)) // 990
		case 4:
			b.WriteString("QUIT")
		case 5:
			b.WriteString("text that ends in a blank ")
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// bigBody is a body of at least size octets.
func bigBody(size int) []byte {
	var b bytes.Buffer
	for n := 0; b.Len() < size; n++ {
		b.Write(oddBody(n))
	}
	return b.Bytes()
}
