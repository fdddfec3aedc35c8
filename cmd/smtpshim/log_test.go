package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestTheJournalIsToldPriorities(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newPrioritized(&b, slog.LevelDebug)).With("a", 1)
	log.Debug("d")
	log.Info("i")
	log.WithGroup("g").Warn("w", "time", 2)
	log.Error("two\nlines")
	const want = "<7>level=DEBUG msg=d a=1\n<6>level=INFO msg=i a=1\n<4>level=WARN msg=w a=1 g.time=2\n<3>level=ERROR msg=\"two\\nlines\" a=1\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

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
		format logFormat
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
