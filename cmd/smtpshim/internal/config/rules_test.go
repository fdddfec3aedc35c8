package config

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestAWrongModeIsAMistake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"192.0.2.1:25\"]\nmode = \"watch\"\n")
	_, err := Read(path, nil)
	if err == nil || !strings.Contains(err.Error(), `5: route.mode: "watch" is not one of "heal" or "observe"`) {
		t.Errorf("got %v", err)
	}
}
