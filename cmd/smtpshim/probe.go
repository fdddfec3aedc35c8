package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy"
	"smtpshim/proxy/probe"
)

func probeServer(args []string, stdout, stderr io.Writer) int {
	f := flags("probe", "[-mail FROM [-message -to TO]] HOST[:PORT] | -listen ADDR", "Examines a mail server and prints its faults, what heals "+
		"them, and a route to paste, which it tries out at once. It sends EHLO, HELO, NOOP, HELP and STARTTLS, begins each login that the server "+
		"offers and cancels it, and ends every session with QUIT; the server's log shows all of this. It sends MAIL only with -mail, and RSET after each; "+
		"it sends a message only with -message. The exit status is 0 if the server needs nothing, or the route heals it, and 1 if something remains, or if the server "+
		"does not accept enough sessions to find that out. "+
		"With -listen it is a server that examines its clients, and delivers nothing: "+
		"point a scanner there. It prints the faults of the scanner, and then passes its sessions through smtpshim, to show that these are healed.", stderr)
	var p probing
	f.StringVar(&p.mail, "mail", "", "also send MAIL with the address `FROM`, many times, with RSET after each")
	f.BoolVar(&p.message, "message", false, "also send one message, from the address of -mail to that of -to")
	f.StringVar(&p.to, "to", "", "your own address `TO` at that server, for -message")
	f.StringVar(&p.name, "name", "", "send this `NAME` in EHLO; default: this machine's name or address")
	f.BoolVar(&p.proxy, "proxy", true, "examine it again through smtpshim with that route")
	f.DurationVar(&p.pause, "pause", time.Second, "wait this long between two connections")
	f.DurationVar(&p.wait, "wait", 30*time.Second, "wait this long for a greeting and for a reply")
	f.DurationVar(&p.timeout, "timeout", 10*time.Minute, "give up after this time")
	asJSON := f.Bool("json", false, "print the findings as JSON")
	l := listenProbe{pause: listenPause}
	f.StringVar(&l.address, "listen", "", "examine the clients that connect to `ADDR`, until Ctrl-C")
	f.BoolVar(&l.accept, "accept", false, "with -listen: answer a message with 250, and discard it")
	if status, ok := parse(f, args, 1); !ok {
		return status
	}
	if l.address != "" || l.accept {
		l.asJSON, l.proxy = *asJSON, p.proxy
		return l.command(f, stdout, stderr)
	}
	if wrong := p.misuse(f.Arg(0)); wrong != "" {
		fmt.Fprintf(stderr, "smtpshim probe: %s\n\n", wrong)
		f.Usage()
		return misused
	}
	p.progress = newProgress(stderr)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, p.timeout)
	defer cancel()
	found, err := p.examine(ctx)
	p.progress.clear()
	if err != nil {
		fmt.Fprintf(stderr, "smtpshim probe: %v\n", err)
		return failed
	}
	if *asJSON {
		if err := json.NewEncoder(stdout).Encode(found); err != nil {
			fmt.Fprintf(stderr, "smtpshim probe: %v\n", err)
			return failed
		}
	} else {
		printProbed(stdout, found)
	}
	if found.remains() {
		return failed
	}
	return succeeded
}

// A probing is the request on the command line.
type probing struct {
	server               string // host:port
	host, name           string
	mail, to             string
	message, proxy       bool
	pause, wait, timeout time.Duration
	progress             *progress
	rest, linger         time.Duration // 0: the defaults
}

// mailAddress matches an address for MAIL without characters that could begin another
// command or parameter.
var mailAddress = regexp.MustCompile(`^[!-;=?-~]+@[0-9A-Za-z.:\[\]-]+$`)

