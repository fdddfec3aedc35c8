package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/smtptest/real"
)

// checkOf is what check says of a route that listens on addresses, in one line.
func checkOf(t *testing.T, strict bool, listen ...string) (status int, said string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, fmt.Sprintf("admin.listen = \"\"\n[[route]]\nname = \"in\"\nlisten = [\"%s\"]\nservers = [\"192.0.2.1:25\"]\nclients = [\"192.0.2.0/24\"]\n", strings.Join(listen, `", "`)))
	args := []string{"check", "-config", path}
	if strict {
		args = append(args, "-strict")
	}
	status, out, errs := call(args...)
	if errs != "" {
		t.Errorf("%s", errs)
	}
	return status, strings.Join(strings.Fields(out), " ")
}

func TestCheckSaysWhoHasAPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command("cat") // has the socket, and does nothing until its input ends
	other.ExtraFiles = []*os.File{file}
	end, err := other.StdinPipe()
	if err == nil {
		err = other.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close(); other.Wait() })
	l.Close()
	file.Close()
	_, port, _ := net.SplitHostPort(address)
	for _, listen := range []string{address, ":" + port} {
		want := fmt.Sprintf("WARNING %s is in use by another program: cat (process %d)", listen, other.Process.Pid)
		if status, said := checkOf(t, false, listen); status != succeeded || !strings.Contains(said, want) || !strings.Contains(said, " 1 warning.") {
			t.Errorf("%d, and not %q in\n%s", status, want, said)
		}
		if status, _ := checkOf(t, true, listen); status != failed {
			t.Errorf("with -strict the status is %d", status)
		}
	}
}

// The one that runs has the ports that it is to have after a reload.
func TestCheckDoesNotWarnOfThePortsOfTheSmtpshimThatRuns(t *testing.T) {
	address := freeAddress(t)
	r := start(t, address, mailServer(t))
	status, out, _ := call("check", "-strict", "-config", r.path)
	words := strings.Join(strings.Fields(out), " ")
	if want := fmt.Sprintf("in use %s, by the smtpshim that runs (process %d)", address, os.Getpid()); status != succeeded || !strings.Contains(words, want) {
		t.Errorf("%d, and not %q in\n%s", status, want, out)
	}
	connect(t, address)("QUIT", "250") // it was not disturbed
}

// Who tries the proxy out is to end before it can listen.
func TestCheckDoesNotTakeAProbeThatListensForTheSmtpshimThatRuns(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	probe := exec.Command(path, "probe", "-listen", "127.0.0.1:0")
	out, err := probe.StdoutPipe()
	if err == nil {
		err = probe.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { probe.Process.Kill(); probe.Wait() })
	var address string
	if _, err := fmt.Fscanf(out, "Examining the clients that come to %s\n", &address); err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSuffix(address, ".")
	want := fmt.Sprintf("WARNING %s is in use by another program: smtpshim probe (process %d)", address, probe.Process.Pid)
	if status, said := checkOf(t, true, address); status != failed || !strings.Contains(said, want) {
		t.Errorf("%d, and not %q in\n%s", status, want, said)
	}
}

func TestCheckNamesAnAddressThatIsNotOfThisMachine(t *testing.T) {
	for _, listen := range []string{"192.0.2.77:2525", "[2001:db8::77]:2525"} {
		_, said := checkOf(t, false, listen)
		if !strings.Contains(said, ` is right, but "smtpshim run" by this user would not start now: 1 route, 1 warning.`) {
			t.Errorf("%s: the end does not say that smtpshim would not start:\n%s", listen, said)
		}
		if !strings.Contains(said, "WARNING "+listen+" is no address of this machine, so smtpshim cannot listen there; it has ") &&
			!strings.Contains(said, listen+" cannot be bound: ") { // no IPv6 at all
			t.Errorf("%s: %s", listen, said)
		}
	}
}

func TestCheckSaysThatASocketCannotBeMade(t *testing.T) {
	dir := real.Dir(t)
	file := filepath.Join(dir, "file")
	write(t, file, "")
	for path, why := range map[string]string{
		file:                                  "is there already, and is no socket, so smtpshim cannot listen there",
		filepath.Join(dir, "none", "in.sock"): "cannot be made: stat " + filepath.Join(dir, "none") + ": ",
		filepath.Join(file, "in.sock"):        "cannot be made: writing to " + file + ": ",
	} {
		want := "WARNING unix:" + path + " " + why
		if status, said := checkOf(t, true, "unix:"+path); status != failed || !strings.Contains(said, want) || !strings.Contains(said, "would not start now") {
			t.Errorf("%d, and not %q in\n%s", status, want, said)
		}
	}
	for _, path := range []string{filepath.Join(dir, "in.sock"), filepath.Join(runtimeDir, "in.sock")} {
		if status, said := checkOf(t, true, "unix:"+path); status != succeeded {
			t.Errorf("%d:\n%s", status, said)
		}
	}
}

func TestCheckFindsNothingWrongWithAFreePort(t *testing.T) {
	address := freeAddress(t)
	for range 2 { // the first check does not hold it
		if status, said := checkOf(t, true, address); status != succeeded || !strings.Contains(said, " 0 warnings.") {
			t.Errorf("%d, %s", status, said)
		}
	}
}

func TestCheckSaysThatAPortIsForRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	if firstFreePort() <= 25 {
		t.Skip("here everybody may listen on port 25")
	}
	address := port25()
	if _, said := checkOf(t, false, address); !strings.Contains(said, "needs the right to bind ports below") {
		t.Errorf("root is not told that others may not:\n%s", said)
	}
	path, err := program()
	if err == nil {
		err = os.Chmod(programDir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(real.Dir(t), "smtpshim.toml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf("admin.listen = \"\"\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [\"192.0.2.1:25\"]\n", address)), 0o644); err != nil {
		t.Fatal(err)
	}
	check := exec.Command(path, "check", "-config", file)
	check.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := check.Output()
	if want := "WARNING " + address + " may not be bound by this user"; err != nil || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), want) {
		t.Errorf("%v, and not %q in\n%s", err, want, out)
	}
}

func TestRunSaysWhoHasAPortAsCheckDoes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	for _, text := range []string{
		"admin.listen = \"\"\n" + configtest.Route("in", address),
		fmt.Sprintf("admin.listen = %q\n", address) + configtest.Route("in", "127.0.0.1:0"),
	} {
		path := filepath.Join(t.TempDir(), "smtpshim.toml")
		write(t, path, strings.Replace(text, "127.0.0.1:0", freeAddress(t), 1))
		var log strings.Builder
		status := serve(path, nil, &log, func(enclosure) (int, error) { return 0, nil })
		if want := fmt.Sprintf("%s is taken, by the smtpshim that runs (process %d)", address, os.Getpid()); status != failed || !strings.Contains(log.String(), want) {
			t.Errorf("%d, and not %q in\n%s", status, want, &log)
		}
	}
}
