package main

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/oneof"
	"smtpshim/rewrite/transcript"
)

// demo shows the founding dialogues, each twice over real connections: without the proxy
// and with it.
func demo(args []string, stdout, stderr io.Writer) int {
	f := flags("demo", "[-listen ADDR [-bare] [-mended]] [NAME]", "Simulated legacy servers and clients on loopback, without the proxy and then with it "+
		"between. NAME is one article or server. With -listen, a simulated server stays up behind "+
		"the proxy, to talk to with telnet or swaks: smtpshim demo -listen 127.0.0.1:2525 iis-4", stderr)
	address := f.String("listen", "", "stay up, with the simulated server NAME behind the proxy on `ADDR`")
	bare := f.Bool("bare", false, "with -listen: the simulated server itself on ADDR, and no proxy")
	mended := f.Bool("mended", false, "with -listen: the simulated server without its faults")
	if status, ok := parse(f, args, 1); !ok {
		return status
	}
	switch {
	case *address != "":
		return demoServer(*address, f.Arg(0), *bare, *mended, stdout, stderr)
	case *bare:
		fmt.Fprintln(stderr, "smtpshim demo: -bare needs -listen ADDR, the address of the simulated server")
		return misused
	case *mended:
		fmt.Fprintln(stderr, "smtpshim demo: -mended needs -listen ADDR, the address of the simulated server")
		return misused
	}
	chosen := slices.DeleteFunc(scenes(), func(s scene) bool { return f.NArg() > 0 && !s.isCalled(f.Arg(0)) })
	if _, is := smtptest.LookupServer(f.Arg(0)); is && len(chosen) == 0 {
		fmt.Fprintf(stderr, "smtpshim demo: %s is a simulated server without an article; it is there to talk to: smtpshim demo -listen 127.0.0.1:2525 %[1]s\n", f.Arg(0))
		return misused
	}
	if len(chosen) == 0 {
		entry(stderr, 0, "", 0, "smtpshim demo: "+nothingCalled(f.Arg(0))+" There is")
		for _, s := range scenes() {
			entry(stderr, 2, s.article, 12, s.server.Name)
		}
		fmt.Fprintln(stderr, "\"smtpshim demo -listen ADDR\" lists more servers to talk to.")
		return misused
	}
	out := demoOutput{stdout, colourful(stdout)}
	if f.NArg() == 0 {
		entry(stdout, 0, "", 0, "Old mail servers fail against modern ones for reasons that fit in one line. Here are "+
			"five, each shown twice over real connections on this machine: first the two alone, then "+
			"with smtpshim between. C is the client, S the server; a line with a colon passed unchanged, "+
			"- was sent and not delivered, + was delivered in its place, ~ is no line. A line without any of these continues the one above.")
		fmt.Fprintln(stdout)
	}
	healed := 0
	for _, s := range chosen {
		if out.play(s) {
			healed++
		}
	}
	if healed < len(chosen) {
		out.print("%s\n", out.paint(bad, fmt.Sprintf("%d of %d were not healed.", len(chosen)-healed, len(chosen))))
		return failed
	}
	all := fmt.Sprintf("All %d were healed.", healed)
	if healed == 1 {
		all = "It was healed."
	}
	out.print("%s\n", out.paint(good, all))
	return succeeded
}

// nothingCalled returns the message that there is nothing with this name, and what was
// probably meant.
func nothingCalled(name string) string {
	var names []string
	for _, s := range scenes() {
		names = append(names, s.article, s.server.Name, s.client.Name)
	}
	for _, s := range smtptest.Servers() {
		names = append(names, s.Name)
	}
	if slices.Contains(heal.Names(), name) {
		return fmt.Sprintf("%q is a rule or a set of rules, and no simulation: see \"smtpshim rules %[1]s\".", name)
	}
	hint := oneof.DidYouMean(name, slices.Compact(slices.Sorted(slices.Values(names))))
	return fmt.Sprintf("there is no simulation %q%s", name, cmp.Or(hint, "."))
}

