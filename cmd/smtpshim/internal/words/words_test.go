package words

import (
	"net/netip"
	"testing"
	"time"
)

func TestCountsDurationsAndNetworksAreWrittenPlainly(t *testing.T) {
	for got, want := range map[string]string{
		Plural(0, "route"): "0 routes", Plural(1, "route"): "1 route", Plural(2, "route"): "2 routes",
		Brief(time.Hour): "1h", Brief(90 * time.Minute): "1h30m", Brief(10 * time.Second): "10s", Brief(0): "0s", Brief(time.Hour + time.Second): "1h0m1s",
		Networks(nil): "", Networks([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}): "192.0.2.0/24, 2001:db8::/32",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
