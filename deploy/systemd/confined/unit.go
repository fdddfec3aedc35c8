//go:build linux

package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// A confinement is what a unit lets a program ask of the kernel.
type confinement struct {
	calls       []string // the system calls that are allowed
	families    []string // of sockets, as in AF_INET
	noWriteExec bool
}

// readUnit reads the confinement of the unit in a file. What a group of system
// calls is, group says.
func readUnit(file string, group func(name string) (string, error)) (*confinement, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	options, err := unit.DeserializeOptions(f)
	if err != nil {
		return nil, err
	}
	known, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	calls, c := &callSet{group: group, known: known.SyscallNames, names: map[string]bool{}}, &confinement{}
	for _, o := range options {
		switch o.Name {
		case "SystemCallFilter":
			err = calls.apply(o.Value)
		case "RestrictAddressFamilies":
			c.families = strings.Fields(o.Value)
		case "MemoryDenyWriteExecute":
			c.noWriteExec = o.Value == "yes"
		}
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", o.Name, o.Value, err)
		}
	}
	c.calls = slices.Sorted(maps.Keys(calls.names))
	for _, family := range c.families {
		if _, ok := addressFamilies[family]; !ok {
			return nil, fmt.Errorf("RestrictAddressFamilies=: %s is not known here", family)
		}
	}
	if len(c.calls) == 0 || len(c.families) == 0 {
		return nil, fmt.Errorf("it has no SystemCallFilter= or no RestrictAddressFamilies= that lists what is allowed")
	}
	return c, nil
}

var addressFamilies = map[string]uint64{"AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_UNIX": unix.AF_UNIX, "AF_NETLINK": unix.AF_NETLINK}

// A callSet are system calls, to which the lines of a unit add, and from which they
// take away.
type callSet struct {
	group func(name string) (string, error)
	known map[string]int // to this architecture
	names map[string]bool
}

// apply does what one SystemCallFilter= says (systemd.exec(5)).
func (s *callSet) apply(value string) error {
	list, takenAway := strings.CutPrefix(value, "~")
	if len(s.names) == 0 {
		if takenAway {
			return fmt.Errorf("a list of what is refused is not understood here")
		}
		if err := s.set("@default", true); err != nil { // is always among what is allowed
			return err
		}
	}
	for _, name := range strings.Fields(list) {
		if _, known := s.known[name]; !known && name[0] != '@' {
			return fmt.Errorf("there is no system call %s", name)
		}
		if err := s.set(name, !takenAway); err != nil {
			return err
		}
	}
	return nil
}

// set puts a system call or a group of them into the set, or takes it out. Groups
// have calls of other architectures.
func (s *callSet) set(name string, allowed bool) error {
	if name[0] != '@' {
		if _, known := s.known[name]; known && allowed {
			s.names[name] = true
		} else {
			delete(s.names, name)
		}
		return nil
	}
	text, err := s.group(name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line == name {
			continue
		}
		if err := s.set(line, allowed); err != nil {
			return err
		}
	}
	return nil
}

// policies are the filters, each of which has its say about every call. The last
// may refuse to take another.
func (c *confinement) policies(refused seccomp.Action) []seccomp.Policy {
	var other seccomp.ArgumentConditions
	for _, family := range c.families {
		other = append(other, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: addressFamilies[family]})
	}
	policies := []seccomp.Policy{
		{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{{Action: refused,
			NamesWithCondtions: []seccomp.NameWithConditions{{Name: "socket", Conditions: other}}}}},
	}
	if c.noWriteExec {
		executable := seccomp.Condition{Argument: 2, Operation: seccomp.BitsSet, Value: syscall.PROT_EXEC}
		writable := seccomp.Condition{Argument: 2, Operation: seccomp.BitsSet, Value: syscall.PROT_WRITE}
		policies = append(policies, seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{{Action: refused,
			NamesWithCondtions: []seccomp.NameWithConditions{
				{Name: "mmap", Conditions: seccomp.ArgumentConditions{executable, writable}},
				{Name: "mprotect", Conditions: seccomp.ArgumentConditions{executable}},
				{Name: "pkey_mprotect", Conditions: seccomp.ArgumentConditions{executable}},
				{Name: "shmat", Conditions: seccomp.ArgumentConditions{{Argument: 2, Operation: seccomp.BitsSet, Value: shmExec}}},
			}}}})
	}
	return append(policies, seccomp.Policy{DefaultAction: refused, Syscalls: []seccomp.SyscallGroup{{Names: c.calls, Action: seccomp.ActionAllow}}})
}

// shmExec is SHM_EXEC of shmat(2).
const shmExec = 0o100000
