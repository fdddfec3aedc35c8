package config

import (
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/tlspolicy"
)

func TestNumbersThatAreTooLargeOnOneLineAreAllNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, configtest.Route("in", "127.0.0.1:2501")+"limits = {sessions = 99999999999999999999, errors = 88888888888888888888}\n")
	want := path + ":5: route.limits.sessions: 99999999999999999999 or 88888888888888888888 is out of range; it may be 1 to 1000000"
	if _, err := Read(path, tlspolicy.SelfSigned); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("not %q in\n%v", want, err)
	}
}

// For each of them the file is decoded again.
func TestAFileOfNumbersThatAreTooLargeIsNotReadForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	for numbers, want := range map[int]string{maxVast: "x: unknown key", maxVast + 1: "not TOML: 99999999999999999999 is out of range for int64"} {
		write(t, path, configtest.Route("in", "127.0.0.1:2501")+"x = ["+strings.Repeat("99999999999999999999, ", numbers)+"]\n")
		if _, err := Read(path, tlspolicy.SelfSigned); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d numbers: not %q in\n%v", numbers, want, err)
		}
	}
}
