package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/smtptest/real"
	"smtpshim/proxy/tlspolicy"
)

// runsAsNobody runs smtpshim as a user without rights and returns what it writes to stderr.
func runsAsNobody(t *testing.T, args ...string) (errs string, err error) {
	t.Helper()
	path := programOfNobody(t)
	var text strings.Builder
	c := exec.Command(path, args...)
	c.Stderr = &text
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	err = c.Run()
	return text.String(), err
}

// forNobody writes a configuration that everybody can read, with keys of client_tls.
func forNobody(t *testing.T, dir, state, tls string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "smtpshim.toml")
	text := fmt.Sprintf("state_dir = %q\nadmin.listen = \"\"\n%sclient_tls = {mode = \"offer\", %s}\n", state, configtest.Route("in", freeAddress(t)), tls)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckAndRunSayThatStateDirCannotBeWritten(t *testing.T) {
	dir, closed := real.Dir(t), t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "own")
	if err := os.MkdirAll(filepath.Join(own, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ state, mends string }{
		{filepath.Join(dir, "state"), "install -d -o smtpshim -g smtpshim -m 750 " + filepath.Join(dir, "state")},
		{own, "chown -R smtpshim:smtpshim " + own},
		{filepath.Join(closed, "state"), "name a directory that it can reach"},
	} {
		path := forNobody(t, dir, c.state, `certificate = "self-signed"`)
		for _, command := range []string{"check", "run"} {
			said, err := runsAsNobody(t, command, "-config", path)
			want := path + ":1: state_dir: user nobody cannot write to " + c.state + " ("
			if err == nil || !strings.Contains(said, want) || !strings.Contains(said, c.mends) || strings.Contains(said, "client_tls") {
				t.Errorf("%s, %s: %v, and not %q and %q alone in\n%s", command, c.state, err, want, c.mends, said)
			}
		}
	}
}

// Certificates that are there need only to be read.
func TestCheckAcceptsAStateDirInWhichNothingHasToBeMade(t *testing.T) {
	dir := real.Dir(t)
	state := filepath.Join(dir, "state")
	path := forNobody(t, dir, state, `certificate = "self-signed", names = ["mail.example.com"]`)
	sources, err := tlspolicy.SelfSigned(filepath.Join(state, "in"), "mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{state, filepath.Join(state, "in")}
	for _, s := range sources {
		files = append(files, s.Certificate)
	}
	for _, file := range files {
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := runsAsNobody(t, "check", "-config", path); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}

func TestCheckNamesTheFileThatItsUserMayNotReadAndWhatLetsIt(t *testing.T) {
	dir, elsewhere := real.Dir(t), t.TempDir()
	for _, at := range []string{dir, elsewhere} {
		key := configtest.Key(t, filepath.Join(at, "mail.key"))
		configtest.Certificate(t, filepath.Join(at, "mail.pem"), key, time.Now().AddDate(1, 0, 0))
		if err := os.Chmod(filepath.Join(at, "mail.pem"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	here, other := filepath.Join(dir, "mail.key"), filepath.Join(elsewhere, "mail.key")
	for _, c := range []struct{ key, names, mends string }{
		{"mail.key", here, "chown smtpshim:smtpshim " + here + " && chmod 600 " + here},
		{other, other, "install -o smtpshim -g smtpshim -m 600 " + other + " " + here},
	} {
		said, err := runsAsNobody(t, "check", "-config", forNobody(t, dir, dir, fmt.Sprintf(`certificate = "mail.pem", key = %q`, c.key)))
		want := "route.client_tls.key: user nobody may not read " + c.names + " (permission denied)"
		if err == nil || !strings.Contains(said, want) || !strings.Contains(said, c.mends) {
			t.Errorf("%v, and not %q and %q in\n%s", err, want, c.mends, said)
		}
	}
}
