package config

import (
	"flag"
	"path/filepath"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/tlspolicy"
)

var update = flag.Bool("update", false, "write the .err files of testdata anew")

var write = configtest.Write

func mustRead(t *testing.T, path string) *Config {
	t.Helper()
	c, err := Read(path, tlspolicy.SelfSigned)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readText is mustRead of a text.
func readText(t *testing.T, text string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, text)
	return mustRead(t, path)
}
