//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// A Route is one route of a running smtpshim.
type Route struct {
	Server string   // address of the server, host:port
	Rules  []string // names of rules and sets
	Addr   string   // address at which the route listens; set by startShim
}

// A Shim is a running smtpshim.
type Shim struct {
	cmd *exec.Cmd
	log *bytes.Buffer
	dir string
}

// addresses gives out ports of 127.0.0.1. The zoo has a network of its own, and the
// kernel chooses ports of connections above these (ip_local_port_range), so nobody
// else has them.
type addresses struct{ given atomic.Int64 }

func (a *addresses) next() string {
	return fmt.Sprintf("127.0.0.1:%d", 10000+a.given.Add(1))
}

// startShim starts smtpshim with routes, and waits until it listens.
func startShim(program string, routes []*Route, free *addresses) (*Shim, error) {
	dir, err := os.MkdirTemp("", "zoo-")
	if err != nil {
		return nil, err
	}
	var config strings.Builder
	config.WriteString("[admin]\nlisten = \"\"\n")
	for i, r := range routes {
		r.Addr = free.next()
		rules := ""
		for _, rule := range r.Rules {
			rules += fmt.Sprintf("%q,", rule)
		}
		fmt.Fprintf(&config, "[[route]]\nname = \"r%d\"\nlisten = [%q]\nservers = [%q]\nrules = [%s]\n", i, r.Addr, r.Server, rules)
	}
	file := filepath.Join(dir, "smtpshim.toml")
	if err := os.WriteFile(file, []byte(config.String()), 0o644); err != nil {
		return nil, err
	}
	s := &Shim{cmd: exec.Command(program, "run", "-config", file), log: &bytes.Buffer{}, dir: dir}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for _, r := range routes {
		if err := listening(r.Addr, time.Minute); err != nil {
			s.Close()
			return nil, fmt.Errorf("starting smtpshim: %w\n%s", err, s.log)
		}
	}
	return s, nil
}

// Close ends smtpshim at once, and removes its files.
func (s *Shim) Close() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
	os.RemoveAll(s.dir)
}

// listening waits until somebody listens at an address.
func listening(addr string, patience time.Duration) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok, err := isListening(addr); ok || err != nil {
			return err
		}
	}
	return fmt.Errorf("nobody listens at %s after %v", addr, patience)
}

// isListening reports whether somebody listens at an address. It looks without
// connecting, which many a server would count as a session.
func isListening(addr string) (bool, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false, err
	}
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		return false, err
	}
	want := fmt.Sprintf(":%04X 00000000:0000 0A ", number)
	want6 := fmt.Sprintf(":%04X 00000000000000000000000000000000:0000 0A ", number)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err == nil && (strings.Contains(string(text), want) || strings.Contains(string(text), want6)) {
			return true, nil
		}
	}
	return false, nil
}
