package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/words"
)

// handedOver is the environment variable with the names of the sockets at descriptors 4
// and up, as JSON.
const handedOver = "SMTPSHIM_SOCKETS"

// inherit takes the sockets that were passed to us, by the process that we take over from
// or by systemd (sd_listen_fds(3)), under their names in listen. It can be called once.
func (p *instance) inherit() (before *predecessor, err error) {
	before, p.proxy.Inherited, err = fromPredecessor()
	if before != nil || err != nil {
		return before, err
	}
	p.proxy.Inherited = map[string][]*os.File{}
	for _, socket := range activation.Files(true) {
		name := config.SystemdPrefix + socket.Name()
		p.proxy.Inherited[name] = append(p.proxy.Inherited[name], socket)
	}
	return nil, nil
}

// checkInherited reports sockets that the routes need and that were not passed to us.
func (p *instance) checkInherited(c *config.Config) error {
	for _, r := range c.Routes {
		for _, address := range r.Listen {
			if _, ok := p.proxy.Inherited[address]; ok || !strings.HasPrefix(address, config.SystemdPrefix) {
				continue
			}
			there := "systemd has passed no sockets: start smtpshim by its socket unit"
			names := slices.Sorted(maps.Keys(p.proxy.Inherited))
			names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, config.SystemdPrefix) })
			if len(names) > 0 {
				there = "systemd has passed " + strings.Join(names, ", ") + ", the names of FileDescriptorName= in the socket units"
			}
			return fmt.Errorf("route %s: listening on %s: %s", r.Name, address, there)
		}
	}
	return nil
}

// settle closes the passed sockets that no route uses, because clients would wait there
// for ever. Of the others it keeps a second descriptor only if they are from systemd: a
// route may be removed and added again.
func (p *instance) settle() {
	used := map[string]bool{adminPrefix + p.config.Load().Admin: true}
	for _, r := range p.config.Load().Routes {
		for _, address := range r.Listen {
			used[address] = true
		}
	}
	for name, sockets := range p.proxy.Inherited {
		if used[name] && strings.HasPrefix(name, config.SystemdPrefix) {
			continue
		}
		for _, socket := range sockets {
			socket.Close()
		}
		delete(p.proxy.Inherited, name)
		if !used[name] {
			p.log.Warn("closed sockets that were handed over and that no route uses", "listen", name)
		}
	}
}

// notify tells the service manager the state of the program (sd_notify(3)), if there is a
// service manager that wants to know.
func (p *instance) notify(states ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(states, "\n")); err != nil {
		p.log.Warn("notifying the service manager", "err", err)
	}
}

// reloading returns what the service manager is told before a reload. The time in it
// shows which reload it is.
func reloading() string {
	return daemon.SdNotifyReloading + "\n" + strings.TrimSpace(daemon.SdNotifyMonotonicUsec())
}

// status returns what systemctl status shows.
func (p *instance) status(text string) string {
	if p.stale.Load() != nil {
		text += ", with a configuration that is older than its file"
	}
	return fmt.Sprintf("STATUS=%s: %s, %s", text, words.Plural(len(p.config.Load().Routes), "route"), words.Plural(p.proxy.Sessions(), "session"))
}

// watch tells the service manager that the program is alive, as often as it requires
// (WatchdogSec=), until ctx is done. It needs the lock of the proxy. If that is held for
// ever, the program is restarted.
func (p *instance) watch(ctx context.Context) {
	limit, err := daemon.SdWatchdogEnabled(false) // a new process asks too
	if err != nil {
		p.log.Warn("reading the watchdog settings of the service manager", "err", err)
	}
	if limit == 0 {
		return
	}
	tick := time.NewTicker(limit / 2)
	defer tick.Stop()
	for {
		doing := "serving"
		if !p.ready.Load() {
			doing = "draining"
		}
		p.notify(daemon.SdNotifyWatchdog, p.status(doing))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