// isCalled reports whether name is the number of the scene's article or the name of its
// server.
func (s scene) isCalled(name string) bool {
	name = strings.ToLower(name)
	return name == strings.ToLower(s.article) || name == s.server.Name || name == s.client.Name
}

// play shows one scene, and reports whether it ended well.
func (o demoOutput) play(s scene) bool {
	o.print("%s\n", o.paint(heading, s.article+"  "+s.title))
	entry(o.w, 0, "", 0, s.about)
	o.print("\n")
	without, err := s.alone()
	if err != nil {
		o.verdict("failed", bad, err.Error())
		return false
	}
	o.verdict("without", bad, without)
	o.print("\n")
	with, lines, err := s.healed()
	if err != nil {
		o.verdict("failed", bad, err.Error())
		return false
	}
	o.dialogue(lines)
	how := good
	if with != onceDelivered {
		how = bad
	}
	o.print("\n")
	o.verdict("with", how, with)
	o.print("\n")
	return with == onceDelivered
}

// begin starts a scene's server and returns it with the client.
func (s scene) begin() (*smtptest.Running, smtptest.Client, smtptest.Server, error) {
	server, client, err := s.peers()
	if err != nil {
		return nil, client, server, err
	}
	running, err := startStandIn(server, loopback)
	return running, client, server, err
}

// alone plays a scene without the proxy.
func (s scene) alone() (outcome string, err error) {
	running, client, _, err := s.begin()
	if err != nil {
		return "", err
	}
	defer running.Close()
	results := client.DeliverUntilDone(dialer(running.Addr()), demoMessage, attempts)
	running.Wait()
	return tell(results, len(running.Messages())), nil
}

// healed plays a scene with the proxy in between.
func (s scene) healed() (outcome string, lines []transcript.Line, err error) {
	running, client, server, err := s.begin()
	if err != nil {
		return "", nil, err
	}
	defer running.Close()
	heard := newListener()
	route := &proxy.Route{Name: "demo", Listen: []string{loopback}, Servers: []string{running.Addr()}, Dialogue: heard.dialogue}
	if s.secure {
		route.ClientTLS = proxy.ClientTLS{Mode: rewrite.ClientTLSOffer, Acceptor: proxy.AcceptWith(server.TLS)}
		route.ServerTLS = proxy.ServerTLS{Mode: rewrite.ServerTLSRequire, Dialer: proxy.DialWith(client.TLS)}
	}
	p, err := startDemoProxy(route, []string{"standard"})
	if err != nil {
		return "", nil, err
	}
	defer p.Close()
	results := client.DeliverUntilDone(dialer(p.Addr(loopback).String()), demoMessage, attempts)
	for range results {
		select {
		case <-heard.ended:
		case <-time.After(sessionEnd):
			return "", nil, errors.New("the session did not end")
		}
	}
	running.Wait()
	return tell(results, len(running.Messages())), heard.lines, nil
}

// attempts is the number of times that a client of the demo tries to deliver. sessionEnd
// is the longest time until the proxy has ended a session.
const (
	attempts   = 3
	sessionEnd = 10 * time.Second
	loopback   = "127.0.0.1:0"
)

const onceDelivered = "the message is delivered, once"

// tell describes in one line what became of the message.
func tell(results []smtptest.Result, copies int) string {
	last := results[len(results)-1]
	hello := last.Dialogue.Said("C")
	switch {
	case last.Outcome == smtptest.Delivered && len(hello) > 0 && strings.HasPrefix(hello[0], "HELO"):
		return "the sender stays with HELO: no SIZE, no DSN, no AUTH"
	case last.Outcome == smtptest.Delivered && copies == 1:
		return onceDelivered
	case last.Outcome == smtptest.Bounced:
		return fmt.Sprintf("the message bounces: %q", last.NDR)
	case copies > 0:
		return fmt.Sprintf("after %d attempts the sender still keeps the message; the recipient has %d copies", len(results), copies)
	case last.Err != nil:
		return fmt.Sprintf("the message stays in the queue: %v", last.Err)
	}
	said := last.Dialogue.Said("S")
	return fmt.Sprintf("mail stops: %q, %d attempts", said[max(0, len(said)-2)], len(results))
}

