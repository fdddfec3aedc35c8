package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"smtpshim/proxy"
)

// readNetwork reads the network settings of a route: where clients come from, where they
// were going, and the source address for connections to servers.
func readNetwork(t *table, r *Route) {
	r.Clients = networks(t, "clients")
	r.Transparent = t.boolean("transparent", false)
	for _, address := range r.Listen {
		if _, ok := SocketPath(address); ok && r.Transparent {
			t.wrong("transparent", "%q cannot be transparent: only TCP can be", address)
		}
	}
	r.Source = readSource(t, r)
	origin := t.table("original_destination")
	r.Destinations = networks(origin, "networks")
	origin.done()

	wanted := slices.Contains(r.Servers, proxy.OriginalDestination)
	switch {
	case wanted && len(r.Servers) > 1:
		t.wrong("servers", "%q must be the only server: the connection of each client decides where it goes", proxy.OriginalDestination)
	case wanted && len(r.Destinations) == 0:
		origin.follows([]string{"networks"}, "", `networks is missing: those that clients may go to, as in networks = ["192.0.2.0/24"]; ["0.0.0.0/0", "::/0"] is anywhere`)
	case wanted && r.Health.Interval > 0:
		t.table("health").wrong("interval", "health cannot be checked if each client decides who the server is; leave it at \"0s\"")
	case !wanted && len(r.Destinations) > 0:
		origin.wrong("networks", "has no effect: servers is not [%q]", proxy.OriginalDestination)
	}
}

// readSource reads "client", or an address of this machine.
func readSource(t *table, r *Route) proxy.Source {
	text := t.text("source", "")
	if text == "" || text == "client" {
		return proxy.Source{Client: text == "client"}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		t.wrong("source", `%q is no address of this machine; write for example "192.0.2.1", or "client"`, text)
		return proxy.Source{}
	}
	a = a.Unmap()
	for _, server := range r.Servers {
		if to, err := netip.ParseAddrPort(server); err == nil && to.Addr().Unmap().Is4() != a.Is4() {
			t.wrong("source", "%q cannot be reached from %v: one is an IPv4 and the other an IPv6 address", server, a)
		}
	}
	return proxy.Source{Address: a}
}

// SystemdPrefix begins an address to listen on that names sockets passed by systemd,
// such as "systemd:smtp".
const SystemdPrefix = "systemd:"

// checkSocketName returns what is wrong with a name of sockets. FileDescriptorName=
// accepts no others (systemd.socket(5)).
func checkSocketName(name string) error {
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || c == ':' }) {
		return fmt.Errorf(`%q is no name of sockets; write for example "systemd:smtp", with FileDescriptorName=smtp in the socket unit`, name)
	}
	return nil
}
