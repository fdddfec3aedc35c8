package rewrite_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// secrets are what clients and servers say of a secret in testdata: how every
// message of NTLM begins, and a name and a password in base64.
var secrets = []string{"TlRMTVNTUA", "AHVzZXIAc2VjcmV0", "dXNlcg==", "c2VjcmV0"}

// recorder is a tracer that keeps everything it hears.
type recorder struct {
	silent
	strings.Builder
}

func (r *recorder) Exchanged(side byte, said, got []string, by rewrite.Causes) {
	fmt.Fprintf(r, "%c %q %q %s\n", side, said, got, by.Rules)
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
		"behind no line":     {"AUTH LOGIN\n", secret + "\n", secret + "\r\n"},
		"behind a bare CR":   {"AUTH LOGIN\r\r\n", secret + "\r\r\n"},
		"behind a typo":      {"AUTHENTICATE LOGIN\r\n", secret + "\r\n", secret + "\r\n"},
		"behind a glued one": {"AUTHLOGIN\n", secret + "\n"},
	} {
		for _, mode := range []rewrite.ClientTLS{rewrite.ClientTLSPass, rewrite.ClientTLSRequire} {
			t.Run(name+", "+mode.String(), func(t *testing.T) {
				r := &recorder{}
				d := rewrite.New(&rewrite.Policy{ClientTLS: mode, Limits: rewrite.Limits{Errors: 20}}, netip.Addr{}, r)
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

// A line that is too long may have been an AUTH command.
func TestATracerHearsNoSecretBehindALineThatIsTooLong(t *testing.T) {
	const secret = "AHVzZXIAc2VjcmV0"
	r := &recorder{}
	d := rewrite.New(&rewrite.Policy{Limits: rewrite.Limits{Errors: 20}}, netip.Addr{}, r)
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	d.TooLong(false)
	d.Command([]byte(secret+"\r\n"), false)
	r.check(t, []string{secret})
	if !strings.Contains(r.String(), "...(16 octets)") {
		t.Errorf("the line was not heard:\n%s", r)
	}
}

// What refuses a hello or a STARTTLS of ours says why, and an answer that may
// repeat a credential does not.
func TestATracerHearsWhyAHelloWasRefused(t *testing.T) {
	const secret = "AHVzZXIAc2VjcmV0"
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	r := &recorder{}
	d := rewrite.New(&rewrite.Policy{Rules: rules, ServerTLS: rewrite.ServerTLSOpportunistic, Limits: rewrite.Limits{Errors: 20}}, netip.Addr{}, r)
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	for _, c := range []struct {
		says    string
		replies []string
	}{
		{"EHLO client.example.com\r\n", []string{"250-mail.example.com\r\n250-XAUTH NTLM\r\n250 STARTTLS\r\n", "502 no keys today\r\n"}},
		{"AUTH NTLM " + secret + "\r\n", []string{"500 what is " + secret + "\r\n", "501 what is " + secret + "\r\n", "535 no\r\n"}},
		{"EHLO client.example.com\r\n", []string{"500 no hello today\r\n", "250 mail.example.com\r\n"}},
	} {
		d.Command([]byte(c.says), false)
		for _, reply := range c.replies {
			if d.Next(false) != rewrite.AwaitReply {
				t.Errorf("%q: nothing awaits %q", c.says, reply)
				break
			}
			d.Reply([]byte(reply), false, false)
		}
	}
	for _, want := range []string{"no hello today", "no keys today", "AUTH NTLM ...(16 octets)"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("%q was not heard:\n%s", want, r)
		}
	}
	r.check(t, []string{secret})
}

// What a rule makes of a SASL line is as secret as the line: a server may repeat it.
func TestATracerHearsNoSecretThatARuleHasMade(t *testing.T) {
	const made = "c2Nhbm5lcgBzY2FubmVyAG9wZW4gc2VzYW1l"
	r := &recorder{}
	d := rewrite.New(&rewrite.Policy{Rules: compileRules(t, named("maker", rewrite.Actions{SASL: func(t *rewrite.Turn) { t.SetLine(made) }}))}, netip.Addr{}, r)
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	d.Command([]byte("AUTH PLAIN\r\n"), false)
	d.Reply([]byte("334 \r\n"), false, false)
	d.SASL([]byte("dXNlcg==\r\n"))
	d.Reply([]byte("535 what is "+made+"\r\n"), false, false)
	if !strings.Contains(r.String(), "535") {
		t.Errorf("the refusal was not heard:\n%s", r)
	}
	r.check(t, []string{made})
}
