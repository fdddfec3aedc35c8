package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestTheVersionIsThatOfTheRelease(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "smtpshim")
	build := exec.Command("go", "build", "-ldflags", "-X main.release=1.2.3", "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, "version").Output()
	if err != nil || !bytes.HasPrefix(out, []byte("smtpshim 1.2.3\ncommit ")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheVersionHasTheCommit(t *testing.T) {
	setting := func(text string) (s []debug.BuildSetting) {
		for word := range strings.FieldsSeq(text) {
			key, value, _ := strings.Cut(word, "=")
			s = append(s, debug.BuildSetting{Key: key, Value: value})
		}
		return s
	}
	for settings, want := range map[string]string{
		"": "commit unknown",
		"vcs.revision=0123456789abcdef vcs.time=2026-11-27T02:05:00Z vcs.modified=false": "commit 0123456789ab of 2026-11-27T02:05:00Z",
		"vcs.revision=0123456789abcdef vcs.time=2026-11-27T02:05:00Z vcs.modified=true":  "commit 0123456789ab and changes of 2026-11-27T02:05:00Z",
	} {
		if got := commitOf(setting(settings)); got != want {
			t.Errorf("%q: %q, want %q", settings, got, want)
		}
	}
}
