package main

import (
	"flag"
	"path/filepath"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/tlspolicy"
)

var update = flag.Bool("update", false, "write anew what is compared with files")

var write = configtest.Write

// configDir goes to a directory with the files of the configuration's tests.
func configDir(t *testing.T) {
	t.Helper()
	configtest.Dir(t, "internal/config/testdata")
}

func mustRead(t *testing.T, path string) *config.Config {
	t.Helper()
	c, err := config.Read(path, tlspolicy.SelfSigned)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readText is mustRead of a text.
func readText(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, text)
	return mustRead(t, path)
}
