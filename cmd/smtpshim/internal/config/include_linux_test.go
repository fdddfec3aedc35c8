package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/tlspolicy"
)

// To open a named pipe, a reload would wait for whoever writes into it, and what never
// ends would take all memory.
func TestWhatIsNoFileIsNotIncluded(t *testing.T) {
	long := filepath.Join(t.TempDir(), "long")
	write(t, long, "")
	if err := os.Truncate(long, maxSource+1); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"/dev/null":                          "it is no file, but a device",
		t.TempDir():                          "it is no file, but a directory",
		filepath.Join(t.TempDir(), "nobody"): "it is a link to a file that is not there, or has gone meanwhile",
		"x.toml":                             "too many levels of symbolic links",
		long:                                 "it has more than 16 MiB, and is no configuration",
		namedPipe(t):                         "it is no file, but a named pipe",
	} {
		path := configtest.Including(t, configtest.Route("a", "127.0.0.1:2501"), nil)
		part := filepath.Join(filepath.Dir(path), "conf.d", "x.toml")
		if err := os.Symlink(what, part); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path, tlspolicy.SelfSigned)
		if err == nil || !strings.Contains(err.Error(), part+": reading "+part+": ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// namedPipe is one that is empty: whoever reads it comes to its end.
func namedPipe(t *testing.T) string {
	path, written := filepath.Join(t.TempDir(), "pipe"), make(chan error, 1)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		pipe, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for a reader
		pipe.Close()
		written <- err
	}()
	t.Cleanup(func() {
		reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			err = <-written
		}
		reader.Close()
		if err != nil {
			t.Error(err)
		}
	})
	return path
}