// misuse parses the operand and returns what is wrong with the command line; "": nothing.
func (p *probing) misuse(operand string) string {
	if operand == "" {
		return "HOST is missing: the mail server to examine, as in mail.example.com or mail.example.com:587"
	}
	p.host, p.server = operand, operand
	if host, _, err := net.SplitHostPort(operand); err == nil {
		p.host = host
	} else {
		p.host = strings.Trim(operand, "[]")
		p.server = net.JoinHostPort(p.host, "25")
	}
	if err := config.CheckServer(p.server); err != nil {
		return fmt.Sprintf("HOST is not right: %v", err)
	}
	switch {
	case p.mail != "" && !mailAddress.MatchString(p.mail):
		return fmt.Sprintf("-mail %q is no address; write one such as anna@example.com", p.mail)
	case p.message && (p.mail == "" || p.to == ""):
		return "-message needs -mail ADDRESS, from which the message comes, and -to ADDRESS, to which it goes"
	case p.to != "" && !p.message:
		return "-to is for -message, which sends a message there"
	case p.to != "" && !mailAddress.MatchString(p.to):
		return fmt.Sprintf("-to %q is no address; write one such as anna@example.com", p.to)
	case p.name != "" && !helloName.MatchString(p.name):
		return fmt.Sprintf("-name %q is no name for EHLO; write a domain name, or an address in brackets such as [192.0.2.1]", p.name)
	case p.pause < 0 || p.wait <= 0 || p.timeout <= 0:
		return "-wait and -timeout must be more than 0, and -pause not less"
	}
	return ""
}

var helloName = regexp.MustCompile(`^[0-9A-Za-z.-]+$|^\[[0-9A-Fa-f.:IPv]+\]$`)

// A probed is the result that the command prints.
type probed struct {
	Server  string        `json:"server"`
	Without probe.Report  `json:"without"`
	Route   string        `json:"route,omitempty"` // to paste; "": it needs none
	With    *probe.Report `json:"with,omitempty"`  // through the proposed route; nil: not tried
}

// remains reports whether the server has, or may have, faults that the route was not seen
// to heal.
func (p probed) remains() bool {
	last := p.Without
	if p.With != nil {
		last = *p.With
	}
	return last.Count(probe.Fault) > 0 || last.Missed != ""
}

// examine examines the server, directly and through the route that heals it.
func (p *probing) examine(ctx context.Context) (probed, error) {
	found := probed{Server: p.server}
	s := probe.Server{Host: p.host, Name: p.name, Mail: p.mail, Pause: p.pause, Wait: p.wait, Rest: p.rest, Linger: p.linger, Dial: dialTo(p.server)}
	if p.message {
		s.To = p.to
	}
	if s.Name == "" {
		s.Name = ownName()
	}
	s.Progress = p.progress.of(p.server)
	var err error
	if found.Without, err = s.Examine(ctx); err != nil {
		return found, fmt.Errorf("server %s: %w", p.server, err)
	}
	if found.Without.Count(probe.Fault)+found.Without.Count(probe.Strict) == 0 {
		return found, nil
	}
	listen := "127.0.0.1:2525"
	if strings.HasSuffix(p.server, ":2525") {
		listen = "127.0.0.1:2526"
	}
	found.Route = found.Without.Propose().Route("probed", listen, p.server)
	if !p.proxy {
		return found, nil
	}
	address, stop, err := startProposed(found.Route)
	if err != nil {
		return found, fmt.Errorf("trying out the proposed route: %w", err)
	}
	defer stop()
	if s.Dial = dialTo(address); !found.Without.Has("long-lines") {
		s.To = "" // one message is enough
	}
	s.Progress = p.progress.of("through smtpshim")
	with, err := s.Examine(ctx)
	if err != nil {
		return found, fmt.Errorf("server %s through smtpshim: %w", p.server, err)
	}
	found.With = &with
	return found, nil
}

func dialTo(address string) func(context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: liveWait}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
}

// ownName returns a name for EHLO: that of this machine if it has a domain, or otherwise
// an address literal.
func ownName() string {
	name := liveName()
	if strings.Contains(name, ".") && helloName.MatchString(name) {
		return name
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			return "[" + prefix.Addr().String() + "]"
		}
	}
	return "[127.0.0.1]"
}

// startProposed runs a route of a configuration on a free port of loopback.
func startProposed(text string) (address string, stop func(), err error) {
	temp, err := os.MkdirTemp("", "smtpshim-")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(temp)
	file := filepath.Join(temp, configFile)
	text = fmt.Sprintf("state_dir = %q\n", temp) + text // for self-signed certificates
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	c, err := config.Read(file, rehearse(temp))
	if err != nil {
		return "", nil, err
	}
	r := c.Routes[0].Route
	r.Listen = []string{loopback}
	p := &proxy.Proxy{Logger: slog.New(slog.DiscardHandler)}
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		p.Close()
		return "", nil, err
	}
	return p.Addr(loopback).String(), func() { p.Close() }, nil
}