func startDemoProxy(route *proxy.Route, sets []string) (*proxy.Proxy, error) {
	rules, errs := heal.Compile(sets, nil)
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	route.Rules = rules
	p := &proxy.Proxy{Logger: slog.New(slog.DiscardHandler)}
	return p, p.Apply([]*proxy.Route{route})
}

// demoSets returns the sets that heal a simulated server: auto, and the server's own set
// if auto does not look for it. It tells the user about the latter.
func demoSets(server string, w io.Writer) []string {
	why := heal.Untold()[server]
	if why == "" {
		return []string{"auto"}
	}
	entry(w, 0, "", 0, notByAuto(why)+fmt.Sprintf(" Here it is: rules = [\"auto\", %q].", server))
	return []string{"auto", server}
}

func startStandIn(s smtptest.Server, address string) (*smtptest.Running, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s.Timeout = time.Minute
	return s.Start(l), nil
}

func dialer(address string) smtptest.Dial {
	return func() (net.Conn, error) { return net.Dial("tcp", address) }
}

// secure gives a certificate to a server that accepts logins inside TLS only, and returns
// its fingerprint; "": the server is not one.
func secure(s *smtptest.Server) (fingerprint string, err error) {
	if !s.AuthSecure {
		return "", nil
	}
	certificate, _, err := smtptest.Certificate(s.Host)
	if err != nil {
		return "", err
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	return fmt.Sprintf("%x", sha256.Sum256(certificate.Certificate[0])), nil
}

// demoServer runs a simulated server, behind the proxy or bare.
func demoServer(address, name string, bare, mended bool, stdout, stderr io.Writer) int {
	server, ok := smtptest.LookupServer(name)
	if !ok {
		problem := nothingCalled(name)
		if name == "" {
			problem = "-listen needs the name of a simulated server."
		}
		entry(stderr, 0, "", 0, "smtpshim demo: "+problem+" There are")
		for _, s := range smtptest.Servers() {
			entry(stderr, 2, s.Name, 18, s.Doc)
		}
		return misused
	}
	if err := config.CheckListen(address); err != nil && !strings.HasSuffix(address, ":0") { // any free port
		fmt.Fprintf(stderr, "smtpshim demo: -listen: %v\n", err)
		return misused
	}
	if mended {
		if server, ok = server.Mended(); !ok {
			fmt.Fprintf(stderr, "smtpshim demo: %s has no faults that could be mended; leave -mended out\n", name)
			return misused
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	at := loopback
	if bare {
		at = address
	}
	server.Lasts = true
	show := &showLines{out: demoOutput{stdout, colourful(stdout)}}
	server.Received = show.message
	fingerprint, err := secure(&server)
	if err != nil {
		fmt.Fprintln(stderr, "smtpshim demo:", err)
		return failed
	}
	running, err := startStandIn(server, at)
	if err != nil {
		fmt.Fprintln(stderr, "smtpshim demo:", err)
		return failed
	}
	defer running.Close()
	fmt.Fprintf(stdout, "%s, simulated, without smtpshim: %s\n", name, running.Addr())
	if fingerprint != "" {
		fmt.Fprintf(stdout, "It takes the password \"password\" and the token \"token\" of any user, inside TLS. For a route that logs in there:\n"+
			"server_tls = {mode = \"require\", pins = [%q]}\n", fingerprint)
	}
	if !bare {
		p, err := startDemoProxy(&proxy.Route{Name: name, Listen: []string{address}, Servers: []string{running.Addr()}, Dialogue: show.dialogue}, demoSets(name, stdout))
		if err != nil {
			fmt.Fprintln(stderr, "smtpshim demo:", err)
			return failed
		}
		defer p.Close()
		fmt.Fprintf(stdout, "%s, simulated, with smtpshim:    %s\n"+
			"Talk to either with telnet or swaks; what passes through smtpshim shows here.\n", name, p.Addr(address))
	}
	fmt.Fprint(stdout, "Ctrl-C ends it.\n\n")
	select {
	case <-signals:
	case <-failedOutput(stdout):
	}
	return succeeded
}
