package rewrite_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// secrets are what clients and servers say of a secret in testdata: how every
// message of NTLM begins, and a name and a password in base64.
var secrets = []string{"TlRMTVNTUA", "AHVzZXIAc2VjcmV0", "dXNlcg==", "c2VjcmV0"}

// recorder is a tracer that keeps everything it hears.
type recorder struct {
	silent
	strings.Builder
}

func (r *recorder) Exchanged(side byte, said, got []string, rules string) {
	fmt.Fprintf(r, "%c %q %q %s\n", side, said, got, rules)
}

func (r *recorder) Event(what string) { fmt.Fprintln(r, "~", what) }

// check reports the secrets that the recorder has heard.
func (r *recorder) check(t *testing.T, secrets []string) {
	t.Helper()
	for line := range strings.Lines(r.String()) {
		for _, secret := range secrets {
			if strings.Contains(line, secret) {
				t.Errorf("heard %s", line)
			}
		}
	}
}

func TestATracerHearsNoSecrets(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	secretive := 0
	for _, name := range names {
		f := parseFile(t, name)
		text := fmt.Sprint(f.Dialogue)
		if strings.Contains(text, "AUTH") && strings.ContainsAny(text, "=") {
			secretive++
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			r := &recorder{}
			play(t, f, r)
			r.check(t, secrets)
			if r.Len() == 0 {
				t.Error("heard nothing at all")
			}
		})
	}
	if secretive < 30 {
		t.Errorf("only %d dialogues have secrets in them", secretive)
	}
}

// A credential in the wrong place is still one: in a line that is none, behind
// a verb that is spelt oddly, or where AUTH was refused and the client did not
// wait for the answer.
func TestATracerHearsNoMisplacedSecrets(t *testing.T) {
	const secret = "AHVzZXIAc2VjcmV0"
	for name, lines := range map[string][]string{
		"no CR":              {"AUTH PLAIN " + secret + "\n"},
		"a NUL":              {"AUTH PLAIN " + secret + "\x00\r\n"},
		"a bare CR":          {"AUTH PLAIN\r" + secret + "\r\n"},
		"no mechanism":       {"AUTH " + secret + "\r\n"},
		"glued":              {"AUTH=" + secret + "\r\n"},
		"a colon":            {"AUTH:" + secret + "\r\n"},
		"tabs":               {"AUTH\tPLAIN\t" + secret + "\r\n"},
		"blanks before":      {"  auth   plain   " + secret + "\r\n"},
		"unknown mechanism":  {"AUTH " + secret + " x\r\n"},
		"XAUTH":              {"XAUTH " + secret + "\r\n"},
		"X-EXPS":             {"X-EXPS NTLM " + secret + "\r\n"},
		"refused by us":      {"AUTH PLAIN\r\n", secret + "\r\n"},
		"refused, not CRLF":  {"AUTH PLAIN\r\n", secret + "\n"},
		"refused, and known": {"AUTH LOGIN\r\n", secret + "\r\n", secret + "\r\n"},
	} {
		for _, mode := range []rewrite.ClientTLS{rewrite.ClientTLSPass, rewrite.ClientTLSRequire} {
			t.Run(name+", "+mode.String(), func(t *testing.T) {
				r := &recorder{}
				d := rewrite.New(&rewrite.Policy{ClientTLS: mode, Limits: rewrite.Limits{Errors: 20}, Chunking: true}, netip.Addr{}, r)
				d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
				for _, line := range lines {
					for !d.Command([]byte(line), false) {
						d.Reply([]byte("504 no\r\n"), false, false)
					}
					if d.Next(false) == rewrite.AwaitReply {
						d.Reply([]byte("504 no\r\n"), false, false)
					}
				}
				r.check(t, []string{secret})
			})
		}
	}
}
