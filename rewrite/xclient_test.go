package rewrite

import (
	"net/netip"
	"strings"
	"testing"

	"smtpshim/rewrite/vocabulary"
)

func TestXtextBringsBackWhatItWasMadeOf(t *testing.T) {
	for c := range 256 {
		value := "a" + string([]byte{byte(c)}) + "z"
		got, ok := fromXtext(toXtext(value))
		if control := c < ' ' || c == 0x7f; ok == control || ok && got != value {
			t.Errorf("%q becomes %q, %v", value, got, ok)
		}
	}
	for _, value := range []string{"", strings.Repeat("x", maxAttribute+1), strings.Repeat("+", maxAttribute/3+1)} {
		if got := toXtext(value); got != unavailable {
			t.Errorf("%q becomes %q", value, got)
		}
	}
	if got := toXtext("+="); got != "+2B+3D" { // RFC 3461, 4: hexadecimal digits in upper case
		t.Errorf("+= becomes %q", got)
	}
}

// introduced is a dialogue that may say every attribute to its server, and obeys
// XCLIENT.
func introduced() *Dialogue {
	client := netip.MustParseAddr("192.0.2.7")
	d := New(&Policy{XCLIENT: XCLIENTRequired, XCLIENTFrom: []netip.Prefix{netip.PrefixFrom(client, 32)}}, client, &kept{})
	d.server.attributes = 1<<attributes - 1
	return d
}

// No network contains an address with a zone.
func TestAClientOnTheLinkIsInItsNetwork(t *testing.T) {
	link := netip.MustParsePrefix("fe80::/10")
	d := New(&Policy{XCLIENTFrom: []netip.Prefix{link}}, netip.MustParseAddr("fe80::7%eth0"), &kept{})
	if !d.introduces {
		t.Error("it may not say XCLIENT")
	}
	if c := d.caller(); !link.Contains(c.Address) {
		t.Errorf("logins are asked for %v, which %v does not hold", c.Address, link)
	}
}

// FuzzXCLIENT: whatever a client says by XCLIENT, what the server is told by it
// is lines of XCLIENT of at most 512 octets, which tell the same.
func FuzzXCLIENT(f *testing.F) {
	for _, seed := range []string{
		"XCLIENT NAME=spike.example.org ADDR=192.0.2.200", "xclient addr=ipv6:2001:db8::9 port=[unavailable] proto=smtp",
		"XCLIENT LOGIN=user+40example.org HELO=[UNAVAILABLE] DESTADDR=IPV6:::1 DESTPORT=25", "XCLIENT NAME=[TEMPUNAVAIL] HELO=b+C3+BCcher",
		"XCLIENT ADDR=IPV6:::ffff:192.0.2.1 PORT=0", "XCLIENT HELO=a+0D+0Ab", "XCLIENT\tADDR=192.0.2.1", "XCLIENT",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d := introduced()
		before := d.origin
		d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
		d.takeXCLIENT([]byte(line))
		if d.next != AwaitAdmission {
			if d.origin != before || d.origin.introduction() != (introduction{}) {
				t.Fatalf("%q is refused, and makes %+v", line, d.origin)
			}
			return
		}
		d.server.attributes = 1<<attributes - 1
		again := origin{}
		for _, told := range d.xclientLines() {
			if !isXCLIENT(told) {
				t.Fatalf("%q has the server told %q", line, told)
			}
			next := again
			if !next.amend([]byte(told)) {
				t.Fatalf("%q has the server told %q, which is no XCLIENT", line, told)
			}
			again = next
		}
		want := d.origin.introduction()
		if want.proto == "" {
			want.proto = "SMTP" // no hello was said
		}
		for _, value := range []*string{&want.name, &want.hello, &want.login} {
			if toXtext(*value) == unavailable || strings.EqualFold(*value, unavailable) {
				*value = ""
			}
		}
		if got := again.introduction(); got != want || again.client != d.origin.client || again.destination != d.origin.destination {
			t.Fatalf("%q has the server told %+v, %+v of %+v, %+v", line, again, got, d.origin, want)
		}
	})
}

func isXCLIENT(line string) bool {
	return strings.HasPrefix(line, "XCLIENT ") && len(line)+len("\r\n") <= 512 &&
		strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func TestNoXCLIENTChangesWhoMaySayIt(t *testing.T) {
	d := introduced()
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	for _, address := range []string{"192.0.2.8", "192.0.2.9"} {
		d.ToClient = nil
		if d.Command([]byte("XCLIENT ADDR="+address+"\r\n"), false); d.Next(false) != AwaitAdmission {
			t.Fatalf("%s is answered %q", address, d.ToClient)
		}
		d.Admitted("")
	}
}

func TestAClientThatIsNotServedIsToldWhy(t *testing.T) {
	for refusal, text := range map[vocabulary.Rejection]string{
		vocabulary.RejectionSessionsPerAddress: crowdedText,
		vocabulary.RejectionClients:            NotServedText,
	} {
		d := introduced()
		d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
		d.ToClient = nil
		d.Command([]byte("XCLIENT ADDR=192.0.2.8\r\n"), false)
		d.Admitted(refusal)
		if got := string(d.ToClient); got != text+"\r\n" || d.Next(false) != End {
			t.Errorf("%s: it is told %q", refusal, got)
		}
	}
}

// Where the client's address is not known, ours is not told in its place.
func TestAnUnknownClientIsUnavailable(t *testing.T) {
	d := introduced()
	d.Connected(netip.AddrPort{}, netip.AddrPort{})
	d.server.attributes = 1<<attrADDR | 1<<attrPORT | 1<<attrDESTADDR | 1<<attrDESTPORT
	lines := d.xclientLines()
	if len(lines) != 1 || lines[0] != "XCLIENT ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE]" {
		t.Errorf("the server is told %q", lines)
	}
	d.Connected(netip.MustParseAddrPort("[fe80::1%eth0]:25"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:25"))
	if line := d.xclientLines()[0]; line != "XCLIENT ADDR=IPV6:fe80::1 PORT=25 DESTADDR=192.0.2.1 DESTPORT=25" {
		t.Errorf("the server is told %q", line)
	}
}
