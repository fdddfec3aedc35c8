//go:build linux && !race

package packages

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// A machine is a clean Debian in a folder, with a network of its own. Nothing runs in
// it, and so nothing of systemd does.
type machine struct {
	t             *testing.T
	root, network string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	if os.Getuid() != 0 {
		real.Missing(t, "only root can install packages")
	}
	clean := filepath.Join(os.Getenv("SMTPSHIM_PEERS"), "debian")
	if _, err := os.Stat(filepath.Join(clean, "var/lib/dpkg/status")); err != nil {
		real.Missing(t, "no Debian to install into: debootstrap --variant=minbase stable $SMTPSHIM_PEERS/debian")
	}
	m := machine{t, filepath.Join(real.Dir(t), "root"), fmt.Sprintf("smtpshim-packages-%d", os.Getpid())}
	output(t, "cp", "-a", clean, m.root)
	m.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
	m.write("/etc/dpkg/dpkg.cfg.d/test", "force-unsafe-io\n", 0o644) // it is thrown away anyway
	if out, err := exec.Command(real.Bin(t, "ip", "ip"), "netns", "add", m.network).CombinedOutput(); err != nil {
		real.Missing(t, fmt.Sprintf("network namespaces: %s", out))
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "delete", m.network).Run() })
	output(t, "ip", "-n", m.network, "link", "set", "lo", "up")
	return m
}

// within is the command line of a program in the machine.
func (m machine) within(user string, args ...string) []string {
	return append([]string{"ip", "netns", "exec", m.network, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
		"chroot", "--userspec=" + user, m.root}, args...)
}

// run runs a program in the machine as root, and returns what it prints.
func (m machine) run(args ...string) string {
	m.t.Helper()
	line := m.within("root", args...)
	return output(m.t, line[0], line[1:]...)
}

// serve runs what the unit says, as its user, until it is ready; asks it for path of
// the admin listener; and ends it.
func (m machine) serve(path string) string {
	m.t.Helper()
	_, unit, _ := strings.Cut(m.read("/usr/lib/systemd/system/smtpshim.service"), "\nExecStart=")
	start, _, _ := strings.Cut(unit, "\n")
	line := m.within("smtpshim:smtpshim", strings.Fields(start)...)
	process, log := real.StartLogged(m.t, nil, line[0], line[1:]...)
	fetch := func(path string) (string, error) {
		out, err := exec.Command("ip", "netns", "exec", m.network, real.Bin(m.t, "curl", "curl"), "-sf", "http://127.0.0.1:9525"+path).Output()
		return string(out), err
	}
	real.Wait(m.t, "/readyz of the installed smtpshim", func() bool { _, err := fetch("/readyz"); return err == nil })
	answer, err := fetch(path)
	if err != nil {
		m.t.Errorf("%s: %v", path, err)
	}
	process.Signal(syscall.SIGTERM)
	real.Wait(m.t, "its end", func() bool { return strings.Contains(log.String(), "stopped") })
	return answer + log.String()
}

func (m machine) has(path string) bool {
	_, err := os.Lstat(m.root + path)
	return err == nil
}

func (m machine) read(path string) string {
	m.t.Helper()
	text, err := os.ReadFile(m.root + path)
	if err != nil {
		m.t.Error(err)
	}
	return string(text)
}

