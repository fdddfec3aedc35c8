package rewrite_test

import (
	"strings"
	"testing"

	"smtpshim/rewrite"
)

func TestALineThatAnnouncesTextAndCannotBeTakenEndsTheSession(t *testing.T) {
	for _, line := range []string{
		"BDAT 10\x00\r\n", "BDAT\x0010\r\n", "BDAT 1\r0\r\n", "bdat 10 LAST\r\r\n", "BD\x00AT 10\r\n", "\x00BDAT 10\r\n", "\rBDAT 10\r\n", " BDAT 10\n",
		"BDAT 10\n", "\tbDaT\t10 LAST\x00\r\n", "BDAT\r\r\n", "BDAT:10\n", "BDAT10\r\n", "bdat10 LAST\r\n", "BD\x01AT 10\r\n", "BDAT=10\r\n", "BDAT:10\r\n",
		" BDAT 10\r\n", "\tBDAT 10\r\n", "BDAT\t10\r\n", "BDAT\r\n", "BDAT \r\n", "BDAT x\r\n", "BDAT 10 FIRST\r\n", "BDAT 10LAST\r\n", "BDAT 1 0\r\n",
		"DATA\n", "DATA\x00\r\n", "data\r\r\n", " DA\x00TA\r\n", "XEXCH50 975 2\n", "xexch50\x00 1 2\r\n",
	} {
		for _, rules := range []*rewrite.Rules{nil, standard(t)} {
			if rules != nil && mendedEnds[line] {
				continue
			}
			for _, keyword := range []string{"CHUNKING", "SIZE"} {
				k := talkUnder(t, &rewrite.Policy{Rules: rules})
				k.hello(keyword)
				k.d.Command([]byte(line), true)
				if code := k.codes[len(k.codes)-1]; k.d.Next(false) != rewrite.End || code != 501 || len(k.d.ToServer) > 0 {
					t.Errorf("%q, %s: the client got %d, the server %q; the dialogue waits for %d", line, keyword, code, k.d.ToServer, k.d.Next(false))
				}
			}
		}
	}
}

// mendedEnds are lines that the rule command-ends takes: what follows them is lines too.
var mendedEnds = map[string]bool{"DATA\n": true, "data\r\r\n": true, "XEXCH50 975 2\n": true}

// Between TLS that is required and its handshake, and while a server is lost, too.
func TestALineThatAnnouncesTextEndsTheSessionWhereverItStands(t *testing.T) {
	for name, p := range map[string]rewrite.Policy{"client TLS": {ClientTLS: rewrite.ClientTLSRequire}, "server TLS": {ServerTLS: rewrite.ServerTLSRequire}} {
		k := talkUnder(t, &p)
		k.d.Command([]byte("BDAT\x0010\r\n"), true)
		if k.d.Next(false) != rewrite.End {
			t.Errorf("%s: the dialogue waits for %d", name, k.d.Next(false))
		}
	}
	k := talkUnder(t, &rewrite.Policy{})
	k.hello("PIPELINING")
	k.client("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", "")
	if k.d.Command([]byte("BDAT 10\n"), false) {
		t.Error("it is taken before MAIL is answered")
	}
	k.server("250 ok", "", "250 ok")
	k.client("BDAT 10\r", "", "501 5.5.4 a command that announces text ends with CRLF and has no control characters in it")
}

func TestALineThatIsTooLongAndAnnouncesTextEndsTheSession(t *testing.T) {
	for line, announces := range map[string]bool{"BDAT " + strings.Repeat("0", 5000) + "1 LAST\r\n": true, " bdat\t" + strings.Repeat("1", 5000): true,
		"NOOP " + strings.Repeat("x", 5000): false, strings.Repeat("x", 5000) + " BDAT 10": false} {
		k := talkUnder(t, &rewrite.Policy{})
		k.d.TooLong(rewrite.Announces([]byte(line)))
		if ended := k.d.Next(false) == rewrite.End; ended != announces {
			t.Errorf("%.20q...: the session ends: %v", line, ended)
		}
	}
}

func TestXEXCH50WithTextBehindItEndsTheSession(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{})
	k.client("XEXCH50 975 2", "", "502 5.5.1 command not available here")
	k.d.Command([]byte("XEXCH50 975 2\r\n"), true)
	if k.d.Next(false) != rewrite.End {
		t.Errorf("the dialogue waits for %d", k.d.Next(false))
	}
}

func TestOtherLinesThatAreNoneAreAnsweredAndTheSessionGoesOn(t *testing.T) {
	for _, line := range []string{"NOOP\n", "BDATA\n", "BDA\n", "X BDAT 10\n", "\x00\r\n", "\r\r\n", "DATABASE\n"} {
		k := talkUnder(t, &rewrite.Policy{})
		k.d.Command([]byte(line), false)
		if code := k.codes[len(k.codes)-1]; code != 500 || k.d.Next(false) != rewrite.AwaitCommand {
			t.Errorf("%q: the client got %d; the dialogue waits for %d", line, code, k.d.Next(false))
		}
	}
	k := talkUnder(t, &rewrite.Policy{})
	k.client("BDATA 10", "BDATA 10", "")
}

func TestLFEndsMendsABDATToo(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{Rules: compile(t, "lf-ends", "bdat-blanks")})
	k.hello("CHUNKING")
	k.d.Command([]byte("BDAT  10 LAST\n"), false)
	k.expect("BDAT", "BDAT 10 LAST", "")
	k.acted("bdat-blanks lf-ends", "")
}
