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

// patience bounds every wait in this package: for a server to listen, for mail
// to arrive, for a program to end.
const patience = 60 * time.Second

// Wait returns as soon as holds does, and fails the test if that takes too long.
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

// Listening waits until somebody accepts connections at addr.
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

// FreeAddr is a place on loopback where nobody listens, drawn from so many that no
// two ever meet. It is not tried by listening there: a program that is being started
// at that moment would inherit the listener, and be taken for the one that we wait for.
func FreeAddr() string {
	return fmt.Sprintf("%s:%d", smtptest.Loopback(), 10000+rand.N(20000))
}

// Dir is a folder that every user of the machine can reach (t.TempDir is not),
// with a path short enough for the names of Unix sockets. It goes with the test.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "smtpshim-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // again if somebody just killed was still writing
		Wait(t, "an empty "+dir, func() bool { return os.RemoveAll(dir) == nil })
	})
	return dir
}

// Start is StartLogged for those who do not look at the output.
func Start(t testing.TB, env []string, program string, args ...string) *os.Process {
	t.Helper()
	proc, _ := StartLogged(t, env, program, args...)
	return proc
}

// A Log is what a program has written so far.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write is the program's.
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

// StartLogged runs a program until the test ends. Then it and its children are
// killed: nothing that they leave is used again, and Postfix takes seconds to
// end by itself. Its output is printed if the test failed.
func StartLogged(t testing.TB, env []string, program string, args ...string) (*os.Process, *Log) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	out := StartCommand(t, cmd)
	return cmd.Process, out
}

// StartCommand is StartLogged for a program that needs more than words.
func StartCommand(t testing.TB, cmd *exec.Cmd) *Log {
	t.Helper()
	out := &Log{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = patience // a child that fled may hold its output open
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

// guard returns a func that kills a group of processes, and kills it even if the
// test's own process is killed: then the shell's input ends.
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

// printIfFailed prints files at the end of a test that failed.
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

// write makes files below dir, by their paths.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// mkdirs makes folders below dir, for the user owner.
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
