package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// hostName matches a host name of RFC 1123, 2.1, and allows underscores, which occur in
// practice.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?$`)

// A purpose says what an address in the configuration is for.
type purpose uint8

const (
	forServers purpose = iota
	forClients         // clients connect to it; the host may be omitted
	forAdmin           // the admin listener; the host may be omitted
)

// port returns the usual port for the purpose.
func (p purpose) port() string {
	if p == forAdmin {
		_, port, _ := net.SplitHostPort(DefaultAdmin)
		return port
	}
	return "25"
}

// ports maps common names of services to ports (IANA's registry, RFC 8314, RFC 2033).
var ports = map[string]string{"smtp": "25", "relay": "25", "lmtp": "24", "submission": "587", "smtps": "465", "ssmtp": "465", "submissions": "465"}

// checkAddress returns what is wrong with a host:port, and what would be right.
func checkAddress(address string, p purpose) error {
	if path, ok := SocketPath(address); ok {
		return checkSocket(path)
	}
	if name, ok := strings.CutPrefix(address, SystemdPrefix); ok && p == forClients {
		return checkSocketName(name)
	}
	if err := checkNoURL(address, p); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return incomplete(address, p)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		hint := ""
		if number, known := ports[strings.ToLower(port)]; known && host+":" != SystemdPrefix {
			hint = fmt.Sprintf("; write %q", net.JoinHostPort(host, number))
		}
		return fmt.Errorf("%q is no port in %q; a number from 1 to 65535 is wanted%s", port, address, hint)
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" && p != forServers {
		return nil
	}
	if host == "" {
		return fmt.Errorf(`%q has no host; write that of the server, as in "192.0.2.1:%s"`, address, port)
	}
	if !hostName.MatchString(host) || len(host) > 255 || allDigits(host) {
		return fmt.Errorf("%q is no host in %q; an address or a name is wanted", host, address)
	}
	return nil
}

// CheckServer returns nil if address can be the address of a server, such as
// "192.0.2.1:25", and otherwise an error that says what is wrong with it.
func CheckServer(address string) error { return checkAddress(address, forServers) }

// CheckListen returns nil if address can be an address that clients connect to, such as
// ":25", and otherwise an error that says what is wrong with it.
func CheckListen(address string) error { return checkAddress(address, forClients) }

// incomplete returns what an address lacks that is not a host:port.
func incomplete(address string, p purpose) error {
	switch ip, err := netip.ParseAddr(strings.Trim(address, "[]")); {
	case err == nil:
		return fmt.Errorf("%q has no port; write for example %q", address, net.JoinHostPort(ip.String(), p.port()))
	case address != "" && allDigits(address) && !strings.Contains(address, "."):
		return fmt.Errorf("%q has no host; write %s", address, p.hosts(address))
	case strings.Count(address, ":") > 1:
		return fmt.Errorf(`%q is no address; host:port is wanted, IPv6 in brackets as in "[2001:db8::1]:25"`, address)
	case hostName.MatchString(address) && !allDigits(address):
		return fmt.Errorf("%q has no port; write for example %q", address, address+":"+p.port())
	}
	return fmt.Errorf(`%q is no address; host:port is wanted, as in "192.0.2.1:25"`, address)
}

// hosts returns the hosts that a port without host may be meant for.
func (p purpose) hosts(port string) string {
	switch p {
	case forServers:
		return fmt.Sprintf(`that of the server, as in "192.0.2.1:%s"`, port)
	case forAdmin:
		return fmt.Sprintf(`for example "127.0.0.1:%s"`, port)
	}
	return fmt.Sprintf(`":%s" for every interface, which other machines can reach: name in clients who may come; `+
		`or "127.0.0.1:%[1]s" for this machine alone`, port)
}

