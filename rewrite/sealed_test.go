package rewrite_test

import (
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// The client's last message of NTLM, which asks for sealing (KB Q262945).
const type3Seal = "TlRMTVNTUAADAAAAAAAAAAAAAAAYABgAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAtYIBQA2BHQfLiHwoDY5nOVJYtg5QONFttvQY4w=="

// loggedIn begins a session past a login that may be followed by a sealed stream.
func loggedIn(t *testing.T, mechanism string) *talk {
	t.Helper()
	k := talkUnder(t, &rewrite.Policy{Rules: standard(t)})
	k.hello("AUTH NTLM GSSAPI DIGEST-MD5")
	k.client("AUTH "+mechanism, "AUTH "+mechanism, "")
	k.server("334 ", "", "334 ")
	k.client(type3Seal, type3Seal, "")
	k.server("235 ok", "", "235 ok")
	if next := k.d.Next(false); next != rewrite.AwaitOctets {
		t.Fatalf("after 235 the dialogue waits for %d", next)
	}
	return k
}

var sealing = []string{"NTLM", "GSSAPI", "DIGEST-MD5"}

func TestWhatMayBeTextIsReadAfterALoginThatMaySeal(t *testing.T) {
	for _, octets := range []string{
		"\r\n", " EHLO client.example.net\r\n", "BURL imap://example.com LAST\r\n", "ZZZZ\r\n", "EHLO", "\tZZ\r\n", "b\xc3\xbccher\r\n", "\xff\xfe\xfd\xfc",
		"\x80\x00\x00\x26", "\x01\x02\x03\x04", "\n", "\x00\r\n", "\x00\x00\x00\x00", "\r\nXCLIENT", "=\r\n", "*\r\n",
	} {
		for _, mechanism := range sealing {
			k := loggedIn(t, mechanism)
			k.d.Octets([]byte(octets))
			if next := k.d.Next(false); next != rewrite.AwaitCommand {
				t.Errorf("%s, then %q: the dialogue waits for %d", mechanism, octets, next)
			}
		}
	}
}

func TestABlockBeginsASealedStream(t *testing.T) {
	for _, octets := range []string{"\x00\x00\x00\x26", "\x00\x00\x00\x16\xe8\xe4\xec\xe9", "\x00\x01\x00\x00\x00\x00"} {
		for _, mechanism := range sealing {
			k := loggedIn(t, mechanism)
			k.d.Octets([]byte(octets))
			if k.d.Next(false) != rewrite.Opaque || !k.d.Sealed() {
				t.Errorf("%s, then %q: the dialogue waits for %d", mechanism, octets, k.d.Next(false))
			}
		}
	}
}

func TestAServerThatAnswersASealedStreamWithTextEndsTheSession(t *testing.T) {
	for octets, more := range map[string]bool{"500 5.5.1 what?\r\n": false, "250 ok\r\n": false, "\x00\x00\x00\x16": true, "\r\n": false, "\xff": false, "": false} {
		k := loggedIn(t, "NTLM")
		k.d.Octets([]byte("\x00\x00\x00\x26"))
		if k.d.ServerSealed([]byte(octets)) != more || (k.d.Next(false) == rewrite.End) == more {
			t.Errorf("%q: the dialogue waits for %d", octets, k.d.Next(false))
		}
	}
}

func TestTheFirstBlockHidesNoCommand(t *testing.T) {
	body := "\x00\x00\x00\x40" + "\xe8\xe4\xec\xe9\x0a\x0d\x00\x81 MA\x0aIL QUI T\x0aNOOPS\xffEHL\x00O"
	body += strings.Repeat("\x9c", 0x44-len(body))
	takes := func(octets string, step int) (taken string, ok bool) {
		k := loggedIn(t, "NTLM")
		k.d.Octets([]byte(octets[:8]))
		block := k.d.SealedBlock([]byte(octets))
		for len(octets) > 0 && !block.Done() {
			piece := octets[:min(step, len(octets))]
			n, ok := block.Next([]byte(piece))
			if !ok {
				if k.d.Next(false) != rewrite.End {
					t.Errorf("%q is not taken, and the session goes on", octets)
				}
				return taken, false
			}
			taken, octets = taken+piece[:n], octets[n:]
			if n < len(piece) {
				break
			}
		}
		return taken, true
	}
	for step := 1; step < len(body)+20; step++ {
		if taken, ok := takes(body+"MAIL FROM:<>\r\n", step); !ok || taken != body {
			t.Fatalf("%d octets at a time: %q passes, %v", step, taken, ok)
		}
		for _, hidden := range []string{"\x00\r\nXCLIENT ADDR=192.0.2.1\r\n", "\x00\nxclient ", " DATA\r\n", "\x00MAIL FROM:<>\r\n", "\rRCPT\tTO:<>\r\n"} {
			if taken, ok := takes("\x00\x00\x00\x40"+hidden+strings.Repeat("\x9c", 0x40-len(hidden)), step); ok || strings.Contains(taken, hidden) {
				t.Errorf("%q, %d octets at a time: %q passes", hidden, step, taken)
			}
		}
	}
}
