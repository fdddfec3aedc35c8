package probe

import (
	"bytes"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// heard is a connection on which these octets come, and then nothing.
type heard struct {
	net.Conn
	octets *bytes.Reader
}

func (h heard) Read(p []byte) (int, error) {
	if h.octets.Len() == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return h.octets.Read(p)
}

func (heard) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }
func (heard) Write(p []byte) (int, error)      { return len(p), nil }
func (heard) SetReadDeadline(time.Time) error  { return nil }
func (heard) SetWriteDeadline(time.Time) error { return nil }

func hears(octets string) *conversation {
	return converse(heard{octets: bytes.NewReader([]byte(octets))}, times{})
}

func TestAReplyIsReadToItsEnd(t *testing.T) {
	for _, c := range []struct {
		octets, texts string
		code          int
		open, lost    bool
	}{
		{"250 ok\r\n", "ok", 250, false, false},
		{"250-a\r\n250 b\r\n", "a|b", 250, false, false},
		{"250-a\r\n", "a", 250, true, false},
		{"250-a\r\nb\r\n250 c\r\n", "a|b|c", 250, false, false},
		{"", "", 0, false, true},
		{"what?\r\n", "what?", 0, false, true},
		{"250", "", 0, false, true},
		{"250\r\n", "", 250, false, false},
		{"999 ok\r\n", "999 ok", 0, false, true},
	} {
		r := hears(c.octets).hear(0, false)
		if got := strings.Join(r.texts(), "|"); got != c.texts || r.code != c.code || r.open != c.open || (r.lost != nil) != c.lost {
			t.Errorf("%q: got %q, code %d, open %v, lost %v", c.octets, got, r.code, r.open, r.lost)
		}
	}
}

func FuzzReplies(f *testing.F) {
	for _, s := range []string{"220 mail.example.com ESMTP\r\n250-a\r\n250-SIZE 0\r\n250 AUTH=LOGIN\r\n250 ok\r\n", "250-\n\x00\r250 \xff", "220", "354-a\r\n354 b\r\n", "421 bye\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, octets string) {
		c := hears(octets)
		v := &visit{talk: c, offer: offer{}, verb: "EHLO"}
		v.greeted = c.greeting()
		v.lookAtForm(v.greeted)
		if v.greeted.lines != nil {
			v.lookAtHost(v.greeted)
		}
		for _, command := range []string{"EHLO a", "NOOP", "AUTH LOGIN"} {
			e := v.say(command)
			v.lookAtOffer(e, offerOf(e.reply))
		}
		v.products()
		for _, finding := range v.report.Findings {
			for _, line := range append(finding.Seen, finding.Means, finding.Heals) {
				if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
					t.Errorf("%q is not printable", line)
				}
			}
		}
	})
}