// urlForm matches a URL, or the transport:host of a Postfix: what precedes the host,
// which may include user and password; the host with its port; and the rest.
var urlForm = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*):(?://(?:[^/]*@)?([^/?#]*)(?:[/?#].*)?|(\[.*|[^:]+:[0-9]+))$`)

// checkNoURL returns what to write in place of a URL. It does not repeat what may be a
// secret.
func checkNoURL(address string, p purpose) error {
	parts := urlForm.FindStringSubmatch(address)
	if parts == nil {
		return nil
	}
	scheme, rest := strings.ToLower(parts[1]), parts[2]+parts[3]
	port, known := ports[scheme]
	if parts[3] != "" && !known {
		return nil // a name with several ports
	}
	if !known {
		port = p.port()
	}
	host := strings.Trim(rest, "[]")
	if h, given, err := net.SplitHostPort(rest); err == nil {
		host, port = h, given
	}
	right := net.JoinHostPort(host, port)
	if checkAddress(right, p) != nil {
		return fmt.Errorf(`%q is wanted without "%s:", as host:port, such as "192.0.2.1:25"`, rest, parts[1])
	}
	hint := ""
	if port == "465" && p != forAdmin {
		table := map[purpose]string{forServers: "server_tls", forClients: "client_tls"}[p]
		hint = fmt.Sprintf(`, and mode = "implicit" in [route.%s]`, table)
	}
	if strings.Contains(address, "@") {
		hint += "; a user and a password belong in an [[account]]"
	}
	return fmt.Errorf(`host:port is wanted, and no "%s:"; write %q%s`, parts[1], right, hint)
}

// allDigits reports whether host looks like an IPv4 address, such as 192.0.2.256. No host
// name ends with a label of digits (RFC 1123, 2.1).
func allDigits(host string) bool { return strings.Trim(host, "0123456789.") == "" }

// listeners are the addresses in use, by port and host, with their owners.
type listeners map[string]map[string]owner

// An owner is what listens on an address.
type owner struct {
	name string
	at   *table // the table of the route; nil: not a route
}

// toldTo describes the owner and its position to a reader of the file of t.
func (o owner) toldTo(t *table) string {
	if o.at == nil {
		return o.name
	}
	return o.name + ", " + o.at.placeFor(t)
}

// add adds an address, or reports that it is malformed or taken.
func (l listeners) add(t *table, key, address string, p purpose, by owner) {
	if err := checkAddress(address, p); err != nil {
		t.wrong(key, "%v", err)
		return
	}
	host, port := splitAddress(address)
	for other, by := range l[port] {
		if host == other || host == everywhere || other == everywhere {
			t.wrong(key, "%q is taken by %s", address, by.toldTo(t))
			return
		}
	}
	if l[port] == nil {
		l[port] = map[string]owner{}
	}
	l[port][host] = by
}

// everywhere stands for the missing host of an address on all interfaces.
const everywhere = "*"

// fileSystem stands for the host of a Unix socket; its port is a path.
const fileSystem = "unix:"

// splitAddress returns the parts of a valid address in canonical form.
func splitAddress(address string) (host, port string) {
	if path, ok := SocketPath(address); ok {
		return fileSystem, filepath.Clean(path)
	}
	host, port, _ = net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified(): // Go then listens on both families
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

// IsLoopback reports whether only this machine can reach address, an address to listen
// on. That is so for loopback addresses, localhost and Unix sockets. For sockets passed
// by systemd, whose address is not known, the result is false.
func IsLoopback(address string) bool {
	host, _ := splitAddress(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || host == fileSystem || err == nil && ip.IsLoopback()
}

// goesToItself reports whether a server's address is one at which we listen. Such a
// session would connect to itself until no resources are left.
func goesToItself(server string, listen []string) bool {
	host, port := splitAddress(server)
	for _, l := range listen {
		lhost, lport := splitAddress(l)
		if port == lport && (host == lhost || lhost == everywhere && IsLoopback(server)) {
			return true
		}
	}
	return false
}
