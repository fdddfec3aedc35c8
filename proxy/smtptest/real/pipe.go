//go:build linux

package real

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A Pipe is the standard input and output of a program, which runs until its test ends.
type Pipe struct {
	io.Reader      // its standard output
	io.WriteCloser // its standard input
}

// StartPipe starts program with args and returns a Pipe to its standard input and output.
// env is added to the environment. The program is killed at the end of the test. If the
// test fails, the program's standard error is printed.
func StartPipe(t testing.TB, env []string, program string, args ...string) *Pipe {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = &errs
	cmd.WaitDelay = patience
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	stop := guard(t, cmd.Process.Pid)
	t.Cleanup(func() {
		stop()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), &errs)
		}
	})
	return &Pipe{output, input}
}
