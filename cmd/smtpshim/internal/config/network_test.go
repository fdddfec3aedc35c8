package config

import (
	"net/netip"
	"slices"
	"testing"

	"smtpshim/proxy"
)

func TestTheNetworkIsAsTheFileSays(t *testing.T) {
	c := readText(t, `
[[route]]
name = "hidden"
listen = ["systemd:smtp", ":2525"]
servers = ["original-destination"]
transparent = true
source = "client"
original_destination.networks = ["192.0.2.0/24", "::/0"]

[[route]]
name = "fixed"
listen = ["127.0.0.1:2526"]
servers = ["192.0.2.1:25", "mail.example.com:25"]
source = "::ffff:192.0.2.9"
`)
	hidden, fixed := c.Routes[0], c.Routes[1]
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("::/0")}
	if !hidden.Transparent || hidden.Source != (proxy.Source{Client: true}) || !slices.Equal(hidden.Destinations, networks) {
		t.Errorf("hidden: %+v", hidden.Route)
	}
	if fixed.Transparent || fixed.Source != (proxy.Source{Address: netip.MustParseAddr("192.0.2.9")}) || fixed.Destinations != nil {
		t.Errorf("fixed: %+v", fixed.Route)
	}
}
