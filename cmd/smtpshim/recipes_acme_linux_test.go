package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
)

// TestTheHookOfACMEHandsARenewedCertificateOver runs it as Certbot would, but for the
// owners of the files and the place.
func TestTheHookOfACMEHandsARenewedCertificateOver(t *testing.T) {
	dir := t.TempDir()
	lineage, programs, etc := filepath.Join(dir, "live/mail.example.com"), filepath.Join(dir, "bin"), filepath.Join(dir, "etc")
	for _, made := range []string{lineage, programs, filepath.Join(etc, "tls"), filepath.Join(dir, "live/other.example.com")} {
		if err := os.MkdirAll(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(programs, "systemctl"), "#!/bin/sh\necho \"$@\" >>"+dir+"/told\n")
	if err := os.Chmod(filepath.Join(programs, "systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	hook := strings.NewReplacer("/etc/smtpshim", etc, "-o smtpshim -g smtpshim ", "").Replace(readRecipe(t, "acme-certificates.md").blocks("sh")[0])
	renew := func(lineage string) {
		t.Helper()
		made, _, err := smtptest.Certificate("mail.example.com")
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(lineage, "fullchain.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]})))
		write(t, filepath.Join(lineage, "privkey.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
		run := exec.Command("sh", "-c", hook)
		run.Env = append(os.Environ(), "RENEWED_LINEAGE="+lineage, "PATH="+programs+":"+os.Getenv("PATH"))
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	wantSame := func() {
		t.Helper()
		for from, to := range map[string]string{"fullchain.pem": "mail.pem", "privkey.pem": "mail.key"} {
			if read(t, filepath.Join(lineage, from)) != read(t, filepath.Join(etc, "tls", to)) {
				t.Errorf("%s is not the new %s", to, from)
			}
		}
	}
	renew(lineage)
	wantSame()
	write(t, filepath.Join(etc, "smtpshim.toml"), readRecipe(t, "acme-certificates.md").blocks("toml")[0])
	if status, _, err := call("check", "-config", filepath.Join(etc, "smtpshim.toml")); status != succeeded {
		t.Errorf("check: %d, %s", status, err)
	}
	renew(lineage)
	wantSame()
	renew(filepath.Join(dir, "live/other.example.com"))
	wantSame()
	if told := read(t, filepath.Join(dir, "told")); told != "reload smtpshim\nreload smtpshim\n" {
		t.Errorf("systemctl was told %q", told)
	}
}
