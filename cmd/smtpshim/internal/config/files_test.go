package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/tlspolicy"
)

const withCredentials = "[[account]]\nname = \"office\"\nuser = \"x\"\nmethod = \"password\"\npassword_file = \"${CREDENTIALS_DIRECTORY}/office.password\"\n" +
	"[[account]]\nname = \"cloud\"\nuser = \"y\"\nmethod = \"oauth\"\nprovider = \"microsoft\"\nflow = \"client-credentials\"\ntenant = \"example.com\"\n" +
	"client_id = \"z\"\nclient_secret_file = \"${CREDENTIALS_DIRECTORY}/cloud.secret\"\n" +
	"[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"192.0.2.1:587\"]\nserver_tls.mode = \"require\"\n" +
	"client_tls = {mode = \"offer\", certificate = \"${CREDENTIALS_DIRECTORY}/mail.pem\", key = \"${CREDENTIALS_DIRECTORY}/mail.key\"}\n"

func TestSecretsMayBeCredentialsOfSystemd(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "smtpshim.toml")
	t.Chdir(dir)
	write(t, "office.password", "made-up\n")
	write(t, "cloud.secret", "made-up\n")
	key := configtest.Key(t, "mail.key")
	configtest.Certificate(t, "mail.pem", key, time.Now().AddDate(1, 0, 0))
	write(t, path, withCredentials)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	c := mustRead(t, path)
	if file := c.Accounts[0].passwordFile; file != filepath.Join(dir, "office.password") {
		t.Errorf("the password is in %s", file)
	}
	if !slices.ContainsFunc(c.Places, func(p Place) bool { return p.Path == dir }) {
		t.Error("a program that has locked itself in cannot read them")
	}
	if err := os.Remove("office.password"); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, tlspolicy.SelfSigned); err == nil || !strings.Contains(err.Error(), "the service needs LoadCredential=office.password:FILE") {
		t.Errorf("one that was not handed over: %v", err)
	}
}

func TestACredentialWithoutSystemdSaysWhoHandsItOver(t *testing.T) {
	if _, err := os.Stat(unitCredentials); err == nil {
		t.Skip("the service runs here, with credentials")
	}
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, withCredentials)
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err := Read(path, tlspolicy.SelfSigned)
	list, ok := err.(Mistakes)
	if !ok {
		t.Fatal(err)
	}
	named := 0
	for _, m := range list {
		if strings.Contains(m.Text, "systemd sets CREDENTIALS_DIRECTORY for a service with LoadCredential=") {
			named++
		}
	}
	if named != 3 && named != 4 { // of a certificate and its key the first may be enough
		t.Errorf("%d mistakes tell of it:\n%v", named, err)
	}
}

func TestACredentialThatIsWrittenOtherwiseIsNamedSo(t *testing.T) {
	for _, name := range []string{"$CREDENTIALS_DIRECTORY/office.password", "${CREDENTIALS_DIRECTORY}", "${CREDENTIALS_DIRECTORY}office.password"} {
		path := filepath.Join(t.TempDir(), "smtpshim.toml")
		write(t, path, strings.Replace(withCredentials, "${CREDENTIALS_DIRECTORY}/office.password", name, 1))
		want := "account.password_file: there is no such file; a credential of systemd's is written ${CREDENTIALS_DIRECTORY}/NAME"
		if _, err := Read(path, tlspolicy.SelfSigned); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: not %q in\n%v", name, want, err)
		}
	}
}

// By its cause it is told whether a file is out of the reach of a program that has locked
// itself in.
func TestAMistakeAboutAFileHasItsCause(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, configtest.Route("in", "127.0.0.1:2525")+"server_tls = {mode = \"require\", ca = \"none.pem\"}\n")
	_, err := Read(path, tlspolicy.SelfSigned)
	list, ok := err.(Mistakes)
	if !ok || len(list) != 1 || !errors.Is(list[0], fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
