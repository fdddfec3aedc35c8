package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"

	"smtpshim/cmd/smtpshim/internal/config"
)

const adminHelp = "without URL: the admin listener of the configuration in `FILE`"

// adminAt returns the URL of a running smtpshim's admin listener: base if it is not "",
// or the listener of the configuration in file if that is not "", or the default.
func adminAt(base, file string) (*url.URL, error) {
	if base == "" {
		address := config.DefaultAdmin
		if file != "" {
			var err error
			if address, err = config.AdminListen(file); err != nil {
				return nil, err
			}
			if address == "" {
				return nil, fmt.Errorf("the admin listener is turned off in %s", file)
			}
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("admin.listen in %s: %w", file, err)
		}
		base = "http://" + net.JoinHostPort(reachable(host), port)
	}
	given := base
	if _, port, err := net.SplitHostPort(base); err == nil && port != "" && strings.Trim(port, "0123456789") == "" {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL, nor HOST:PORT; write for example http://%s", given, config.DefaultAdmin)
	}
	return u, nil
}

// reachable returns the host by which a program on this machine reaches a listener on
// host.
func reachable(host string) string {
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		return "localhost"
	}
	return host
}

// unasked prints why nobody can be asked, and returns the exit status. A malformed URL is
// wrong usage of f.
func unasked(f *flag.FlagSet, err error) (status int) {
	fmt.Fprintf(f.Output(), "smtpshim %s: %v\n", f.Name(), err)
	if f.NArg() > 0 {
		return misused
	}
	return failed
}

// askAdmin requests a URL of an admin listener. The answer must have the media type kind;
// what describes it for messages. The caller closes the body.
func askAdmin(ctx context.Context, from, kind, what string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, unanswered(r.URL, err)
	}
	said := answer.Header.Get("Content-Type")
	if got, _, _ := mime.ParseMediaType(said); answer.StatusCode == http.StatusOK && got == kind {
		return answer, nil
	}
	answer.Body.Close()
	return nil, fmt.Errorf("%s says %s, and has %q instead of %s%s", r.URL.Redacted(), answer.Status, said, what, hintAdmin(answer.StatusCode))
}

// unanswered returns an error that says why an admin listener has not answered, and what
// to do about it.
func unanswered(at *url.URL, err error) error {
	host := at.Scheme + "://" + at.Host
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err // the error repeats the URL
	}
	var unknown *net.DNSError
	var timeout net.Error
	hint := ""
	switch {
	case errors.Is(err, context.Canceled):
	case errors.As(err, &unknown):
		return fmt.Errorf("the host of %s has no address (%w)", host, unknown)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens at %s (%w): no smtpshim runs there, or its admin.listen is another address, which -config FILE would read", host, syscall.ECONNREFUSED)
	case errors.As(err, &timeout) && timeout.Timeout():
		hint = ": is it reachable from here, and admin.listen not for its own machine alone?"
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), spokeFirst):
		return fmt.Errorf("what answers at %s is no admin listener: an admin listener speaks HTTP, at the address in admin.listen, not at that of a route", host)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		hint = "; write http://"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		hint = "; it hung up without an answer, as what is no admin listener does"
	}
	return fmt.Errorf("asking %s: %w%s", host, err, hint)
}

// spokeFirst is what net/http says where a server, such as one of SMTP, has spoken before
// the request was written: it wraps an error that is nil.
const spokeFirst = "readLoopPeekFailLocked: %!w(<nil>)"

// routesAt returns the names of a running smtpshim's routes, from its metrics; nil if
// they cannot be read.
func routesAt(ctx context.Context, from *url.URL) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	answer, err := askAdmin(ctx, from.JoinPath("metrics").String(), "text/plain", "metrics")
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if found := activeRoute.FindStringSubmatch(lines.Text()); found != nil {
			names = append(names, found[1])
		}
	}
	return names
}

var activeRoute = regexp.MustCompile(`^smtpshim_sessions_active\{route="([^"]+)"\}`)

// hintAdmin returns what to do about a status.
func hintAdmin(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "; write http://USER:PASSWORD@HOST:PORT"
	case http.StatusNotFound:
		return "; it has none where the admin listener can be reached from other machines without a password, and before this version"
	}
	return ""
}
