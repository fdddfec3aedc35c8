package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// Each unit and each drop-in of the documents is added to the units of deploy/systemd,
// and systemd reads them.
func TestTheDocumentsHaveUnitsThatSystemdUnderstands(t *testing.T) {
	analyze := real.Bin(t, "systemd", "systemd-analyze")
	all, checked := documents(t), 0
	for _, name := range inOrder(all) {
		for _, b := range blocks(name, all[name]) {
			if b.language != "ini" {
				continue
			}
			checked++
			root := unitsRoot(t)
			units := []string{"smtpshim.service", "smtpshim.socket"}
			file := units[0] + ".d/document.conf"
			switch {
			case strings.Contains(b.text, "Service="):
				units = append(units, "smtpshim-document.socket")
				file = units[2]
			case strings.HasPrefix(b.text, "[Socket]"):
				file = units[1] + ".d/document.conf"
			}
			file = filepath.Join(root, "etc/systemd/system", file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, file, b.text)
			out, err := exec.Command(analyze, append([]string{"verify", "--root=" + root}, units...)...).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%s:%d: %v\n%s", b.file, b.line, err, out)
			}
		}
	}
	if checked < 4 {
		t.Errorf("%d units found, want at least 4", checked)
	}
}

// unitsRoot makes a root directory with systemd's units, those of deploy/systemd, and
// the programs that they run.
func unitsRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	err := errors.Join(
		os.CopyFS(root+"/usr/lib/systemd/system", os.DirFS("/usr/lib/systemd/system")),
		os.MkdirAll(root+"/usr/bin", 0o755),
		os.MkdirAll(root+"/etc/systemd/system", 0o755),
		os.Symlink("usr/lib", root+"/lib"),
	)
	for _, program := range []string{"smtpshim", "sh", "kill"} {
		err = errors.Join(err, os.WriteFile(root+"/usr/bin/"+program, nil, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"smtpshim.service", "smtpshim.socket"} {
		write(t, root+"/etc/systemd/system/"+unit, read(t, top+"/deploy/systemd/"+unit))
	}
	return root
}
