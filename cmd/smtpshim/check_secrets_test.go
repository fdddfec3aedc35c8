package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestCheckWarnsOfASecretThatEverybodyCanRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there the mode does not tell")
	}
	dir := t.TempDir()
	for _, made := range []string{filepath.Dir(dir), dir} { // for this user alone
		if err := os.Chmod(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || info.Mode()&0o001 == 0 {
			t.Skipf("the directory of the test, %s, is not everybody's: %v", d, err)
		}
	}
	inner := filepath.Join(dir, "private")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	path, account, client, within := filepath.Join(dir, "smtpshim.toml"), filepath.Join(dir, "account"), filepath.Join(dir, "client"), filepath.Join(inner, "within")
	for _, name := range []string{account, client, within} {
		write(t, name, "made-up\n")
	}
	configure := func(file string) {
		write(t, path, "[[account]]\nname = \"office\"\nuser = \"x\"\nmethod = \"password\"\npassword_file = \""+file+"\"\n"+
			"[[route]]\nname = \"in\"\nlisten = [\"192.0.2.1:25\"]\nservers = [\"smtp.example.net:587\"]\nserver_tls.mode = \"require\"\nclient_tls.mode = \"hide\"\n"+
			"[[route.login]]\nnetworks = [\"192.0.2.64/28\"]\naccount = \"office\"\nuser = \"canon\"\npassword_file = \"client\"\n")
	}
	for _, c := range []struct {
		file         string
		mode, theirs os.FileMode
		warned       []string
	}{
		{account, 0o600, 0o600, nil},
		{account, 0o640, 0o440, nil}, // a group of its own is one way to let the service read it
		{account, 0o644, 0o600, []string{"password_file: every user of this machine can read " + account}},
		{account, 0o600, 0o604, []string{"login.password_file: every user of this machine can read " + client}},
		{within, 0o644, 0o600, nil}, // nobody gets that far
	} {
		configure(c.file)
		for name, mode := range map[string]os.FileMode{c.file: c.mode, client: c.theirs} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		status, out, errs := call("check", "-config", path)
		said := strings.Join(strings.Fields(out), " ")
		if status != succeeded || strings.Count(said, "every user of this machine") != len(c.warned) {
			t.Errorf("%+v: status %d, and check says\n%s%s", c, status, out, errs)
		}
		for _, want := range c.warned {
			if !strings.Contains(said, want) {
				t.Errorf("%+v: check does not say %q:\n%s", c, want, out)
			}
		}
	}
}

func TestCheckDoesNotRepeatTheArgumentsOfACommand(t *testing.T) {
	path, program := filepath.Join(t.TempDir(), "smtpshim.toml"), os.Args[0]
	write(t, path, "[[account]]\nname = \"office\"\nuser = \"x\"\nmethod = \"oauth\"\nflow = \"command\"\ncommand = ["+strconv.Quote(program)+", \"-secret\", \"hunter2\"]\n"+
		"[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"smtp.example.net:587\"]\nserver_tls.mode = \"require\"\n"+
		"[[route.login]]\nnetworks = [\"192.0.2.64/28\"]\naccount = \"office\"\n")
	status, out, errs := call("check", "-config", path)
	said := strings.Join(strings.Fields(out), " ")
	if status != succeeded || !strings.Contains(said, "by OAuth, command: "+program+", with 2 arguments") || strings.Contains(out+errs, "hunter2") {
		t.Errorf("status %d, and check says\n%s%s", status, out, errs)
	}
}
