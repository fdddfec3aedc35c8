package rewrite_test

import (
	"net/netip"
	"testing"

	"smtpshim/rewrite"
)

func TestANetworkHasAddressesWhateverTheirZone(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10")}
	for address, want := range map[string]bool{"fe80::7%eth0": true, "fe80::7": true, "192.0.2.7": true, "::ffff:192.0.2.7": true, "2001:db8::7%eth0": false, "198.51.100.7": false} {
		if got := rewrite.InNetworks(netip.MustParseAddr(address), networks); got != want {
			t.Errorf("%s is in them: %v", address, got)
		}
	}
}