func (m machine) write(path, text string, mode fs.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(m.root+path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// put copies a package into the machine.
func (m machine) put(file string) string {
	m.t.Helper()
	output(m.t, "cp", file, m.root+"/tmp")
	return "/tmp/" + filepath.Base(file)
}

// files are all that the machine has, less what its package management notes of its
// own work.
func (m machine) files() []string {
	var all []string
	filepath.WalkDir(m.root, func(path string, _ fs.DirEntry, err error) error {
		path = strings.TrimPrefix(path, m.root)
		for _, own := range []string{"/var/lib/dpkg", "/var/log", "/var/cache", "/tmp/", "/run/adduser"} {
			if strings.HasPrefix(path, own) {
				return nil
			}
		}
		all = append(all, path)
		return err
	})
	return slices.DeleteFunc(all, func(path string) bool { // as adduser leaves them behind
		return slices.Contains([]string{"/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-"}, path)
	})
}

// newer makes of a package one of another version and with more in its configuration.
func newer(t *testing.T, file, number, more string) string {
	t.Helper()
	dir := t.TempDir()
	tree, packed := dir+"/tree", fmt.Sprintf("%s/smtpshim_%s.deb", dir, number)
	output(t, "dpkg-deb", "-R", file, tree)
	output(t, "sed", "-i", "s/^Version: .*/Version: "+number+"/", tree+"/DEBIAN/control")
	comes, err := os.OpenFile(tree+config, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = comes.WriteString(more)
		comes.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	output(t, "dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "-b", tree, packed)
	return packed
}

const (
	config      = "/etc/smtpshim/smtpshim.toml"
	serviceLink = "/etc/systemd/system/multi-user.target.wants/smtpshim.service"
	socketLink  = "/etc/systemd/system/sockets.target.wants/smtpshim.socket"
)

func TestACleanDebianInstallsUpgradesAndForgetsThePackage(t *testing.T) {
	deb := built(t, "deb")
	m := newMachine(t)
	before, users := m.files(), m.read("/etc/passwd")+m.read("/etc/group")

	m.run("dpkg", "-i", m.put(deb))
	if out := m.run("smtpshim", "version"); !strings.HasPrefix(out, "smtpshim "+version+"\ncommit ") {
		t.Errorf("it is %s", out)
	}
	if out := m.run("smtpshim", "check", "-config", config); !strings.Contains(out, "is right: 1 route, 0 warnings.") {
		t.Errorf("check of the configuration as installed:\n%s", out)
	}
	if !m.has(serviceLink) || m.has(socketLink) {
		t.Errorf("enabled: service %v, socket %v; want the service alone", m.has(serviceLink), m.has(socketLink))
	}
	if strings.Contains(m.read("/usr/lib/systemd/system/smtpshim.service"), "\nRequires=smtpshim.socket") {
		t.Error("the service takes port 25, by the socket that it requires")
	}
	if out := m.serve("/metrics"); !strings.Contains(out, `smtpshim_build_info{goversion="go`) || !strings.Contains(out, `version="`+version+`"} 1`) ||
		!strings.Contains(out, "listen=127.0.0.1:2525 servers=127.0.0.1:25") {
		t.Errorf("metrics and log:\n%s", out)
	}

	edited := strings.Replace(m.read(config), "2525", "2526", 1) + "\n[route.client_tls]\nmode = \"offer\"\ncertificate = \"self-signed\"\n"
	m.write(config, edited, 0o644)
	if out := m.serve("/readyz"); !strings.Contains(out, "listen=127.0.0.1:2526") {
		t.Errorf("with the edited configuration:\n%s", out)
	}
	if keys, _ := filepath.Glob(m.root + "/var/lib/smtpshim/*"); len(keys) == 0 {
		t.Error("the service cannot write its state")
	}
	m.upgrade(deb, edited)

	m.run("dpkg", "-r", "smtpshim")
	if m.has("/usr/bin/smtpshim") || m.read(config) != edited {
		t.Error("removing the package does not take away the program, or not leave the configuration")
	}
	m.run("dpkg", "-P", "smtpshim")
	after := m.files()
	for _, path := range after {
		if !slices.Contains(before, path) {
			t.Errorf("%s is left", path)
		}
	}
	if len(after) < len(before) {
		t.Errorf("%d files are gone", len(before)-len(after))
	}
	if left := m.read("/etc/passwd") + m.read("/etc/group"); left != users {
		t.Errorf("users and groups are\n%s\nwant\n%s", left, users)
	}
}

// upgrade installs two newer packages: one with the same configuration, which asks
// nothing, and one with another, where dpkg is told to keep what was edited.
func (m machine) upgrade(deb, edited string) {
	m.t.Helper()
	if err := os.Remove(m.root + serviceLink); err != nil { // as the administrator's systemctl disable
		m.t.Error(err)
	}
	m.run("dpkg", "-i", m.put(newer(m.t, deb, "1.2.3-1", "")))
	m.run("dpkg", "--force-confold", "-i", m.put(newer(m.t, deb, "1.2.4-1", "# something new\n")))
	if out := m.run("dpkg-query", "-W", "-f", "${Version} ${Status}", "smtpshim"); out != "1.2.4-1 install ok installed" {
		m.t.Errorf("upgraded to %s", out)
	}
	if m.read(config) != edited {
		m.t.Errorf("the upgrade has changed the edited configuration to\n%s", m.read(config))
	}
	if m.has(serviceLink) {
		m.t.Error("the upgrade enables a service that was disabled")
	}
	m.serve("/readyz")
}

func TestSystemdMakesTheSameUser(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(root+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs("smtpshim.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	output(t, "systemd-sysusers", "--root="+root, file)
	users, err := os.ReadFile(root + "/etc/passwd")
	if err != nil || !strings.HasPrefix(string(users), "smtpshim:x:") || !strings.Contains(string(users), ":/var/lib/smtpshim:") {
		t.Errorf("%v; users: %s", err, users)
	}
}

// TestTheRPMsScriptsDo installs the RPM on Debian, which nobody should, but has a shell
// and an rpm.
func TestTheRPMsScriptsDo(t *testing.T) {
	m := newMachine(t)
	rpm := func(args ...string) {
		t.Helper()
		output(t, "rpm", append([]string{"--root", m.root, "--force-debian", "--nodeps"}, args...)...)
	}
	rpm("-i", built(t, "rpm"))
	m.serve("/readyz")
	m.write(config, m.read(config)+"# edited\n", 0o644)
	rpm("-e", "smtpshim")
	if m.has("/usr/bin/smtpshim") || !strings.HasSuffix(m.read(config+".rpmsave"), "# edited\n") {
		t.Error("erasing the package does not take away the program, or not keep the configuration")
	}
}
