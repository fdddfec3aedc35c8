//go:build unix

package token

import (
	"os/exec"
	"syscall"
)

// withChildren makes the end of a program's context kill its children too.
func withChildren(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}
