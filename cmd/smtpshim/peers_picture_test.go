//go:build linux

package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"

	"smtpshim/proxy/smtptest"
)

// TestThePictureOfThePage takes the picture that observe.md has of the page; with -update
// it goes there. Fonts and colours of two machines are never quite the same, so the two
// are not compared.
func TestThePictureOfThePage(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, ok := smtptest.LookupServer("exchange-5.0")
	if !ok {
		t.Fatal("there is no exchange-5.0")
	}
	running := server.Start(l)
	t.Cleanup(func() { running.Close() })
	kept, err := filepath.Abs(top + "/deploy/doc/page.png")
	if err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(t.TempDir(), "page.png")
	if *update {
		taken = kept
	}
	startShim(t, shimOptions{server: running.Addr()}).inBrowser(t, "picture.cjs", taken)
	for _, file := range []string{taken, kept} {
		picture, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(picture, []byte("\x89PNG\r\n")) || len(picture) > 100_000 {
			t.Errorf("%s has %d octets, want a PNG of 100,000 at most", file, len(picture))
		}
	}
}
