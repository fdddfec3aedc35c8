package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// A place is a file, or a directory and all beneath it, and what may be done there
// by a program that has locked itself in.
type place struct {
	path string
	may  landlock.AccessFSSet
}

// What may be done. Links cannot be made anywhere, and files not be moved from one
// directory to another.
const (
	reading   landlock.AccessFSSet = kernel.AccessFSReadFile | kernel.AccessFSReadDir
	executing landlock.AccessFSSet = reading | kernel.AccessFSExecute
	writing   landlock.AccessFSSet = reading | kernel.AccessFSWriteFile | kernel.AccessFSTruncate | kernel.AccessFSMakeReg |
		kernel.AccessFSMakeDir | kernel.AccessFSRemoveFile | kernel.AccessFSRemoveDir
	listening landlock.AccessFSSet = kernel.AccessFSMakeSock | kernel.AccessFSRemoveFile
)

// A enclosure is what a program that has locked itself in can still reach.
type enclosure []place

// newEnclosure is what has to be reached with a configuration, and the reload of one in
// the same directory. Rules of the kernel hold for the file that is there now, and
// not for one that takes its name; so they are made for directories, of which /etc
// is one: resolv.conf and hosts are replaced there.
func newEnclosure(c *config, path string) enclosure {
	places := append(enclosure{
		{"/etc", reading},
		{"/usr", reading}, // time zones, certificates of authorities, libraries
		{"/lib", reading},
		{"/var/lib/ca-certificates", reading}, // SUSE has them there
		{"/lib64", reading},
		{"/proc", reading}, // metrics of the process; its own directory is a new one each time the kernel forgets it
		{"/sys/fs/cgroup", reading},
		{"/sys/kernel/mm", reading},
		{"/dev/null", kernel.AccessFSReadFile | kernel.AccessFSWriteFile},
	}, c.places...)
	places = append(places, besides(path)...)
	places = append(places, besides("/etc/resolv.conf")...) // often a link to /run
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		places = append(places, besides(file)...)
	}
	for _, dir := range filepath.SplitList(os.Getenv("SSL_CERT_DIR")) {
		places = append(places, place{dir, reading})
	}
	if dir := credentialsDir(); dir != "" {
		places = append(places, place{dir, reading}) // a reload may be the first to name one
	}
	if program, err := os.Executable(); err == nil {
		places = append(places, place{filepath.Dir(program), executing})
		if loader := loaderOf(program); loader != "" {
			places = append(places, place{filepath.Dir(loader), executing})
		}
	}
	for i, p := range places {
		if absolute, err := filepath.Abs(p.path); err == nil {
			places[i].path = absolute
		}
		if to, err := filepath.EvalSymlinks(places[i].path); err == nil {
			places[i].path = to
		}
	}
	return slices.DeleteFunc(places, func(p place) bool {
		_, err := os.Stat(p.path)
		return err != nil
	})
}

// besides is where a file is, and where its successor will be. If it is a link,
// that is so for what it leads to, too.
func besides(file string) []place {
	places := []place{{filepath.Dir(file), reading}}
	if to, err := filepath.EvalSymlinks(file); err == nil && to != file {
		places = append(places, place{filepath.Dir(to), reading})
	}
	return places
}

// loaderOf is what the kernel executes first to start a program with shared
// libraries; "" if it has none.
func loaderOf(program string) string {
	f, err := elf.Open(program)
	if err != nil {
		return ""
	}
	defer f.Close()
	section := f.Section(".interp")
	if section == nil {
		return ""
	}
	name, err := section.Data()
	if err != nil {
		return ""
	}
	loader, _ := filepath.EvalSymlinks(strings.TrimRight(string(name), "\x00"))
	return loader
}

// lockIn takes from this process, for good, all rights to files beyond c, and to get
// any by what it executes (no_new_privs). It returns what the kernel can do of it:
// the version of Landlock, 0 if it has none.
func lockIn(c enclosure) (version int, err error) {
	if version, err = kernel.LandlockGetABIVersion(); err != nil {
		return 0, nil
	}
	var rules []landlock.Rule
	for _, p := range c {
		rules = append(rules, landlock.PathAccess(p.may, p.path))
	}
	// What versions after 5 could take away is needed: sockets, the service manager's
	// among them, and signals.
	err = landlock.V5.BestEffort().RestrictPaths(rules...)
	if errors.Is(err, syscall.E2BIG) {
		return version, nil // started by one that was started by one ...: it is locked in by all of them
	}
	return version, err
}

// lockIn locks the program in, if the configuration has it so.
func (p *instance) lockIn(lock func(enclosure) (int, error)) error {
	if !p.started.lockIn {
		return nil
	}
	c := newEnclosure(p.started, p.path)
	version, err := lock(c)
	switch {
	case err != nil:
		return fmt.Errorf("locking in: %w; lock_in = false does without", err)
	case version == 0:
		p.log.Info("not locked in: the kernel has no Landlock")
		return nil
	}
	p.enclosure = c
	for _, place := range c {
		p.log.Debug("can reach", "path", place.path, "may", place.may.String())
	}
	p.log.Info("locked in", "landlock", version)
	return nil
}

// hint says of an error what it cannot say itself: that a file is out of reach.
func (c enclosure) hint(err error) string {
	if c == nil || !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	path := ""
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		path = at.Path
	} else if at, ok := errors.AsType[*net.OpError](err); ok && at.Addr != nil {
		path = at.Addr.String()
	}
	if path == "" || c.has(path) {
		return ""
	}
	return "; smtpshim locked itself in when it was started, and this is out of its reach: stop it and start it again (lock_in)"
}

// has says whether a file is in one of the places.
func (c enclosure) has(file string) bool {
	if to, err := filepath.EvalSymlinks(file); err == nil {
		file = to
	}
	file, _ = filepath.Abs(file)
	return slices.ContainsFunc(c, func(p place) bool {
		beneath, err := filepath.Rel(p.path, file)
		return err == nil && filepath.IsLocal(beneath)
	})
}
