//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// serviceManager is where a program says how it is, until the test ends.
func serviceManager(t *testing.T, socket string) (told <-chan []string) {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	messages := make(chan []string, 1000)
	go func() {
		text := make([]byte, 4096)
		for {
			n, err := l.Read(text)
			if err != nil {
				return
			}
			messages <- strings.Split(string(text[:n]), "\n")
		}
	}()
	t.Setenv("NOTIFY_SOCKET", socket)
	return messages
}

// tells waits for a message with a line that begins so, and returns it.
func tells(t *testing.T, told <-chan []string, want string) []string {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case message := <-told:
			if slices.ContainsFunc(message, func(line string) bool { return strings.HasPrefix(line, want) }) {
				return message
			}
		case <-late:
			t.Fatalf("the service manager was not told %s", want)
		}
	}
}

func TestTheServiceManagerIsToldWhatHappens(t *testing.T) {
	for name, socket := range map[string]string{"by path": filepath.Join(t.TempDir(), "notify"), "abstract": "@" + t.Name()} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", "20000")
			told := serviceManager(t, socket)
			r := start(t, freeAddress(t), mailServer(t))
			if message := tells(t, told, "READY=1"); !slices.Contains(message, "STATUS=serving: 1 route, 0 sessions") {
				t.Errorf("%q has no status", message)
			}
			for range 3 {
				tells(t, told, "WATCHDOG=1")
			}
			r.signals <- syscall.SIGHUP
			if message := tells(t, told, "RELOADING=1"); !slices.ContainsFunc(message, func(line string) bool {
				var usec int64
				n, _ := fmt.Sscanf(line, "MONOTONIC_USEC=%d", &usec)
				return n == 1 && usec > 0
			}) {
				t.Errorf("%q does not tell when", message)
			}
			tells(t, told, "READY=1")
			r.signals <- syscall.SIGTERM
			tells(t, told, "STOPPING=1")
			if status := r.ended(); status != succeeded {
				t.Errorf("ended with %d", status)
			}
		})
	}
}

// nobody is a user without rights.
const nobody = 65534

// programOfNobody returns the path of the program, which nobody can run too.
func programOfNobody(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	path, err := program()
	if err == nil {
		err = os.Chmod(programDir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// asNobody starts the program without any rights and hands it sockets, as
// systemd does.
func asNobody(t *testing.T, config string, sockets map[string]*os.File) (*exec.Cmd, *real.Log) {
	t.Helper()
	path := programOfNobody(t)
	file := filepath.Join(real.Dir(t), "smtpshim.toml")
	if err := os.WriteFile(file, []byte("admin.listen = \"\"\n[[route]]\nname = \"in\"\n"+config), 0o644); err != nil {
		t.Fatal(err)
	}
	log, names := &real.Log{}, []string(nil)
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" run -config "$1"`, path, file)
	for name, socket := range sockets {
		names = append(names, name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, socket)
	}
	cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("smtpshim said:\n%s", log)
		}
	})
	return cmd, log
}

// bound is a socket that listens, as a service manager keeps it.
func bound(t *testing.T, address string) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip("cannot listen: ", err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// port25 is an address with a port that only root may listen on.
func port25() string {
	host, _, _ := net.SplitHostPort(real.FreeAddr())
	return host + ":25"
}

func says(t *testing.T, log *real.Log, words string) {
	t.Helper()
	real.Wait(t, "the log to say "+words, func() bool { return strings.Contains(log.String(), words) })
}

func TestSocketsOfSystemdAreServedWithoutAnyRights(t *testing.T) {
	address := port25()
	cmd, log := asNobody(t, fmt.Sprintf("listen = [\"systemd:smtp\"]\nservers = [%q]\n", mailServer(t)),
		map[string]*os.File{"smtp": bound(t, address), "other": bound(t, "127.0.0.1:0")})
	says(t, log, "msg=started")
	says(t, log, "listen=systemd:other")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "CapEff:\t0000000000000000\n") {
		t.Errorf("it has rights:\n%s", status)
	}
	dial(t, address).say("EHLO client.example.com")
	cmd.Process.Signal(syscall.SIGHUP)
	says(t, log, "msg=reloaded")
	dial(t, address).say("EHLO client.example.com")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestASocketThatWasNotHandedOverIsNamed(t *testing.T) {
	const config = "listen = [\"systemd:smtp\"]\nservers = [\"192.0.2.1:25\"]\n"
	for want, sockets := range map[string]map[string]*os.File{
		"systemd has passed systemd:other": {"other": bound(t, "127.0.0.1:0")},
		"systemd has passed no sockets":    nil,
	} {
		cmd, log := asNobody(t, config, sockets)
		if cmd.Wait() == nil || !strings.Contains(log.String(), want) {
			t.Errorf("it says nothing of %q:\n%s", want, log)
		}
	}
}

func TestRightsThatAreMissingAreNamed(t *testing.T) {
	for _, what := range []string{"transparent = true\n", "source = \"client\"\n"} {
		cmd, log := asNobody(t, fmt.Sprintf("listen = [%q]\nservers = [\"192.0.2.1:25\"]\n%s", freeAddress(t), what), nil)
		if cmd.Wait() == nil || !strings.Contains(log.String(), "CAP_NET_ADMIN") {
			t.Errorf("%sit says nothing of CAP_NET_ADMIN:\n%s", what, log)
		}
	}
}

func TestSystemdStartsItWhenTheFirstClientComes(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("no systemd-socket-activate here")
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	address, file := real.FreeAddr(), filepath.Join(real.Dir(t), "smtpshim.toml")
	text := fmt.Sprintf("admin.listen = \"\"\n[[route]]\nname = \"in\"\nlisten = [\"systemd:smtp\"]\nservers = [%q]\n", mailServer(t))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, log := real.StartLogged(t, nil, activate, "--listen="+address, "--fdname=smtp", path, "run", "-config", file)
	says(t, log, "Listening on")
	dial(t, address).say("EHLO client.example.com", "MAIL FROM:<a@example.com>")
}
