package main

import (
	"context"
	"flag"
	"fmt"
	"mime"
	"net"
	"net/http"
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

// unasked tells why there is nobody to ask, and returns the exit status of that: a URL
// that is none is a wrong use of f.
func unasked(f *flag.FlagSet, err error) (status int) {
	fmt.Fprintf(f.Output(), "smtpshim %s: %v\n", f.Name(), err)
	if f.NArg() > 0 {
		return misused
	}
	return failed
}

// askAdmin asks an admin listener for what is at a URL and has the media type kind; what
// says what that is. The caller closes the body.
func askAdmin(ctx context.Context, from, kind, what string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	said := answer.Header.Get("Content-Type")
	if got, _, _ := mime.ParseMediaType(said); answer.StatusCode == http.StatusOK && got == kind {
		return answer, nil
	}
	answer.Body.Close()
	return nil, fmt.Errorf("%s says %s, and has %q instead of %s%s", r.URL.Redacted(), answer.Status, said, what, hintAdmin(answer.StatusCode))
}

// hintAdmin says what to do about a status.
func hintAdmin(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "; write http://USER:PASSWORD@HOST:PORT"
	case http.StatusNotFound:
		return "; it has none where the admin listener can be reached from other machines without a password, and before this version"
	}
	return ""
}
