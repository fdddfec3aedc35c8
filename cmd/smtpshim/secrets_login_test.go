package main

import (
	"context"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"smtpshim/proxy/smtptest"
)

// A loginConfig has three routes: to office, which has a token; to house, which has a
// password, for a client that has another; and to broken, whose secret is wrong.
func loginConfig(t *testing.T, p *provider, admin, records string, routes map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, secret := range map[string]string{"broken": "wr0ng+client/secret", "house": secretPassword, "canon": "sh0rt+and/simple"} {
		write(t, filepath.Join(dir, name), secret+"\n")
		if err := os.Chmod(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	broken := strings.NewReplacer(`"office"`, `"broken"`, filepath.Join(p.dir, "office.secret"), filepath.Join(dir, "broken")).Replace(p.account(""))
	text := fmt.Sprintf("admin.listen = %q\nlog.level = \"debug\"\nstate_dir = %q\n%s%s[[account]]\nname = \"house\"\nuser = \"house@example.com\"\n"+
		"method = \"password\"\npassword_file = %q\n", admin, filepath.Join(dir, "state"), p.account(""), broken, filepath.Join(dir, "house"))
	for _, name := range []string{"office", "house", "broken"} {
		text += fmt.Sprintf("[[route]]\nname = %q\nlisten = [%q]\nservers = [%q]\nrecord.dir = %q\n%s", name, routes[name], p.mail, records,
			strings.Replace(p.route(), `account = "office"`, fmt.Sprintf("account = %q", name), 1))
		if name == "house" {
			text += fmt.Sprintf("user = \"canon\"\npassword_file = %q\n", filepath.Join(dir, "canon"))
		}
	}
	return text
}

// TestNoSecretOfALoginLeavesTheProgram has clients log in, well and not, to a provider
// that repeats what it was told, and looks at everything that the program tells.
func TestNoSecretOfALoginLeavesTheProgram(t *testing.T) {
	p := startProvider(t)
	p.repeats.Store(true)
	routes := map[string]string{"office": freeAddress(t), "house": freeAddress(t), "broken": freeAddress(t)}
	r := &running{t: t, path: filepath.Join(t.TempDir(), "smtpshim.toml"), admin: freeAddress(t)}
	records := t.TempDir()
	write(t, r.path, loginConfig(t, p, r.admin, records, routes))

	log, events, watched := newHeard(), newHeard(), newHeard()
	signals, status := make(chan os.Signal, 4), make(chan int, 1)
	go func() { status <- serve(r.path, signals, log, atLarge) }()
	defer close(signals)
	log.wait(t, "msg=started", 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	listen(t, ctx, "http://"+r.admin+"/events", events, watched)

	sessions := 0
	session := func(route string, says ...string) {
		t.Helper()
		confess(t, routes[route], fmt.Sprintf("c%d.%s", sessions, marker), false, append(says, "MAIL FROM:<a@example.com>"))
		sessions++
		events.wait(t, `"kind":"ended"`, sessions)
	}
	canon := inBase64("\x00canon\x00sh0rt+and/simple")
	session("office")
	session("house", "AUTH PLAIN "+canon)
	session("house", "AUTH LOGIN", inBase64("canon"), inBase64("sh0rt+and/simple"))
	session("house", "AUTH PLAIN "+inBase64("\x00canon\x00"+secretDigest)) // a wrong password
	session("house", "AUTH NTLM", smtptest.NTLM1(false), inBase64(secretNTLM))
	session("broken")
	p.refuses.Store(true)
	p.repeats.Store(false)
	session("office") // whose token may have been the fault
	_, out, errs := call("check", "-live", "-config", r.path)
	told := map[string]string{"check -live": out + errs}
	p.repeats.Store(true)
	session("office")
	session("house", "AUTH PLAIN "+canon)
	session("house", "AUTH PLAIN "+canon)

	for _, path := range []string{"/", "/metrics"} {
		_, body := r.get(path)
		told[path] = body
	}
	watched.wait(t, " message", sessions)
	_, out, errs = call("check", "-live", "-config", r.path)
	told["check -live"] += out + errs
	signals <- syscall.SIGTERM
	if got := <-status; got != succeeded {
		t.Errorf("exit status %d", got)
	}
	told["the log"], told["/events"], told["watch"], told["recordings"] = log.String(), events.String(), watched.String(), contents(t, records, sessions)

	if heard := *p.lastLogin.Load(); !strings.Contains(heard, inBase64("\x00house@example.com\x00"+secretPassword)) && !strings.Contains(heard, *p.token.Load()) {
		t.Errorf("the last login was %q", heard)
	}
	for _, secret := range []string{*p.token.Load(), "made-up-secret", "wr0ng+client/secret", secretPassword, "sh0rt+and/simple", secretDigest, secretNTLM} {
		for _, form := range spellings(secret) {
			for where, what := range told {
				if at := strings.Index(what, form); at >= 0 {
					t.Errorf("%q, which is %q, is in %s: %q", form, secret, where, what[max(0, at-200):min(len(what), at+200)])
				}
			}
		}
	}
	const means = "login by SMTP AUTH is turned off for this mailbox, also by token"
	for where, what := range told {
		what = strings.Join(strings.Fields(what), " ") // some have their lines folded
		if where != "/metrics" && !strings.Contains(what, means) && !strings.Contains(what, html.EscapeString(means)) {
			t.Errorf("%s does not say what the refusal means", where)
		}
	}
	for _, series := range []string{
		`smtpshim_logins_total{account="office",mechanism="XOAUTH2",outcome="ok",route="office"} 1`,
		`smtpshim_auth_total{mechanism="LOGIN",outcome="ok",route="house",side="client"} 1`,
		`smtpshim_auth_total{mechanism="NTLM",outcome="refused",route="house",side="client"} 1`,
		`smtpshim_token_requests_total{account="broken",outcome="invalid-client"} 1`,
	} {
		if !strings.Contains(told["/metrics"], series) {
			t.Errorf("/metrics has no %s", series)
		}
	}
}
