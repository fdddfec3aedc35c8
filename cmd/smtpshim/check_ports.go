package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
)

// A portFinding is a reason for which smtpshim could not listen on an address if the
// present user started it here.
type portFinding struct {
	text   string
	expect bool // as expected: the running smtpshim listens there
}

// lookAtPorts binds the addresses of a configuration, without listening, so that no
// client and no other program notices.
func lookAtPorts(c *config.Config, addresses ...string) (list []portFinding) {
	for _, address := range addresses {
		if strings.HasPrefix(address, config.SystemdPrefix) {
			continue
		}
		if path, ok := config.SocketPath(address); ok {
			if text := lookAtSocket(path); text != "" {
				list = append(list, portFinding{text: address + text})
			}
			continue
		}
		to, err := toBind(address)
		if err == nil {
			err = bindOnly(to)
		}
		if f := findingOf(c, address, to, err); f.text != "" {
			list = append(list, f)
		}
	}
	return list
}

// runtimeDir is the directory that systemd makes for the service when it starts it.
const runtimeDir = "/run/smtpshim"

// lookAtSocket returns why a socket could not be made at path, or "". It does not connect
// to a socket that is there: smtpshim may be running, and if not, it replaces the socket.
func lookAtSocket(path string) string {
	dir := filepath.Dir(path)
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return " is there already, and is no socket, so smtpshim cannot listen there"
		}
		return ""
	}
	_, err := os.Stat(dir)
	if err == nil {
		err = config.TryWriting(dir)
	} else if errors.Is(err, fs.ErrNotExist) && dir == runtimeDir {
		return ""
	}
	if err != nil {
		return fmt.Sprintf(" cannot be made: %v; this user has to be able to write to the directory %s", err, dir)
	}
	return ""
}

// findingOf returns the meaning of an error in binding an address.
func findingOf(c *config.Config, address string, to netip.AddrPort, err error) portFinding {
	var unknown *net.DNSError
	switch {
	case err == nil:
		return portFinding{}
	case errors.As(err, &unknown):
		return portFinding{text: fmt.Sprintf("%s: this name has no address (%v), so smtpshim cannot listen there", address, unknown)}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return portFinding{text: fmt.Sprintf("%s is no address of this machine, so smtpshim cannot listen there%s", address, ownAddresses())}
	case errors.Is(err, syscall.EACCES):
		return portFinding{text: fmt.Sprintf("%s may not be bound by this user: ports below %d are for root, and for programs with "+
			"CAP_NET_BIND_SERVICE. Under systemd, smtpshim.socket listens there, or ports.conf grants it.", address, firstFreePort())}
	case !errors.Is(err, syscall.EADDRINUSE):
		return portFinding{text: fmt.Sprintf("%s cannot be bound: %v", address, err)}
	}
	switch pid, program, ours := holderOf(to); {
	case ours:
		return portFinding{fmt.Sprintf("%s, by the smtpshim that runs (process %d)", address, pid), true}
	case pid != 0:
		return portFinding{text: fmt.Sprintf("%s is in use by another program: %s (process %d)", address, program, pid)}
	case answers(c):
		return portFinding{fmt.Sprintf("%s, presumably by the smtpshim that answers at %s", address, c.Admin), true}
	}
	return portFinding{text: address + " is in use: another program listens there, or a smtpshim whose admin listener does not answer"}
}

// toBind returns the address that net.Listen would bind: the first address of a name,
// IPv4 if there is one.
func toBind(address string) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), nameWithin)
	defer cancel()
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return netip.AddrPort{}, err
		}
		ip = list[0].Unmap()
		if i := slices.IndexFunc(list, func(a netip.Addr) bool { return a.Unmap().Is4() }); i >= 0 {
			ip = list[i].Unmap()
		}
	}
	if ip.IsUnspecified() { // Go then listens on both families
		ip = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}

// nameWithin is the longest time for looking up the name of a listen address.
const nameWithin = 5 * time.Second

// ownAddresses returns the addresses of this machine, in words; "" if they are not known.
func ownAddresses() string {
	const most = 4
	found, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	var list []string
	for _, a := range found {
		if network, ok := a.(*net.IPNet); ok && !network.IP.IsLoopback() && !network.IP.IsLinkLocalUnicast() {
			list = append(list, network.IP.String())
		}
	}
	switch {
	case len(list) == 0:
		return "; it has none but those of loopback"
	case len(list) > most:
		list = append(list[:most], "others")
	}
	return "; it has " + strings.Join(list, ", ")
}

// answers reports whether a smtpshim with this configuration's admin listener is running.
func answers(c *config.Config) bool {
	if c.Admin == "" {
		return false
	}
	host, port, err := net.SplitHostPort(c.Admin)
	if err != nil {
		return false
	}
	_, err = askReady("http://" + net.JoinHostPort(reachable(host), port) + "/healthz")
	return err == nil
}

// needsRights returns a warning that other users may not bind these addresses, if root
// checks, who may.
func needsRights(addresses []string) string {
	first := firstFreePort()
	if !isRoot() {
		return "" // binding has shown that
	}
	for _, address := range addresses {
		if _, text, err := net.SplitHostPort(address); err == nil {
			if port, err := strconv.Atoi(text); err == nil && port < first {
				return fmt.Sprintf("the right to bind ports below %d: root has it, and the user smtpshim under systemd by smtpshim.socket or ports.conf", first)
			}
		}
	}
	return ""
}

// portsTaken returns what would keep us from listening, by address.
func portsTaken(c *config.Config) takenPorts {
	taken := takenPorts{}
	if os.Getenv(handedOver) != "" {
		return taken // our predecessor holds them and hands them to us
	}
	look := func(address string) {
		to, err := toBind(address)
		if err != nil {
			return // a socket in the file system
		}
		for _, f := range lookAtPorts(c, address) {
			if f.expect {
				f.text = strings.Replace(f.text, ", ", " is taken, ", 1)
			}
			taken[to] = f.text
		}
	}
	for _, r := range c.Routes {
		for _, address := range r.Listen {
			look(address)
		}
	}
	if c.Admin != "" {
		look(c.Admin)
	}
	return taken
}

type takenPorts map[netip.AddrPort]string

// explain adds what check would report to an error of listening.
func (taken takenPorts) explain(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "listen" || op.Addr == nil {
		return err
	}
	to, wrong := toBind(op.Addr.String())
	text := taken[to]
	if wrong != nil || text == "" {
		return err
	}
	return errors.New(strings.Replace(err.Error(), op.Error(), text, 1))
}
