package main

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// hostName is RFC 1123, 2.1, and the underscores that are found in the wild.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?$`)

// checkAddress says what is wrong with a host:port. Only where we listen may
// the host be left out.
func checkAddress(address string, listening bool) error {
	if path, ok := socketPath(address); ok {
		return checkSocket(path)
	}
	if name, ok := strings.CutPrefix(address, systemdPrefix); ok && listening {
		return checkSocketName(name)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if ip, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
			return fmt.Errorf("%q has no port; write for example %q", address, netip.AddrPortFrom(ip, 25))
		}
		if allDigits(address) && address != "" {
			return fmt.Errorf("%q has no host; write for example %q", address, "127.0.0.1:"+address)
		}
		if strings.Count(address, ":") > 1 {
			return fmt.Errorf(`%q is no address; host:port is wanted, IPv6 in brackets as in "[2001:db8::1]:25"`, address)
		}
		if hostName.MatchString(address) {
			return fmt.Errorf("%q has no port; write for example %q", address, address+":25")
		}
		return fmt.Errorf(`%q is no address; host:port is wanted, as in "192.0.2.1:25"`, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is no port in %q; a number from 1 to 65535 is wanted", port, address)
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" && listening {
		return nil
	}
	if host == "" {
		return fmt.Errorf(`%q has no host; write for example "127.0.0.1:%s"`, address, port)
	}
	if !hostName.MatchString(host) || len(host) > 255 || allDigits(host) {
		return fmt.Errorf("%q is no host in %q; an address or a name is wanted", host, address)
	}
	return nil
}

// allDigits finds what looks like an IPv4 address and is none, such as
// 192.0.2.256; no name of a host ends in a label of digits (RFC 1123, 2.1).
func allDigits(host string) bool { return strings.Trim(host, "0123456789.") == "" }

// listeners are the addresses that are taken, by port and host, and who has
// them.
type listeners map[string]map[string]string

// add notes an address that is wrong or taken.
func (l listeners) add(t *table, key, address, by string) {
	if err := checkAddress(address, true); err != nil {
		t.wrong(key, "%v", err)
		return
	}
	host, port := splitAddress(address)
	for other, owner := range l[port] {
		if host == other || host == everywhere || other == everywhere {
			t.wrong(key, "%q is taken by %s", address, owner)
			return
		}
	}
	if l[port] == nil {
		l[port] = map[string]string{}
	}
	l[port][host] = by
}

// everywhere is the host of an address that has none: every interface.
const everywhere = "*"

// fileSystem is the host of a socket whose port is a path.
const fileSystem = "unix:"

// splitAddress returns the parts of a right address in one spelling.
func splitAddress(address string) (host, port string) {
	if path, ok := socketPath(address); ok {
		return fileSystem, filepath.Clean(path)
	}
	host, port, _ = net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified(): // Go listens on both families then
		host = everywhere
	case err == nil:
		host = ip.Unmap().String()
	default:
		host = strings.ToLower(host)
	}
	if n, err := strconv.Atoi(port); err == nil {
		port = strconv.Itoa(n)
	}
	return host, port
}

// isLoopback says whether only this machine can reach a listen address.
func isLoopback(address string) bool {
	host, _ := splitAddress(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || host == fileSystem || err == nil && ip.IsLoopback()
}

// goesToItself says whether a server's address is where we listen: such a
// session would call itself until nothing is left.
func goesToItself(server string, listen []string) bool {
	host, port := splitAddress(server)
	for _, l := range listen {
		lhost, lport := splitAddress(l)
		if port == lport && (host == lhost || lhost == everywhere && isLoopback(server)) {
			return true
		}
	}
	return false
}
