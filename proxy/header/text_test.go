package header

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
func (s sayer) LocalAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }
func (s sayer) Close() error                    { return errors.New("closed by the parser") }

// A dripper is a sayer whose octets come one at a time.
type dripper struct{ sayer }

func (d dripper) Read(b []byte) (int, error) { return d.sayer.Read(b[:min(len(b), 1)]) }

func TestAHeaderThatIsRightGivesTheEnds(t *testing.T) {
	longest := "PROXY UNKNOWN " + strings.Repeat("f", maxHeader-len("PROXY UNKNOWN \r\n")) + "\r\n"
	for header, want := range map[string][2]string{
		"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n":         {"192.0.2.7:56324", "198.51.100.1:25"},
		"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n": {"255.255.255.255:65535", "255.255.255.255:0"},
		"PROXY TCP4 192.0.2.7 192.0.2.8 0 0\r\n":                 {"192.0.2.7:0", "192.0.2.8:0"},
		"PROXY TCP6 2001:db8::7 2001:db8::1 1 25\r\n":            {"[2001:db8::7]:1", "[2001:db8::1]:25"},
		"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 25\r\n":       {"192.0.2.7:1", "[2001:db8::1]:25"},
		"PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 1 25\r\n":           {"[2001:db8::7]:1", "[::1]:25"},
		"PROXY UNKNOWN\r\n":                                      {},
		"PROXY UNKNOWN ff:ff ::1 65535 65535\r\n":                {},
		"PROXY UNKNOWN anything at all, even \x1b\x00\r\n":       {},
		longest: {},
	} {
		wantEnds(t, header, want)
	}
}

// wantEnds reads a header that is followed by a command, in one piece and octet
// by octet. No Ends wanted: they are not known.
func wantEnds(t *testing.T, header string, want [2]string) {
	t.Helper()
	const behind = "EHLO x\r\n"
	for _, conn := range []net.Conn{sayer{nil, strings.NewReader(header + behind)}, dripper{sayer{nil, strings.NewReader(header + behind)}}} {
		got, err := Read(conn, time.Time{})
		if err != nil || got != wantedEnds(want) {
			t.Errorf("%q: %v, %v; want %v", header, got, err, want)
		}
		if rest, _ := io.ReadAll(conn); string(rest) != behind {
			t.Errorf("%q: %q is left", header, rest)
		}
	}
}

func wantedEnds(want [2]string) (e Ends) {
	if want[0] != "" {
		e = Ends{netip.MustParseAddrPort(want[0]), netip.MustParseAddrPort(want[1])}
	}
	return e
}

// wantNoHeader reads what is no header, and not much of it.
func wantNoHeader(t *testing.T, said string, most int) {
	t.Helper()
	conn := sayer{nil, strings.NewReader(said)}
	if got, err := Read(conn, time.Time{}); err == nil {
		t.Errorf("%.200q was taken for %v", said, got)
	}
	if read := len(said) - conn.Len(); read > most {
		t.Errorf("%.200q: %d octets of it were read", said, read)
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
		wantNoHeader(t, said, maxHeader)
	}
}

// wellFormed is version 1 of the specification as a pattern; addresses and ports
// are parsed beside it.
var wellFormed = regexp.MustCompile(`^PROXY (UNKNOWN(?: [^\n]*)?|(TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ([0-9]+) ([0-9]+))\r\n`)

func FuzzHeader(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.7 192.0.2.8 1 25\r\nEHLO x\r\n", "PROXY TCP6 2001:db8::7 2001:db8::1 65535 25\r\n", "PROXY UNKNOWN x\r\n",
		"PROXY TCP4 192.0.2.7 192.0.2.8 1 25\n", "EHLO x\r\n", "PROXY TCP4 ::1 192.0.2.8 1 2\r\n", "PROXY UNKNOWN\rx\r\n",
		binaryTCP4 + "EHLO x\r\n", binaryTCP6, summed, binaryHeader(commandLocal, familyNone, ""), binaryHeader(commandProxy, familyUnix, strings.Repeat("u", 216)),
		binaryHeader(commandProxy, familyTCP4, tcp4+"\xee\x00\x01x"), binaryTCP4[:20], Signature + "\x21\x11\xff\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		conn := sayer{nil, strings.NewReader(string(said))}
		got, err := Read(conn, time.Time{})
		read := said[:len(said)-conn.Len()]
		slow := dripper{sayer{nil, strings.NewReader(string(said))}}
		if again, errAgain := Read(slow, time.Time{}); again != got || (err == nil) != (errAgain == nil) || slow.Len() != conn.Len() {
			t.Fatalf("%q gave %v, %v; octet by octet %v, %v", said, got, err, again, errAgain)
		}
		if binary := bytes.HasPrefix(read, []byte(Signature)); binary && len(read) > maxBinaryHeader || !binary && len(read) > maxHeader {
			t.Fatalf("%d octets were read of %q", len(read), said)
		}
		if err != nil {
			return
		}
		if bytes.HasPrefix(read, []byte(Signature)) {
			checkBinaryEnds(t, read, got)
		} else {
			checkTextEnds(t, read, got)
		}
	})
}

// checkTextEnds compares what a header of version 1 gave with what it says.
func checkTextEnds(t *testing.T, read []byte, got Ends) {
	m := wellFormed.FindStringSubmatch(string(read))
	if m == nil || m[0] != string(read) || strings.Contains(m[0][:len(m[0])-2], "\r") {
		t.Fatalf("%q was taken for a header", read)
	}
	want := Ends{}
	for i, end := range []*netip.AddrPort{&want.Client, &want.Destination} {
		if m[2] == "" {
			continue // unknown
		}
		host, port := m[3+i], m[5+i]
		if m[2] == "TCP6" {
			host = "[" + host + "]"
		}
		parsed, err := netip.ParseAddrPort(host + ":" + port)
		if err != nil {
			t.Fatalf("%q: %v", read, err)
		}
		*end = netip.AddrPortFrom(parsed.Addr().Unmap(), parsed.Port())
	}
	if got != want {
		t.Fatalf("%q gave %v, want %v", read, got, want)
	}
}
