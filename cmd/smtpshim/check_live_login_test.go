package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestALiveCheckLogsIn(t *testing.T) {
	p := startProvider(t)
	for what, c := range map[string]struct {
		change func()
		status int
		want   []string
	}{
		"all is well": {func() {}, succeeded, []string{"login account office is logged in"}},
		"the server refuses": {func() { p.refuses.Store(true) }, failed, []string{
			"login account office FAILED: the server refused the login; mechanism XOAUTH2; reply 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
			"it means: login by SMTP AUTH is turned off for this mailbox", "what to do: turn SMTP AUTH on for the mailbox",
			"FAILED account office cannot log in, so its clients send no mail", "1 server failed"}},
		"the secret is wrong": {func() { write(t, filepath.Join(p.dir, "office.secret"), "another-made-up\n") }, failed, []string{
			"login account office FAILED: no token for an account", "AADSTS7000215", "what to do: "}},
	} {
		t.Run(what, func(t *testing.T) {
			p.refuses.Store(false)
			write(t, filepath.Join(p.dir, "office.secret"), "made-up-secret\n")
			c.change()
			status, said := checkedLive(t, []string{p.mail}, p.route()+p.account(""))
			if status != c.status {
				t.Errorf("status %d", status)
			}
			wantInOrder(t, said, c.want...)
			for _, secret := range []string{"made-up-secret", "another-made-up", *p.token.Load()} {
				if strings.Contains(said, secret) {
					t.Errorf("%q is in\n%s", secret, said)
				}
			}
		})
	}
}

func TestALiveCheckSaysThatNobodyHasLoggedInYet(t *testing.T) {
	p := startProvider(t)
	account := strings.Replace(p.account("device_url = \"https://127.0.0.1:1/device\"\n"), "client-credentials", "refresh-token", 1)
	path := filepath.Join(t.TempDir(), "state")
	status, said := checkedLiveTop(t, "state_dir = "+quotedList([]string{path})+"\n", []string{p.mail}, p.route()+account)
	if status != failed {
		t.Errorf("status %d", status)
	}
	wantInOrder(t, said, `login account office FAILED: no refresh token is stored; run "smtpshim login office"`)
}
