package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy"
)

// An upgrade starts the program again, in the version that is then on the disk, and
// passes all sockets on which we listen to the new process. They are the same sockets in
// both processes, so a client that has connected waits at worst until one of them accepts
// it.
//
// Descriptor 3 of the new process is one end of a line between the two. The new process
// writes an octet when it serves. The old one closes its end when it has told the service
// manager which process is now the main one. Any failure before that ends the new
// process, and the old one continues.

// upgradeSignals are the signals that start an upgrade.
var upgradeSignals = []os.Signal{syscall.SIGUSR2}

// startLimit is the longest time until a new process serves.
const startLimit = time.Minute

// leaving is the time for which a new process that was told to end before it serves may
// take to end.
const leaving = time.Second

// A successor is a new process that is to take over from this one.
type successor struct {
	cmd   *exec.Cmd
	line  *os.File
	ended chan error
}

// An upgrade is the result of starting a new process.
type upgrade struct {
	next *successor // nil: it does not serve
	err  error
}

// upgrade starts the new process. The channel gets the result: it serves, or why it does
// not. If ctx is done before, the new process is stopped.
func (p *instance) upgrade(ctx context.Context) <-chan upgrade {
	p.log.Info("upgrading", "program", os.Args[0])
	done := make(chan upgrade, 1)
	go func() {
		next, err := p.startSuccessor()
		if err == nil {
			err = next.serves(ctx)
		}
		done <- upgrade{next, err}
	}()
	return done
}

func (p *instance) startSuccessor() (*successor, error) {
	sockets, err := p.sockets()
	if err != nil {
		return nil, err
	}
	defer proxy.CloseSockets(sockets)
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	unix.SetNonblock(ends[0], true) // so that reads have a deadline
	ours, theirs := os.NewFile(uintptr(ends[0]), "line"), os.NewFile(uintptr(ends[1]), "line")
	defer theirs.Close()

	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(sockets)) {
		for _, socket := range sockets[name] {
			names = append(names, name)
			cmd.ExtraFiles = append(cmd.ExtraFiles, socket)
		}
	}
	list, err := json.Marshal(names)
	if err == nil {
		cmd.Env = append(successorEnviron(os.Environ()), handedOver+"="+string(list))
		err = cmd.Start()
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	s := &successor{cmd: cmd, line: ours, ended: make(chan error, 1)}
	go func() { s.ended <- cmd.Wait() }()
	return s, nil
}

// successorEnviron returns the environment of a new process. The watchdog must watch it
// as it watches us.
func successorEnviron(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool { return strings.HasPrefix(v, "WATCHDOG_PID=") })
}

// serves waits until the new process serves. It kills a process that takes too long.
func (s *successor) serves(ctx context.Context) error {
	s.line.SetReadDeadline(time.Now().Add(startLimit))
	stop := context.AfterFunc(ctx, func() { s.line.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := s.line.Read(make([]byte, 1))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		s.end()
		select {
		case <-s.ended:
		case <-time.After(leaving): // it already serves clients, and ends with them
		}
		return errors.New("this process got a signal to end")
	}
	ended := s.kill()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new process did not serve within %s and was killed", words.Brief(startLimit))
	}
	return fmt.Errorf("the new process ended before it served: %w", ended)
}

// kill kills the new process and returns how it ended.
func (s *successor) kill() error {
	defer s.line.Close()
	s.cmd.Process.Kill()
	if err := <-s.ended; err != nil {
		return err
	}
	return errors.New("exit status 0")
}

// end tells the new process to end in the usual way, because it may serve clients.
func (s *successor) end() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.line.Close()
}

// lost returns a channel that gets the new process's end: nil if it was as expected.
func (s *successor) lost() <-chan error { return s.ended }

// handOver makes the new process the main one. With again, it makes the new process read
// the configuration once more.
func (p *instance) handOver(s *successor, again bool) {
	pid := s.cmd.Process.Pid
	p.notify(fmt.Sprintf("MAINPID=%d", pid)) // the last notification about ourselves
	s.line.Close()
	p.log.Info("handed over", "pid", pid)
	if again {
		s.cmd.Process.Signal(syscall.SIGHUP)
	}
}

// sockets returns copies of all sockets on which we listen, by the names that p.inherited
// uses in the new process.
func (p *instance) sockets() (map[string][]*os.File, error) {
	sockets, err := p.proxy.Sockets()
	if err != nil || p.adminSocket == nil {
		return sockets, err
	}
	file, err := proxy.CopySocket(p.adminSocket)
	if err != nil {
		proxy.CloseSockets(sockets)
		return nil, fmt.Errorf("copying the socket of the admin listener: %w", err)
	}
	sockets[adminPrefix+p.started.Admin] = []*os.File{file}
	return sockets, nil
}

// A predecessor is the process that has started this one to take over from it.
type predecessor struct{ line *os.File }

// fromPredecessor returns the sockets of the process before us, by their names in listen.
// A nil predecessor means that there was none.
func fromPredecessor() (*predecessor, map[string][]*os.File, error) {
	list, ok := os.LookupEnv(handedOver)
	if !ok {
		return nil, nil, nil
	}
	os.Unsetenv(handedOver)
	var names []string
	if err := json.Unmarshal([]byte(list), &names); err != nil {
		return nil, nil, fmt.Errorf("reading %s=%s: %w; it is for a smtpshim that starts another, leave it unset", handedOver, list, err)
	}
	const line, first = 3, 4
	syscall.CloseOnExec(line)
	sockets := map[string][]*os.File{}
	for i, name := range names {
		syscall.CloseOnExec(first + i)
		sockets[name] = append(sockets[name], os.NewFile(uintptr(first+i), name))
	}
	return &predecessor{os.NewFile(line, "line")}, sockets, nil
}

// relieve tells the predecessor that we serve, and waits until it has made us the main
// process. If the predecessor has ended, we are that anyway.
func (b *predecessor) relieve() {
	if b == nil {
		return
	}
	defer b.line.Close()
	if _, err := b.line.Write([]byte{'\n'}); err == nil {
		io.Copy(io.Discard, b.line)
	}
}
