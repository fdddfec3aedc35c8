//go:build linux && !race

package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemctl stands for the service manager: the main process is what .main says, and
// after a signal what .next says. It notes what it was asked for.
const systemctl = `#!/bin/sh
echo "$*" >>"$0.asked"
case $1 in
show) cat "$0.main" ;;
kill) cat "$0.next" >"$0.main" ;;
esac
`

func TestAnUpgradeSaysWhetherTheNewProgramHasTakenOver(t *testing.T) {
	for _, test := range []struct {
		main, next string
		asked      bool
		want       string
	}{
		{"10", "11", true, ""},
		{"10", "10", true, "smtpshim: the new program has not taken over"},
		{"0", "0", false, ""},
	} {
		dir := t.TempDir()
		fake := filepath.Join(dir, "systemctl")
		for name, text := range map[string]string{"": systemctl, ".main": test.main, ".next": test.next} {
			if err := os.WriteFile(fake+name, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("../systemd/upgrade")
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "SMTPSHIM_PAUSE=0"}
		out, err := cmd.CombinedOutput()
		if (err == nil) != (test.want == "") || !strings.HasPrefix(string(out), test.want) {
			t.Errorf("from %s to %s: %v, %q", test.main, test.next, err, out)
		}
		asked, _ := os.ReadFile(fake + ".asked")
		if strings.Contains(string(asked), "kill --signal USR2 --kill-who main smtpshim.service\n") != test.asked {
			t.Errorf("from %s: asked for %q", test.main, asked)
		}
	}
}
