//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/smtptest/real"
)

// units is where they are.
const units = ".."

func needSystemd(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		real.Missing(t, "no systemd-analyze here")
	}
}

// installed makes a root directory in which systemd finds the units, the program,
// and what both need. It has these drop-ins of ours.
func installed(t *testing.T, dropIns ...string) (root string) {
	t.Helper()
	needSystemd(t)
	root = t.TempDir()
	here := root + "/etc/systemd/system/"
	all := []error{
		os.CopyFS(root+"/usr/lib/systemd/system", os.DirFS("/usr/lib/systemd/system")),
		os.MkdirAll(root+"/usr/bin", 0o755),
		os.Symlink("usr/lib", root+"/lib"),
		os.MkdirAll(here+"smtpshim.service.d", 0o755),
		copyUnit("smtpshim.service", here),
		copyUnit("smtpshim.socket", here),
	}
	for _, program := range []string{"smtpshim", "sh", "kill"} {
		all = append(all, os.WriteFile(root+"/usr/bin/"+program, nil, 0o755))
	}
	for _, name := range dropIns {
		all = append(all, copyUnit(name, here+"smtpshim.service.d"))
	}
	if err := errors.Join(all...); err != nil {
		t.Fatal(err)
	}
	return root
}

// copyUnit copies one of ours into a directory.
func copyUnit(name, dir string) error {
	text, err := os.ReadFile(filepath.Join(units, name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o644)
}

// dropIns are the ways to have the unit: as it is, and with either drop-in.
var dropIns = map[string][]string{"alone": nil, "ports": {"ports.conf"}, "transparent": {"transparent.conf"}}

func TestSystemdUnderstandsTheUnits(t *testing.T) {
	for name, with := range dropIns {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command("systemd-analyze", "verify", "--root="+installed(t, with...), "smtpshim.service", "smtpshim.socket").CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestTheServiceIsExposedToLittle(t *testing.T) {
	for name, with := range dropIns {
		t.Run(name, func(t *testing.T) {
			most := "--threshold=12" // tenths
			if with != nil {
				most = "--threshold=15"
			}
			out, err := exec.Command("systemd-analyze", "security", "--offline=true", most, "--root="+installed(t, with...), "smtpshim.service").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// launched is what became of a program under the unit, with more lines in it.
func launched(t *testing.T, launcher, more string, args ...string) (output string, killed bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(units, "smtpshim.service"))
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "smtpshim.service")
	if err := os.WriteFile(unit, []byte(strings.Replace(string(text), "\n[Install]", more+"\n[Install]", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(launcher, append([]string{unit}, args...)...)
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if killed = ok && status.Signaled() && status.Signal() == syscall.SIGSYS; err != nil && !killed {
		t.Errorf("%v\n%s", err, out)
	}
	return string(out), killed
}

func build(t *testing.T, what string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, what).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func TestTheProgramNeedsOnlyWhatTheUnitAllows(t *testing.T) {
	needSystemd(t)
	launcher, program := build(t, "."), build(t, "smtpshim/cmd/smtpshim")
	if out, killed := launched(t, launcher, "", program, "demo"); killed || !strings.Contains(out, "All 5 were healed.") {
		t.Errorf("killed: %v\n%s", killed, out)
	}
	for _, call := range []string{"epoll_create1", "accept4", "@network-io"} {
		if out, killed := launched(t, launcher, "SystemCallFilter=~"+call+"\n", program, "demo"); !killed {
			t.Errorf("without %s it works all the same:\n%s", call, out)
		}
	}
}

// inside is set where these tests run under the unit.
const inside = "SMTPSHIM_TEST_CONFINED"

// attempts are what an intruder might do.
var attempts = map[string]func() error{
	"nothing":     func() error { return nil },
	"chown":       func() error { return unix.Chown("/", -1, -1) },
	"mount":       func() error { return unix.Mount("", "/nowhere", "", 0, "") },
	"ptrace":      func() error { return unix.PtraceAttach(0) },
	"packets":     func() error { return socket(unix.AF_PACKET) },
	"netlink":     func() error { return socket(unix.AF_NETLINK) },
	"write, exec": func() error { return mapped(unix.PROT_WRITE | unix.PROT_EXEC) },
	"read, exec":  func() error { return mapped(unix.PROT_READ | unix.PROT_EXEC) },
	"made exec": func() error {
		page, err := unix.Mmap(-1, 0, 4096, unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		return unix.Mprotect(page, unix.PROT_EXEC)
	},
}

func socket(family int) error {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func mapped(protection int) error {
	_, err := unix.Mmap(-1, 0, 4096, protection, unix.MAP_ANON|unix.MAP_PRIVATE)
	return err
}

func TestAnIntruderIsRefused(t *testing.T) {
	if os.Getenv(inside) != "" { // the last argument is the attempt
		if err := attempts[os.Args[len(os.Args)-1]](); err != nil {
			t.Error(err)
		}
		return
	}
	needSystemd(t)
	launcher := build(t, ".")
	allowed := []string{"nothing", "netlink", "read, exec"}
	for name := range attempts {
		if out, killed := launched(t, launcher, "", os.Args[0], "-test.run=^TestAnIntruderIsRefused$", name); killed == slices.Contains(allowed, name) {
			t.Errorf("%s: killed %v\n%s", name, killed, out)
		}
	}
}

func TestLinesOfAUnitAddAndTakeAway(t *testing.T) {
	groups := map[string]string{
		"@default": "@default\n    # always\n    read\n    write\n",
		"@outer":   "@outer\n    # more\n    @inner\n    splice\n    elsewhere\n",
		"@inner":   "@inner\n    chown\n    fchown\n",
	}
	group := func(name string) (string, error) {
		if text, ok := groups[name]; ok {
			return text, nil
		}
		return "", errors.New("there is no " + name)
	}
	for _, test := range []struct{ lines, calls, err string }{
		{"SystemCallFilter=@outer", "chown fchown read splice write", ""},
		{"SystemCallFilter=@outer\nSystemCallFilter=~@inner splice", "read write", ""},
		{"SystemCallFilter=@inner\nSystemCallFilter=~chown\nSystemCallFilter=chown splice", "chown fchown read splice write", ""},
		{"SystemCallFilter=~@inner", "", "not understood"},
		{"SystemCallFilter=@nothing", "", "there is no @nothing"},
		{"SystemCallFilter=spice", "", "there is no system call spice"},
		{"NoNewPrivileges=yes", "", "no SystemCallFilter="},
	} {
		file := filepath.Join(t.TempDir(), "test.service")
		if err := os.WriteFile(file, []byte("[Service]\nRestrictAddressFamilies=AF_INET\n"+test.lines+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := readUnit(file, group)
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v", test.lines, err)
			}
		case err != nil || strings.Join(c.calls, " ") != test.calls:
			t.Errorf("%s: %v, %v", test.lines, c, err)
		}
	}
}
