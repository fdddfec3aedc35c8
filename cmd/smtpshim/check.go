package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"smtpshim/proxy"
	"smtpshim/rewrite"
)

// The -config flag of the commands that read a configuration.
const (
	configFile = "smtpshim.toml"
	configHelp = "read the configuration from `FILE`"
)

func check(args []string, stdout, stderr io.Writer) int {
	f := flags("check", "[-config FILE]", "Prints what each route of the configuration will do, or every mistake in it.", stderr)
	path := f.String("config", configFile, configHelp)
	if status, ok := parse(f, args, 0); !ok {
		return status
	}
	temp, err := os.MkdirTemp("", "smtpshim-")
	if err != nil {
		fmt.Fprintln(stderr, err)
		return failed
	}
	defer os.RemoveAll(temp)
	c, err := readConfig(*path, rehearse(temp))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return failed
	}
	count := 0
	for _, r := range c.routes {
		printRoute(stdout, r)
		for _, warning := range warnings(r, time.Now()) {
			entry(stdout, 2, "WARNING", 17, warning)
			count++
		}
		fmt.Fprintln(stdout)
	}
	admin := c.admin
	if admin == "" {
		admin = "off"
	}
	entry(stdout, 0, "admin listener", 17, admin)
	entry(stdout, 0, "log", 17, fmt.Sprintf("%s, level %s", c.format, strings.ToLower(c.level.String())))
	entry(stdout, 0, "drain", 17, brief(c.drain))
	fmt.Fprintf(stdout, "\n%s is right: %s, %s.\n", *path, plural(len(c.routes), "route"), plural(count, "warning"))
	return succeeded
}

func plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// printRoute says what a route does.
func printRoute(w io.Writer, r *route) {
	line := func(name, text string) { entry(w, 2, name, 17, text) }
	fmt.Fprintf(w, "route %s\n", r.Name)
	line("listens on", strings.Join(r.Listen, ", "))
	line("servers", strings.Join(r.Servers, ", then "))
	line("client TLS", r.ClientTLS.Mode.String()+": "+clientTLSMeans(r.ClientTLS.Mode))
	tls := tlsPrinter{w, time.Now()}
	tls.client(r)
	line("server TLS", r.ServerTLS.Mode.String()+": "+serverTLSMeans(r))
	tls.server(r)
	if len(r.ProxyFrom) > 0 {
		var networks []string
		for _, p := range r.ProxyFrom {
			networks = append(networks, p.String())
		}
		line("PROXY header", "must come first from "+strings.Join(networks, ", "))
	}
	if changed := changedLimits(r.Limits); changed != "" {
		line("limits", changed)
	}
	if changed := changedTimeouts(r.Timeouts); changed != "" {
		line("timeouts", changed)
	}
	names := r.Rules.Names()
	if len(names) == 0 {
		line("rules", "none: every line passes as it is")
		return
	}
	line("rules", fmt.Sprintf("%d, in this order, and whom each heals", len(names)))
	for _, rule := range rewrite.Table() {
		if slices.Contains(names, rule.Name) {
			entry(w, 4, rule.Name, 24, rule.Heals)
		}
	}
}

// changedLimits names the limits that are not the defaults.
func changedLimits(l proxy.Limits) string {
	var changed []string
	for _, l := range limitsOf(&l) {
		if *l.value != l.normal {
			changed = append(changed, fmt.Sprintf("%s %d", l.key, *l.value))
		}
	}
	return strings.Join(changed, ", ")
}

// changedTimeouts names the timeouts that are not the defaults.
func changedTimeouts(t proxy.Timeouts) string {
	var changed []string
	for _, t := range timeoutsOf(&t) {
		if *t.value != t.normal {
			changed = append(changed, fmt.Sprintf("%s %s", t.key, brief(*t.value)))
		}
	}
	return strings.Join(changed, ", ")
}
