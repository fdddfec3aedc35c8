package listen

import (
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
	"unicode"
)

// Whatever a client sends, its session ends, and what is told of it is printable.
func FuzzClient(f *testing.F) {
	for _, seed := range []string{
		"EHLO a.example.com\r\n" + mailFrom + " BODY=8BITMIME\r\n" + rcptTo + "\r\nDATA\r\n" + whole + ".\r\nQUIT\r\n",
		"HELO a\nMAIL FROM: a\nRCPT TO:<x <b@example.net>>\nDATA\nx\n.\nQUIT\n",
		"EHLO a\r\nAUTH PLAIN AHUAcA==\r\nAUTH LOGIN\r\ndQ==\r\ncA==\r\nXAUTH=NTLM TlRMTVNTUAABAAAAAAAAAA==\r\n",
		"EHLO a\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\n\x00\rBDAT -1\r\n",
		"STARTTLS\r\n\x16\x03\x01\x00\x05hello", "\x16\x03\x01", "GET / HTTP/1.1\r\n", "\x1b]0;x\x07\r\n", "EHLO\r\nehlo =\r\n EHLO:\r\n",
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(255))
	}
	f.Fuzz(func(t *testing.T, octets []byte, is uint8) {
		near, far := net.Pipe()
		go func() {
			near.Write(octets)
			near.Close()
		}()
		go io.Copy(io.Discard, near)
		l := &Listener{Hostname: "probe.example.com", Timeout: time.Second}
		c := &Caller{Client: netip.MustParseAddr("192.0.2.7"), tried: map[string]bool{}, base: traits(is)}
		s := newSession(l, far, c)
		s.run()
		v := c.learn(s)
		told, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range string(told) {
			if !unicode.IsPrint(c) {
				t.Fatalf("%q is told", told)
			}
		}
		for _, finding := range v.Faults {
			for _, seen := range append(finding.Seen, finding.Means, v.Ended) {
				for _, c := range seen {
					if c < ' ' || c > '~' {
						t.Fatalf("%q is told of %s", seen, finding.Name)
					}
				}
			}
		}
		Route([]Caller{*c}, "127.0.0.1:25", "192.0.2.1:25")
	})
}
