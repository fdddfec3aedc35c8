package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckTellsWhichLoginsDoNotPass(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	const external, inClear = "EXTERNAL and mechanisms with channel binding", `auth_in_clear = "allow"`
	for _, c := range []struct {
		tls    string
		says   []string
		saysNo []string
	}{
		{"", nil, []string{external, inClear}},
		{"server_tls.mode = \"opportunistic\"\n", []string{external, "are hidden from clients in clear", inClear}, nil},
		{"server_tls.mode = \"require\"\n", []string{external, "clients in clear may log in"}, []string{inClear}},
		{"server_tls = {mode = \"opportunistic\", auth_in_clear = \"allow\"}\n", []string{external, "clients in clear may log in"}, []string{inClear}},
		{"server_tls = {mode = \"implicit\", auth_in_clear = \"refuse\"}\n", []string{external, "are hidden from clients in clear", inClear}, nil},
	} {
		write(t, path, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"192.0.2.1:25\"]\n"+c.tls)
		var out, errors strings.Builder
		if status := check([]string{"-config", path}, &out, &errors); status != succeeded {
			t.Errorf("%q: %d\n%s", c.tls, status, &errors)
		}
		words := strings.Join(strings.Fields(out.String()), " ")
		for _, want := range c.says {
			if !strings.Contains(words, want) {
				t.Errorf("%q: check does not say %q:\n%s", c.tls, want, &out)
			}
		}
		for _, no := range c.saysNo {
			if strings.Contains(words, no) {
				t.Errorf("%q: check says %q:\n%s", c.tls, no, &out)
			}
		}
	}
}

// Who fits no login cannot send, so an open port is no relay.
func TestARouteThatLogsInIsNotWarnedOfAsARelay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	for logins, warned := range map[string]bool{"": true, "[[route.login]]\nnetworks = [\"192.0.2.64/28\"]\naccount = \"office\"\n": false} {
		write(t, filepath.Join(filepath.Dir(path), "password"), "made-up\n")
		write(t, path, "[[account]]\nname = \"office\"\nuser = \"x\"\nmethod = \"password\"\npassword_file = \"password\"\n"+
			"[[route]]\nname = \"in\"\nlisten = [\"192.0.2.1:25\"]\nservers = [\"smtp.example.net:587\"]\nserver_tls.mode = \"require\"\n"+logins)
		status, out, err := call("check", "-config", path)
		if words := strings.Join(strings.Fields(out), " "); status != succeeded || strings.Contains(words, "can send mail anywhere") != warned {
			t.Errorf("%q: warned of as a relay is not %v:\n%s%s", logins, warned, out, err)
		}
	}
}
