//go:build linux

// Confined runs a program under the system call filters of a service unit. It is for
// machines on which systemd cannot do that. It applies SystemCallFilter=,
// RestrictAddressFamilies= and the filter of MemoryDenyWriteExecute=. It reads the
// unit, and asks systemd-analyze for the groups of system calls in it.
//
//	go build -o /tmp/confined ./deploy/systemd/confined
//	/tmp/confined deploy/systemd/smtpshim.service PROGRAM [ARGUMENT ...]
//	go test -exec "/tmp/confined $PWD/deploy/systemd/smtpshim.service" ./proxy
//
// Under systemd, a system call that the unit does not allow fails. Here it ends the
// program with SIGSYS, so that none goes unnoticed.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/elastic/go-seccomp-bpf"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: confined UNIT PROGRAM [ARGUMENT ...]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "confined:", err)
		os.Exit(1)
	}
}

// run becomes the program, under the filters of the unit in a file.
func run(file string, args []string) error {
	program, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	u, err := readUnit(file, group)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	runtime.LockOSThread() // what is executed takes over the filters of the thread that executes it
	for _, policy := range u.policies(seccomp.ActionKillProcess) {
		if err := seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Policy: policy}); err != nil {
			return err
		}
	}
	return fmt.Errorf("executing %s: %w", program, syscall.Exec(program, args, os.Environ()))
}

// group asks systemd-analyze for a group of system calls, as it prints it.
func group(name string) (string, error) {
	out, err := exec.Command("systemd-analyze", "syscall-filter", name).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("asking systemd-analyze for %s: %w", name, err)
	}
	return string(out), nil
}
