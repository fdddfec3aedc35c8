package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/tlspolicy"
)

const (
	selfSigned   = "client_tls = {mode = \"offer\", certificate = \"self-signed\"}\n"
	refreshToken = "[[account]]\nname = \"office\"\nuser = \"x\"\nmethod = \"oauth\"\nprovider = \"google\"\nflow = \"refresh-token\"\nclient_id = \"x\"\n"
)

// mistakeIn returns what is wrong in a configuration at path.
func mistakeIn(t *testing.T, path, text string) string {
	t.Helper()
	write(t, path, text)
	_, err := Read(path, tlspolicy.SelfSigned)
	if err == nil {
		t.Fatalf("accepted:\n%s", text)
	}
	return err.Error()
}

func TestAStateDirThatIsAFileIsTheMistakeAndNotTheCertificate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "smtpshim.toml")
	write(t, filepath.Join(dir, "state"), "a file\n")
	route := configtest.Route("in", "127.0.0.1:2525") + selfSigned
	for _, text := range []string{route, route + configtest.Route("out", "127.0.0.1:2526") + selfSigned + refreshToken,
		configtest.Route("in", "127.0.0.1:2525") + refreshToken} {
		got := mistakeIn(t, path, "state_dir = \"state\"\n"+text)
		if begin := path + ":1: state_dir: "; !strings.HasPrefix(got, begin) || strings.Contains(got, "\n") {
			t.Errorf("not one mistake that begins with %q:\n%s", begin, got)
		}
		if !strings.Contains(got, "cannot write to "+filepath.Join(dir, "state")+" (") || !strings.HasSuffix(got, "; name a directory") {
			t.Errorf("not the full path, or not what to do:\n%s", got)
		}
	}
}

func TestTryWritingLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	for _, at := range []string{dir, filepath.Join(dir, "state", "in")} {
		if err := TryWriting(at); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is in it, %v", left, err)
	}
}

func TestAFileThatIsNotThereIsNamedWithItsFullPath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	got := mistakeIn(t, "smtpshim.toml", configtest.Route("in", "127.0.0.1:2525")+"server_tls = {mode = \"require\", ca = \"it's none.pem\"}\n")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if want := "there is no file " + filepath.Join(here, "it's none.pem") + ";"; !strings.Contains(got, want) {
		t.Errorf("not %q:\n%s", want, got)
	}
	if quoted := "'" + here + `/it'\''s none.pem'`; !strings.Contains(got, quoted) {
		t.Errorf("the command has not %s:\n%s", quoted, got)
	}
}
