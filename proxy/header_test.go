package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A sayer is a connection on which this is all that comes.
type sayer struct {
	net.Conn
	*strings.Reader
}

func (s sayer) Read(b []byte) (int, error)      { return s.Reader.Read(b) }
func (s sayer) SetReadDeadline(time.Time) error { return nil }
func (s sayer) RemoteAddr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7} }
func (s sayer) Close() error                    { return errors.New("closed by the parser") }

const peerAddress = "127.0.0.1:7" // of a sayer

func TestAHeaderThatIsRightGivesTheClientsAddress(t *testing.T) {
	longest := "PROXY UNKNOWN " + strings.Repeat("f", maxHeader-len("PROXY UNKNOWN \r\n")) + "\r\n"
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n":         "192.0.2.7:56324",
		"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n": "255.255.255.255:65535",
		"PROXY TCP4 192.0.2.7 192.0.2.8 0 0\r\n":                 "192.0.2.7:0",
		"PROXY TCP6 2001:db8::7 2001:db8::1 1 25\r\n":            "[2001:db8::7]:1",
		"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 25\r\n":       "192.0.2.7:1",
		"PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 1 25\r\n":           "[2001:db8::7]:1",
		"PROXY UNKNOWN\r\n":                                      peerAddress,
		"PROXY UNKNOWN ff:ff ::1 65535 65535\r\n":                peerAddress,
		"PROXY UNKNOWN anything at all, even \x1b\x00\r\n":       peerAddress,
		longest: peerAddress,
	} {
		conn := sayer{nil, strings.NewReader(header + "EHLO x\r\n")}
		got, err := readHeader(conn, time.Second)
		if err != nil || got.String() != want {
			t.Errorf("%q: %v, %v; want %s", header, got, err, want)
		}
		if rest, _ := io.ReadAll(conn.Reader); string(rest) != "EHLO x\r\n" {
			t.Errorf("%q: %q is left", header, rest)
		}
	}
}

// The cases are what go-proxyproto lets through, and more.
func TestAHeaderThatIsWrongIsRefused(t *testing.T) {
	for _, said := range []string{
		// no header at all
		"", "EHLO x\r\n", "GET / HTTP/1.1\r\n", "\r\n", "\r\nPROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
		"proxy TCP4 192.0.2.7 192.0.2.8 1 2\r\n", " PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", "PROXY\tTCP4 192.0.2.7 192.0.2.8 1 2\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "\x16\x03\x01\x02\x00\x01", "PROXYTCP4 192.0.2.7 192.0.2.8 1 2\r\n",
		// no end, or a wrong one
		"P", "PROXY ", "PROXY TCP4 192.0.2.7 192.0.2.8 1 2", "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r",
		"PROXY TCP4 192.0.2.7 192.0.2.8 1 25\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1 25\n\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1 25\r\r\n",
		"PROXY UNKNOWN\n", "PROXY UNKNOWN\rx\r\n", "PROXY TCP4\r192.0.2.7 192.0.2.8 1 2\r\n",
		"PROXY UNKNOWN " + strings.Repeat("f", maxHeader-len("PROXY UNKNOWN \r\n")+1) + "\r\n",
		"PROXY TCP4 " + strings.Repeat("1", 1<<20) + "\r\n",
		// fields too few, too many, empty
		"PROXY \r\n", "PROXY TCP4\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1 2 3\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.8 1 2 \r\n", "PROXY TCP4  192.0.2.7 192.0.2.8 1 2\r\n", "PROXY TCP4 192.0.2.7  1 2\r\n",
		"PROXY UNKNOWNX\r\n", "PROXY unknown\r\n", "PROXY UDP4 192.0.2.7 192.0.2.8 1 2\r\n", "PROXY tcp4 192.0.2.7 192.0.2.8 1 2\r\n",
		// addresses that are none, or of the other family
		"PROXY TCP4 2001:db8::7 192.0.2.8 1 2\r\n", "PROXY TCP4 192.0.2.7 2001:db8::7 1 2\r\n", "PROXY TCP6 192.0.2.7 2001:db8::7 1 2\r\n",
		"PROXY TCP6 2001:db8::7 192.0.2.7 1 2\r\n", "PROXY TCP6 fe80::1%eth0 2001:db8::7 1 2\r\n", "PROXY TCP4 192.0.2.07 192.0.2.8 1 2\r\n",
		"PROXY TCP4 192.0.2 192.0.2.8 1 2\r\n", "PROXY TCP4 256.0.0.1 192.0.2.8 1 2\r\n", "PROXY TCP4 localhost 192.0.2.8 1 2\r\n",
		"PROXY TCP6 [2001:db8::7] 2001:db8::1 1 2\r\n",
		// ports that are none
		"PROXY TCP4 192.0.2.7 192.0.2.8 -1 25\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1 +25\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1 0025\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.8 65536 25\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1 65536\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 0x1 2\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\x00\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 00 2\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1_0 2\r\n",
	} {
		conn := sayer{nil, strings.NewReader(said)}
		if got, err := readHeader(conn, time.Second); err == nil {
			t.Errorf("%q was taken for %v", said, got)
		}
		if read := len(said) - conn.Len(); read > maxHeader {
			t.Errorf("%d octets of a header were read", read)
		}
	}
}

// wellFormed is the specification as a pattern; addresses and ports are parsed beside it.
var wellFormed = regexp.MustCompile(`^PROXY (UNKNOWN(?: [^\n]*)?|(TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ([0-9]+) ([0-9]+))\r\n`)

func FuzzHeader(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.7 192.0.2.8 1 25\r\nEHLO x\r\n", "PROXY TCP6 2001:db8::7 2001:db8::1 65535 25\r\n", "PROXY UNKNOWN x\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.8 1 25\n", "EHLO x\r\n", "PROXY TCP4 ::1 192.0.2.8 1 2\r\n", "PROXY UNKNOWN\rx\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		conn := sayer{nil, strings.NewReader(string(said))}
		got, err := readHeader(conn, time.Second)
		read := said[:len(said)-conn.Len()]
		if len(read) > maxHeader {
			t.Fatalf("%d octets were read of %q", len(read), said)
		}
		if err != nil {
			return
		}
		m := wellFormed.FindSubmatch(said)
		if m == nil || !bytes.Equal(read, m[0]) || bytes.IndexByte(read[:len(read)-2], '\r') >= 0 {
			t.Fatalf("%q was taken for a header of %q", read, said)
		}
		if len(m[2]) == 0 {
			if got.String() != peerAddress {
				t.Fatalf("%q gave %v", read, got)
			}
			return
		}
		want, err := netip.ParseAddrPort("[" + string(m[3]) + "]:" + string(m[5]))
		if string(m[2]) == "TCP4" {
			want, err = netip.ParseAddrPort(string(m[3]) + ":" + string(m[5]))
		}
		if err != nil || netip.AddrPortFrom(want.Addr().Unmap(), want.Port()) != got {
			t.Fatalf("%q gave %v, want %v, %v", read, got, want, err)
		}
	})
}
