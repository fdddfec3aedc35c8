package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRootHearsThatTheDirectoryItHasMadeIsRoots(t *testing.T) {
	there := t.TempDir()
	missing := filepath.Join(there, "state")
	if note := madeByRoot(missing, 0); !strings.HasSuffix(note, "chown -R smtpshim:smtpshim "+missing+"\n") {
		t.Errorf("root hears %q", note)
	}
	for dir, uid := range map[string]int{there: 0, missing: 1000} {
		if note := madeByRoot(dir, uid); note != "" {
			t.Errorf("user %d hears %q of %s", uid, note, dir)
		}
	}
}
