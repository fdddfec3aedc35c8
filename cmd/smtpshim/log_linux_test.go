package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestPrioritiesAreForTheJournalAlone has JOURNAL_STREAM mean a file.
func TestPrioritiesAreForTheJournalAlone(t *testing.T) {
	stream, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	other, err := os.Create(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var s syscall.Stat_t
	if err := syscall.Fstat(int(stream.Fd()), &s); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", s.Dev, s.Ino))
	for _, c := range []struct {
		file   *os.File
		format string
		want   string
	}{
		{stream, "text", `^<6>level=INFO msg=x\n$`},
		{stream, "json", `^\{"time":`},
		{other, "text", `^time=.* level=INFO msg=x\n$`},
	} {
		if err := c.file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		c.file.Seek(0, 0)
		newLog(c.file, c.format, slog.LevelInfo).Info("x")
		got, err := os.ReadFile(c.file.Name())
		if err != nil || !regexp.MustCompile(c.want).Match(got) {
			t.Errorf("%s, %s: %q, %v", filepath.Base(c.file.Name()), c.format, got, err)
		}
	}
	var b strings.Builder
	newLog(&b, "text", slog.LevelInfo).Info("x")
	if !strings.HasPrefix(b.String(), "time=") {
		t.Errorf("what is no file got %q", b.String())
	}
}
