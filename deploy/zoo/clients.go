//go:build linux

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// patience is how long a client may take before it counts as hung.
const patience = 12 * time.Second

// A Delivery is the result of one run of a client.
type Delivery struct {
	Status   int      // exit status; -1: the client hung, or a signal ended it
	Messages []string // what the server accepted
	Lines    []string // what the client sent and received
	Took     time.Duration
	Output   string
}

// rank orders outcomes: 3 is delivered once and known to be; 2 is not delivered and
// known not to be; 1 is delivered, and reported as failed, or hung; 0 is lost
// without a word, or delivered twice.
func (d Delivery) rank() int {
	switch n := len(d.Messages); {
	case d.Status == -1:
		return 1
	case n == 1 && d.Status == 0:
		return 3
	case n == 0 && d.Status != 0:
		return 2
	case n == 1:
		return 1
	}
	return 0
}

func (d Delivery) String() string {
	status := map[int]string{0: "+", -1: "T"}[d.Status]
	if status == "" {
		status = "-"
	}
	return fmt.Sprintf("%d%s", len(d.Messages), status)
}

// playClient runs a client against each behaviour: direct, and through smtpshim
// with each set of rules.
func (z *Zoo) playClient(p Peer, behaviours []*Behaviour) ([]Result, error) {
	var routes []*Route
	var servers []*ScriptedServer
	for _, b := range behaviours {
		s, err := startScripted(b)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		servers = append(servers, s)
		for _, rules := range z.rules {
			routes = append(routes, &Route{Server: s.Addr, Rules: rules.list})
		}
	}
	shim, err := startShim(z.smtpshim, routes, &z.free)
	if err != nil {
		return nil, err
	}
	defer shim.Close()
	// A first run that counts for nothing: some are compiled then.
	if first, err := z.tree.start(p, "ZOO_PORT=1"); err == nil {
		first.Wait(5 * patience)
		first.Close()
	}
	var results []Result
	for i, b := range behaviours {
		direct, err := z.deliver(p, b, servers[i], servers[i].Addr)
		if err != nil {
			return nil, err
		}
		if b.Name == "base" && direct.Status != 0 {
			return nil, fmt.Errorf("it fails direct, with status %d: %s", direct.Status, direct.Output)
		}
		for j, rules := range z.rules {
			of := Result{Half: "clients", Peer: p.Name, Case: b.Name, Rules: rules.name}
			r, through, err := compare(z, of, direct,
				func() (Delivery, error) { return z.deliver(p, b, servers[i], servers[i].Addr) },
				func() (Delivery, error) {
					return z.deliver(p, b, servers[i], routes[i*len(z.rules)+j].Addr)
				})
			if err != nil {
				return nil, err
			}
			results = append(results, r)
			z.trace(r, direct, through)
		}
	}
	return results, nil
}

// deliver runs a client once.
func (z *Zoo) deliver(p Peer, b *Behaviour, s *ScriptedServer, addr string) (Delivery, error) {
	tap, err := startTap(addr)
	if err != nil {
		return Delivery{}, err
	}
	_, port, _ := strings.Cut(tap.Addr, ":")
	vars := []string{"ZOO_PORT=" + port}
	if b.Login {
		vars = append(vars, "ZOO_USER=anna", "ZOO_PASSWORD=secret")
	}
	begun := time.Now()
	run, err := z.tree.start(p, vars...)
	if err != nil {
		tap.Close()
		return Delivery{}, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	d := Delivery{Status: run.Wait(patience)}
	d.Took = time.Since(begun)
	run.Close()
	d.Output = run.out.String()
	d.Lines = tap.Close()
	s.HangUp()
	d.Messages = s.Take()
	return d, nil
}

// judge compares a delivery through smtpshim with a direct one.
func (direct Delivery) judge(through Delivery) Result {
	r := Result{Verdict: Same, Why: fmt.Sprintf("%v -> %v", direct, through)}
	r.Direct, r.Through = firstDifference(normal(direct.Lines), normal(through.Lines))
	switch before, after := direct.rank(), through.rank(); {
	case after > before:
		r.Verdict = Better
	case after < before:
		r.Verdict = Worse
	case len(through.Messages) > len(direct.Messages):
		r.Verdict = Worse
	case !slices.Equal(texts(direct.Messages), texts(through.Messages)):
		r.Verdict, r.Why = Worse, "the text differs"
		if !intact(direct.Messages) && intact(through.Messages) {
			r.Verdict, r.Why = Better, "the text is intact"
		}
		r.Direct, r.Through = firstDifference(strings.Split(strings.Join(texts(direct.Messages), ""), "\n"), strings.Split(strings.Join(texts(through.Messages), ""), "\n"))
	case through.Took > direct.Took+5*time.Second:
		r.Verdict, r.Why = Worse, fmt.Sprintf("%.0f s slower", (through.Took-direct.Took).Seconds())
	case direct.String() != through.String():
		r.Verdict = Differs
	}
	return r
}

// changing is what differs from run to run: ports, process numbers, times and the
// names that clients make of them.
var changing = regexp.MustCompile(`(?i)127\.0\.0\.1:\d+|\b[0-9a-f.]{8,}\b|\d{2}:\d{2}:\d{2}|\d{4,}|[A-Za-z0-9_=+/.$-]{20,}`)

func normal(lines []string) []string {
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		out = append(out, changing.ReplaceAllString(line, "#"))
	}
	return out
}

// intact reports whether messages have the lines with dots as they were meant.
func intact(messages []string) bool {
	return len(messages) > 0 && !slices.ContainsFunc(messages, func(m string) bool { return !strings.Contains(m, "\n.two\n..three\n") })
}

// made matches header lines that differ from run to run.
var made = regexp.MustCompile(`(?i)^([ 	]|date:|message-id:|received:|x-mailer:|user-agent:|content-type:|mime-version:)`)

// texts returns messages as they are compared: without what a client makes anew for
// each, and whatever the order of its header lines.
func texts(messages []string) []string {
	var out []string
	for _, m := range messages {
		head, body, _ := strings.Cut(m, "\n\n")
		var kept []string
		for line := range strings.Lines(head + "\n") {
			if !made.MatchString(line) {
				kept = append(kept, changing.ReplaceAllString(line, "#"))
			}
		}
		slices.Sort(kept)
		for line := range strings.Lines(body) {
			if !strings.HasPrefix(line, "--") {
				kept = append(kept, changing.ReplaceAllString(line, "#"))
			}
		}
		out = append(out, strings.Join(kept, ""))
	}
	slices.Sort(out)
	return out
}
