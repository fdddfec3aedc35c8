//go:build linux

package real

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
)

// patience limits every wait in this package: for a server to listen, for mail to arrive,
// for a program to end.
const patience = 60 * time.Second

// Wait calls holds repeatedly until holds returns true. If that takes more than a
// minute, Wait fails the test, with a message that ends with what.
func Wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.Tick(10 * time.Millisecond)
	for !holds() {
		select {
		case <-tick:
		case <-late:
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// Listening waits until a program accepts TCP connections at addr. It fails the test if
// that takes more than a minute.
func Listening(t testing.TB, addr string) {
	t.Helper()
	Wait(t, "a listener at "+addr, func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// FreeAddr returns a random address (host:port) on loopback. There are so many that the
// address is almost certainly free. FreeAddr does not try to listen there: a program
// that is started at that moment would inherit the listener, and the test would take
// that listener for the server that it waits for.
func FreeAddr() string {
	return fmt.Sprintf("%s:%d", smtptest.Loopback(), 10000+rand.N(20000))
}

// Dir returns a new folder. Unlike that of t.TempDir, every user of the machine can
// read it, and its path is short enough for the names of Unix sockets. Dir removes the
// folder at the end of the test.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "smtpshim-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // once more if a killed process was still writing
		Wait(t, "an empty "+dir, func() bool { return os.RemoveAll(dir) == nil })
	})
	return dir
}

// Start starts program with args, and returns the process. env is added to the
// environment. The program and its children are killed at the end of the test. If the
// test fails, the program's output is printed.
func Start(t testing.TB, env []string, program string, args ...string) *os.Process {
	t.Helper()
	proc, _ := StartLogged(t, env, program, args...)
	return proc
}

// A Log collects the output of a program. Its String returns the output so far.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends b, output of the program, to the log.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// StartLogged starts program with args, and returns the process and a log of its
// standard output and standard error. env is added to the environment. The program and
// its children are killed at the end of the test: Postfix would take seconds to end by
// itself. If the test fails, the log is printed.
func StartLogged(t testing.TB, env []string, program string, args ...string) (*os.Process, *Log) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	out := StartCommand(t, cmd)
	return cmd.Process, out
}

// StartCommand starts cmd, and returns a log of its standard output and standard error.
// cmd may have settings, such as a directory, that StartLogged has no arguments for.
// The program and its children are killed at the end of the test. If the test fails,
// the log is printed.
func StartCommand(t testing.TB, cmd *exec.Cmd) *Log {
	t.Helper()
	out := &Log{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = patience // an escaped child may hold the output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := guard(t, cmd.Process.Pid)
	t.Cleanup(func() {
		stop()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), out)
		}
	})
	return out
}

// guard returns a function that kills a process group. If the test's own process is
// killed, the group is killed too, because the input of the guarding shell then ends.
func guard(t testing.TB, pgid int) func() {
	t.Helper()
	sh := exec.Command("sh", "-c", "read line; kill -s KILL -- -$0", strconv.Itoa(pgid))
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends the test must not end the guard
	input, err := sh.StdinPipe()
	if err == nil {
		err = sh.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		input.Close()
		sh.Wait()
	}
}

// printIfFailed prints files at the end of the test if it fails.
func printIfFailed(t testing.TB, files ...string) {
	t.Cleanup(func() {
		for _, name := range files {
			if text, err := os.ReadFile(name); err == nil && t.Failed() {
				t.Logf("%s:\n%s", name, text)
			}
		}
	})
}

// run runs a program to its end, and returns all its output and its exit status.
func run(t testing.TB, env []string, stdin, program string, args ...string) (output string, status int) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("%s: %v", program, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// write creates files below dir, by their paths.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// mkdirs creates folders below dir, owned by owner.
func mkdirs(t testing.TB, dir string, owner int, mode fs.FileMode, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(path, mode)
		if err == nil {
			err = os.Chown(path, owner, owner)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
