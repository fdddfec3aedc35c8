package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy"
	"smtpshim/proxy/header"
	"smtpshim/proxy/journal"
)

// The flag -config of the commands that read a configuration.
const (
	configFile = "smtpshim.toml"
	configHelp = "read the configuration from `FILE`"
)

func check(args []string, stdout, stderr io.Writer) int {
	f := flags("check", "[-config FILE] [-live] [-strict]", "Prints what each route of the configuration will do, or every mistake in it.", stderr)
	path := f.String("config", configFile, configHelp)
	live := f.Bool("live", false, "also connect to each server, and log in if the route does")
	strict := f.Bool("strict", false, "treat warnings as mistakes: the exit status is 1")
	if status, ok := parse(f, args, 0); !ok {
		return status
	}
	temp, err := os.MkdirTemp("", "smtpshim-")
	if err != nil {
		fmt.Fprintln(stderr, err)
		return failed
	}
	defer os.RemoveAll(temp)
	c, err := config.Read(*path, rehearse(temp))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return failed
	}
	count, starts := printAll(stdout, c)
	with := ""
	if n := len(c.Included); n > 0 {
		with = fmt.Sprintf(", with %s of %s,", words.Plural(n, "file"), journal.Printable(filepath.Dir(c.Included[0])))
	}
	but := ""
	if !starts {
		but = `, but "smtpshim run" by this user would not start now`
	}
	fmt.Fprintf(stdout, "%s%s is right%s: %s, %s.\n", journal.Printable(*path), with, but, words.Plural(len(c.Routes), "route"), words.Plural(count, "warning"))
	status := succeeded
	if *strict && count > 0 {
		status = failed
	}
	if !*live {
		return status
	}
	fmt.Fprintln(stdout)
	if bad := checkLive(stdout, c); bad > 0 {
		fmt.Fprintf(stdout, "%s failed.\n", words.Plural(bad, "server"))
		return failed
	}
	return status
}

// printAll prints what a configuration does. It returns the number of warnings, and
// whether the present user could start smtpshim with it now.
func printAll(w io.Writer, c *config.Config) (warned int, starts bool) {
	starts = true
	said := said{}
	warn := func(indent int, list ...string) {
		for _, warning := range list {
			entry(w, indent, "WARNING", 17, warning)
			warned++
		}
	}
	ports := func(indent int, addresses ...string) {
		for _, f := range lookAtPorts(c, addresses...) {
			if f.expect {
				entry(w, indent, "in use", 17, f.text)
			} else {
				warn(indent, f.text)
				starts = false
			}
		}
	}
	for _, r := range c.Routes {
		printRoute(w, r, said)
		if needs := needsRights(r.Listen); needs != "" {
			entry(w, 2, "needs", 17, said.once(needs, r.Name))
		}
		warn(2, r.Warnings(time.Now())...)
		ports(2, r.Listen...)
		fmt.Fprintln(w)
	}
	for _, a := range c.Accounts {
		printAccount(w, a, c)
		warn(2, c.AccountWarnings(a, time.Now())...)
		fmt.Fprintln(w)
	}
	entry(w, 0, "admin listener", 17, adminMeans(c))
	if c.Admin != "" {
		ports(0, c.Admin)
	}
	entry(w, 0, "log", 17, fmt.Sprintf("%s, level %s", c.Format, strings.ToLower(c.Level.String())))
	entry(w, 0, "drain", 17, words.Brief(c.Drain))
	fmt.Fprint(w, "\n\"smtpshim rules\" lists what each rule heals.\n")
	return warned, starts
}

// A said maps each text that was printed to the route for which it was printed first.
type said map[string]string

// once returns text, or, if it is longer than a line and was printed for another route, a
// reference to that route.
func (s said) once(text, route string) string {
	if first, ok := s[text]; ok && first != route && len(wrap(text, columns-18)) > 1 {
		return "as in route " + first
	}
	s[text] = route
	return text
}

// printRoute prints what a route does.
func printRoute(w io.Writer, r *config.Route, said said) {
	line := func(name, text string) { entry(w, 2, name, 17, text) }
	fmt.Fprintf(w, "route %s\n", r.Name)
	line("listens on", strings.Join(r.Listen, ", "))
	line("servers", serversAre(r.Route))
	if h := r.Health; h.Interval > 0 {
		line("health", fmt.Sprintf("every %s each server must greet and answer EHLO within %s, or smtpshim stops using it", words.Brief(h.Interval), words.Brief(h.Timeout)))
	}
	for _, l := range networkMeans(r) {
		line(l[0], l[1])
	}
	line("client TLS", r.ClientTLS.Mode.String()+": "+clientTLSMeans(r))
	tls := tlsPrinter{w, time.Now(), func(text string) string { return said.once(text, r.Name) }}
	tls.client(r)
	line("server TLS", r.ServerTLS.Mode.String()+": "+serverTLSMeans(r))
	tls.server(r)
	if r.EarlyCommands == proxy.EarlyShown {
		line("early commands", "shown: the server sees commands that a client sends before the greeting, or in a group without PIPELINING")
	}
	if len(r.ProxyFrom) > 0 {
		line("PROXY header", "must come first from "+words.Networks(r.ProxyFrom))
	}
	if r.ProxySend != header.None {
		line("PROXY header", "goes first to the server, in version "+r.ProxySend.String()[1:]+", with the client's addresses")
	}
	for _, means := range xclientMeans(r.Route) {
		line("XCLIENT", means)
	}
	if changed := config.ChangedLimits(r.Limits); changed != "" {
		line("limits", changed)
	}
	if r.Device {
		line("device", "timeouts are short, for clients that wait 20 seconds and try once")
	}
	if changed := config.ChangedTimeouts(r.Timeouts); changed != "" {
		line("timeouts", changed)
	}
	if r.Record != nil {
		line("records", recordMeans(r.Record))
	}
	idle := idleRules(r)
	names := rulesMean(r.Rules, idle)
	switch inForce := strings.Join(names, ", "); {
	case r.Observed != nil:
		line("observes", said.once(strings.Join(rulesMean(r.Observed, idle), ", "), r.Name))
		line("rules", inForce+" alone, which every route has; smtpshim reports what the observed rules would do")
	case len(names) == 1:
		line("rules", inForce+" alone, which every route has")
	default:
		line("rules", said.once(inForce, r.Name))
	}
	if len(idle) > 0 {
		var names []string
		for _, rule := range idle {
			names = append(names, rule.Name)
		}
		line("cannot act", "under this TLS: "+strings.Join(names, ", "))
	}
	if products := r.Computed().Products(); len(products) > 0 {
		line("looks for", said.once("products: "+strings.Join(products, ", "), r.Name))
	}
	for _, l := range r.LoginEntries {
		line("logs in", loginMeans(l))
	}
	if means := loginsMean(r); means != "" {
		line("logins", said.once(means, r.Name))
	}
}
