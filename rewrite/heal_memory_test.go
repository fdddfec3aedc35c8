package rewrite_test

import (
	"net/netip"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// underRules is a policy with these rules of the table, and their options.
func underRules(t *testing.T, names []string, options map[string]map[string]any) *rewrite.Policy {
	t.Helper()
	rules, errs := heal.Compile(names, options)
	if errs != nil {
		t.Fatal(errs)
	}
	return &rewrite.Policy{Rules: rules, Hostname: "relay.example.com"}
}

// A lesson is what a rule learns of a server in a session, and does in the next.
type lesson struct {
	options       map[string]any
	first, second func(k *talk)
}

func lessons() map[string]lesson {
	return map[string]lesson{
		"split-auth-line": {map[string]any{"lines": "all"}, func(k *talk) {
			k.hello("AUTH LOGIN")
			k.client("AUTH LOGIN dXNlcg==", "AUTH LOGIN dXNlcg==", "")
			k.server("501 no", "AUTH LOGIN", "")
			k.server("334 VXNlcm5hbWU6", "dXNlcg==", "")
		}, func(k *talk) {
			k.hello("AUTH LOGIN")
			k.client("AUTH LOGIN dXNlcg==", "AUTH LOGIN", "")
		}},
		"join-auth-lines": {nil, func(k *talk) {
			k.hello("AUTH PLAIN")
			k.client("AUTH PLAIN", "AUTH PLAIN", "")
			k.server("535 no", "", "535 no")
		}, func(k *talk) {
			k.hello("AUTH PLAIN")
			k.client("AUTH PLAIN", "", "334 ")
			k.client("AHVzZXIAc2VjcmV0", "AUTH PLAIN AHVzZXIAc2VjcmV0", "")
		}},
		"strip-parameters": {nil, func(k *talk) {
			k.hello("AUTH PLAIN")
			k.client("MAIL FROM:<a@example.com> AUTH=<>", "MAIL FROM:<a@example.com> AUTH=<>", "")
			k.server("501 no", "MAIL FROM:<a@example.com>", "")
			k.server("250 ok", "", "250 ok")
			k.client("RSET", "RSET", "")
			k.server("250 ok", "", "250 ok")
			k.client("MAIL FROM:<a@example.com> AUTH=<>", "MAIL FROM:<a@example.com>", "")
		}, func(k *talk) {
			k.hello("AUTH PLAIN")
			k.client("MAIL FROM:<a@example.com> AUTH=<>", "MAIL FROM:<a@example.com>", "")
		}},
		"tidy-commands": {nil, func(k *talk) {
			k.hello()
			k.client("MAIL FROM:<Joe <a@example.com>>", "MAIL FROM:<Joe <a@example.com>>", "")
			k.server("501 no", "MAIL FROM:<a@example.com>", "")
			k.server("250 ok", "", "250 ok")
			k.client("RCPT TO:<<b@example.com>>", "RCPT TO:<b@example.com>", "")
		}, func(k *talk) {
			k.hello()
			k.client("MAIL FROM:<Joe <a@example.com>>", "MAIL FROM:<a@example.com>", "")
		}},
		"reset-before-mail": {nil, func(k *talk) {
			k.hello()
			k.transaction()
			k.d.MessageEnd(5)
			k.server("250 ok", "", "250 ok")
			k.client("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", "")
			k.server("503 Sender already specified", "", "451 4.3.0 the server takes this for a second sender of the last mail; try again")
		}, func(k *talk) {
			k.hello()
			k.client("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", "")
			k.server("250 ok", "", "250 ok")
			k.client("RSET", "RSET", "")
			k.server("250 ok", "", "250 ok")
			k.client("MAIL FROM:<a@example.com>", "RSET", "")
			k.server("250 ok", "MAIL FROM:<a@example.com>", "")
		}},
		"hide-failed-starttls": {map[string]any{"seconds": int64(60)}, func(k *talk) {
			k.hello("STARTTLS")
			k.client("STARTTLS", "STARTTLS", "")
			k.server("454 TLS currently unavailable", "", "454 TLS currently unavailable")
		}, func(k *talk) {
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("250-mail.example.com|250-STARTTLS|250 SIZE", "", "250-mail.example.com|250 SIZE")
		}},
	}
}

// What one session has learned of a server, a later one does at once, and for no longer
// than a day.
func TestRulesRememberWhatAServerRefuses(t *testing.T) {
	for name, c := range lessons() {
		t.Run(name, func(t *testing.T) {
			m, policy := memory{}, underRules(t, []string{name}, map[string]map[string]any{name: c.options})
			c.first(after(t, m, policy))
			if len(m) == 0 {
				t.Fatal("nothing is remembered")
			}
			for key, seconds := range m {
				if want, ok := c.options["seconds"].(int64); seconds != 86400 && (!ok || seconds != int(want)) {
					t.Errorf("%q is remembered for %d seconds", key, seconds)
				}
			}
			c.second(after(t, m, policy))
		})
	}
}

// A line that the server has not been asked to take is no evidence of what it refuses.
func TestWhatIsDoneInAnyCaseTeachesNothing(t *testing.T) {
	m, policy := memory{}, underRules(t, []string{"split-auth-line"}, map[string]map[string]any{"split-auth-line": {"lines": "all", "when": "always"}})
	k := after(t, m, policy)
	k.hello("AUTH LOGIN")
	k.client("AUTH LOGIN dXNlcg==", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "dXNlcg==", "")
	for key := range m {
		if strings.Contains(key, "refuses") {
			t.Errorf("%q is remembered", key)
		}
	}
}

// What stands behind a response is for the server to judge.
func TestAnAUTHWithMoreThanAResponseIsNotSplit(t *testing.T) {
	k := after(t, memory{}, underRules(t, []string{"split-auth-line"}, map[string]map[string]any{"split-auth-line": {"lines": "all"}}))
	k.hello("AUTH LOGIN")
	k.client("AUTH LOGIN dXNlcg== more", "AUTH LOGIN dXNlcg== more", "")
	k.server("501 no", "", "501 no")
}

// A client may say a secret where a mechanism is due. It is no part of what is remembered.
func TestNothingThatAClientSaysIsRemembered(t *testing.T) {
	const secret = "AHVzZXIAc2VjcmV0"
	m := memory{}
	policy := underRules(t, []string{"split-auth-line", "join-auth-lines", "strip-parameters", "tidy-commands"},
		map[string]map[string]any{"split-auth-line": {"lines": "all"}})
	for _, line := range []string{"AUTH " + secret, "AUTH " + secret + " " + secret, "AUTH PLAIN " + secret, "MAIL FROM:" + secret + " AUTH=" + secret} {
		k := after(t, m, policy)
		k.hello("AUTH PLAIN LOGIN")
		k.d.Command([]byte(line+"\r\n"), false)
		for range 3 {
			if k.d.Next(false) == rewrite.AwaitReply {
				k.d.Reply([]byte("501 no\r\n"), false, false)
			}
		}
		k.d.Command([]byte("MAIL FROM:<a@example.com> AUTH=<>\r\n"), false)
	}
	for key := range m {
		if strings.Contains(strings.ToUpper(key), strings.ToUpper(secret)) {
			t.Errorf("%q is remembered", key)
		}
	}
}

func TestAReplyIsEndedOnlyOnceNothingMoreHasComeForSoLong(t *testing.T) {
	policy := underRules(t, []string{"unended-replies"}, map[string]map[string]any{"unended-replies": {"wait": int64(300)}})
	k := &talk{T: t}
	k.d = rewrite.New(policy, netip.MustParseAddr("192.0.2.7"), k)
	defer k.d.Close()
	for _, quiet := range []int64{0, 299} {
		if _, _, ok, wait := k.d.Repair([]byte("220-hello\r\n"), quiet); ok || wait != 300 {
			t.Errorf("after %d ms: ended %v, and it waits for %d ms", quiet, ok, wait)
		}
	}
	if n, made, ok, _ := k.d.Repair([]byte("220-hello\r\n"), 300); !ok || n != len("220-hello\r\n") || string(made) != "220 hello\r\n" {
		t.Errorf("%d octets become %q, %v", n, made, ok)
	}
}