// A progress is a line on a terminal about what is in progress.
type progress struct {
	w     io.Writer
	shown bool
}

// of shows the progress of one examination; nil: it is not shown.
func (p *progress) of(what string) func(name string, done, all int) {
	if !p.shown {
		return nil
	}
	return func(name string, done, all int) {
		line := fmt.Sprintf("%s: %s (%d of %d)", what, name, done+1, all)
		fmt.Fprintf(p.w, "\r%s\x1b[K", line[:min(len(line), columns-1)])
	}
}

// newProgress returns the progress that is shown at stderr, if that is a terminal.
func newProgress(stderr io.Writer) *progress {
	if e, ok := stderr.(escaper); ok {
		stderr = e.to // its own control characters are meant for the terminal
	}
	return &progress{w: stderr, shown: isTerminal(stderr)}
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	file, ok := fileOf(w)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// printProbed prints the result in the format of explain.
func printProbed(w io.Writer, p probed) {
	for _, kind := range []probe.Kind{probe.Fault, probe.Strict, probe.Note} {
		for _, f := range p.Without.Findings {
			if f.Kind == kind {
				printFinding(w, f)
			}
		}
	}
	faults, strict := p.Without.Count(probe.Fault), p.Without.Count(probe.Strict)
	switch {
	case p.Without.Missed != "":
		entry(w, 0, "", 0, p.Server+" was not examined to the end: "+p.Without.Missed+".")
	case faults == 0:
		fmt.Fprintf(w, "%s: nothing to heal.\n", p.Server)
	}
	if faults == 0 && strict > 0 {
		entry(w, 0, "", 0, "By the RFCs a server may be strict about this. Clients that send it all the same get through with a route such as this:")
	} else if p.Route != "" {
		fmt.Fprintf(w, "%s: %s. A route that heals what can be healed:\n", p.Server, words.Plural(faults, "fault"))
	}
	if p.Route != "" {
		fmt.Fprintf(w, "\n%s\n", indented(p.Route))
	}
	if p.With != nil {
		fmt.Fprintf(w, "without: %s\nwith:    %s\n", counted(p.Without), counted(*p.With))
		for _, f := range p.With.Findings {
			if f.Kind != probe.Note {
				entry(w, 2, "remains", 11, f.Name+": "+f.Means)
				for _, line := range f.Seen {
					entry(w, 11, "", 11, line)
				}
			}
		}
	}
	if p.Without.TLS != "" {
		fmt.Fprintf(w, "STARTTLS leads to %s.\n", p.Without.TLS)
	}
	for _, name := range p.Without.Products {
		fmt.Fprintf(w, "It shows the signs of %s: see \"smtpshim rules %s\".\n", name, name)
	}
	fmt.Fprint(w, "\nNot tried:\n\n")
	for _, u := range p.Without.Untried {
		entry(w, 2, "", 4, u.Name+"; "+u.Why)
	}
}

func printFinding(w io.Writer, f probe.Finding) {
	out := demoOutput{w, colourful(w)}
	for _, line := range f.Seen {
		for _, part := range fold(line, columns-1, len("S: ")) {
			out.print("%s\n", part)
		}
	}
	fmt.Fprintln(w)
	head := map[probe.Kind]string{probe.Fault: "Fault:", probe.Strict: "Strict:", probe.Note: "Note:"}[f.Kind]
	for _, row := range [][2]string{{head, f.Means}, {"Heals:", f.Heals}, {"Setting:", strings.ReplaceAll(f.Setting, "\n", "; ")}, {"Catalogue:", f.Entry}, {"Source:", f.Source}} {
		if row[1] != "" {
			entry(w, 2, row[0], explainColumn, row[1])
		}
	}
	fmt.Fprintln(w)
}

func counted(r probe.Report) string {
	text := words.Plural(r.Count(probe.Fault), "fault") + ", strict about " + strconv.Itoa(r.Count(probe.Strict))
	if r.Missed != "" {
		text += "; not examined to the end: " + r.Missed
	}
	return text
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}
