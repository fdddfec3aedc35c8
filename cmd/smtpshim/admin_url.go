package main

import (
	"fmt"
	"net"
	"net/url"
)

// adminListen is where the admin listener is unless the configuration says
// otherwise.
const adminListen = "127.0.0.1:9525"

const adminHelp = "without URL: the admin listener of the configuration in `FILE`"

// adminAt is where a running smtpshim can be asked: at base, or if that is "" at
// the admin listener of a configuration, or if there is none at the usual one.
func adminAt(base, config string) (*url.URL, error) {
	if base == "" {
		address := adminListen
		if config != "" {
			file, err := openSource(config)
			if err != nil {
				return nil, err
			}
			if address = file.table("admin").text("listen", adminListen); address == "" {
				return nil, fmt.Errorf("%s has the admin listener turned off; there is nobody to ask", config)
			}
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("admin.listen in %s: %w", config, err)
		}
		if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
			host = "localhost"
		}
		base = "http://" + net.JoinHostPort(host, port)
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL; write for example http://%s", base, adminListen)
	}
	return u, nil
}
