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

	"smtpshim/cmd/smtpshim/internal/config"
)

// An enclosure is everything that a program that has locked itself in can reach.
type enclosure []config.Place

// newEnclosure returns what a configuration needs, and what a reload from the same
// directory may need. The kernel's rules apply to existing files and not to later ones of
// the same name. Therefore the rules are for directories, such as /etc, in which
// resolv.conf and hosts are replaced.
func newEnclosure(c *config.Config, path string) enclosure {
	places := append(enclosure{
		{Path: "/etc", May: config.Reading},
		{Path: "/usr", May: config.Reading}, // time zones, certificate authorities, libraries
		{Path: "/lib", May: config.Reading},
		{Path: "/var/lib/ca-certificates", May: config.Reading}, // used by SUSE
		{Path: "/lib64", May: config.Reading},
		{Path: "/proc", May: config.Reading}, // metrics of the process; its own directory may be a new one each time
		{Path: "/sys/fs/cgroup", May: config.Reading},
		{Path: "/sys/kernel/mm", May: config.Reading},
		{Path: "/dev/null", May: kernel.AccessFSReadFile | kernel.AccessFSWriteFile},
	}, c.Places...)
	places = append(places, config.Besides(path)...)
	places = append(places, config.Besides("/etc/resolv.conf")...) // often a link to /run
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		places = append(places, config.Besides(file)...)
	}
	for _, dir := range filepath.SplitList(os.Getenv("SSL_CERT_DIR")) {
		places = append(places, config.Place{Path: dir, May: config.Reading})
	}
	if dir := config.CredentialsDir(); dir != "" {
		places = append(places, config.Place{Path: dir, May: config.Reading}) // a reload may be the first to name one
	}
	if program, err := os.Executable(); err == nil {
		places = append(places, config.Place{Path: filepath.Dir(program), May: config.Executing})
		if loader := loaderOf(program); loader != "" {
			places = append(places, config.Place{Path: filepath.Dir(loader), May: config.Executing})
		}
	}
	for i, p := range places {
		if absolute, err := filepath.Abs(p.Path); err == nil {
			places[i].Path = absolute
		}
		if to, err := filepath.EvalSymlinks(places[i].Path); err == nil {
			places[i].Path = to
		}
	}
	return slices.DeleteFunc(places, func(p config.Place) bool {
		_, err := os.Stat(p.Path)
		return err != nil
	})
}

// loaderOf returns the program that the kernel executes first to start a program with
// shared libraries; "" if there is none.
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

// lockIn permanently removes from this process all rights to files outside of c, and the
// right to gain any by executing a program (no_new_privs). It returns the kernel's
// version of Landlock, 0 if it has none.
func lockIn(c enclosure) (version int, err error) {
	if version, err = kernel.LandlockGetABIVersion(); err != nil {
		return 0, nil
	}
	var rules []landlock.Rule
	for _, p := range c {
		rules = append(rules, landlock.PathAccess(p.May, p.Path))
	}
	// Later versions could also remove sockets, such as that of the service manager, and
	// signals, which are needed.
	err = landlock.V5.BestEffort().RestrictPaths(rules...)
	if errors.Is(err, syscall.E2BIG) {
		return version, nil // nested too deep: an ancestor has already locked it in
	}
	return version, err
}

// lockIn locks the program in if the configuration says so.
func (p *instance) lockIn(lock func(enclosure) (int, error)) error {
	if !p.started.LockIn {
		return nil
	}
	c := newEnclosure(p.started, p.path)
	version, err := lock(c)
	switch {
	case err != nil:
		return fmt.Errorf("locking in: %w; lock_in = false turns this off", err)
	case version == 0:
		p.log.Info("not locked in: the kernel has no Landlock")
		return nil
	}
	p.enclosure = c
	for _, place := range c {
		p.log.Debug("can reach", "path", place.Path, "may", place.May.String())
	}
	p.log.Info("locked in", "landlock", version)
	return nil
}

// hint returns what to add to an error about a file that is out of reach.
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

// has reports whether a file is in one of the places.
func (c enclosure) has(file string) bool {
	if to, err := filepath.EvalSymlinks(file); err == nil {
		file = to
	}
	file, _ = filepath.Abs(file)
	return slices.ContainsFunc(c, func(p config.Place) bool {
		beneath, err := filepath.Rel(p.Path, file)
		return err == nil && filepath.IsLocal(beneath)
	})
}
