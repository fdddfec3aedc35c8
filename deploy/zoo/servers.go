//go:build linux

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func (z *Zoo) servers(m *Matrix, o options) ([]job, error) {
	dialogues, err := readDialogues(filepath.Join(o.dir, "dialogues"))
	if err != nil {
		return nil, err
	}
	if len(o.cases) > 0 {
		dialogues = slices.DeleteFunc(dialogues, func(d *Dialogue) bool {
			return !slices.Contains(o.cases, d.Group) && !slices.Contains(o.cases, d.Case())
		})
	}
	peers, err := z.tree.peers(filepath.Join(o.dir, "servers"))
	if err != nil {
		return nil, err
	}
	m.dialogues = dialogues
	var jobs []job
	for _, p := range pick(peers, o.peers, o.core) {
		jobs = append(jobs, job{"server", p, func() ([]Result, error) { return z.playServer(p, dialogues) }})
	}
	return jobs, nil
}

// playServer starts a server, and plays the dialogues to it: direct, and through
// smtpshim with each set of rules.
func (z *Zoo) playServer(p Peer, dialogues []*Dialogue) ([]Result, error) {
	server, err := z.startServer(p)
	if err != nil {
		return nil, err
	}
	defer func() { server.run.Close() }()
	tap, err := startTap(server.addr)
	if err != nil {
		return nil, err
	}
	defer tap.Close()
	var routes []*Route
	for range dialogues {
		for _, rules := range z.rules {
			routes = append(routes, &Route{Server: tap.Addr, Rules: rules.list})
		}
	}
	shim, err := startShim(z.smtpshim, routes, &z.free)
	if err != nil {
		return nil, err
	}
	defer shim.Close()
	var results []Result
	for i, d := range dialogues {
		play := func(addr string) (Spoken, error) {
			if err := server.revive(); err != nil {
				return Spoken{}, err
			}
			return play(d, tap, addr)
		}
		playDirect := func() (Spoken, error) { return play(tap.Addr) }
		direct, err := playDirect()
		if err != nil {
			return nil, err
		}
		for j, rules := range z.rules {
			// A route of its own for each: what smtpshim has learned of a
			// server is not to decide the next dialogue.
			route := routes[i*len(z.rules)+j]
			of := Result{Half: "servers", Peer: p.Name, Case: d.Case(), Rules: rules.name}
			r, through, err := compare(z, of, direct, playDirect, func() (Spoken, error) { return play(route.Addr) })
			if err != nil {
				return nil, err
			}
			z.traceDialogue(r, direct, through)
			results = append(results, r)
		}
	}
	return results, nil
}

// A running server.
type running struct {
	zoo  *Zoo
	peer Peer
	addr string
	run  *Run
}

// startServer starts a server, and waits until it greets.
func (z *Zoo) startServer(p Peer) (*running, error) {
	s := &running{zoo: z, peer: p, addr: z.free.next()}
	if err := s.start(); err != nil {
		return nil, err
	}
	// A first session that counts for nothing: some look things up then.
	first, err := speak(&Dialogue{steps: []step{{kind: "say", text: "QUIT\r\n", n: 1}}}, s.addr)
	if err == nil && (len(first) == 0 || !strings.HasPrefix(first[0], "S: 220")) {
		err = fmt.Errorf("it does not greet: %q; it said: %s", first, s.run.out)
	}
	if err != nil {
		s.run.Close()
		return nil, err
	}
	return s, nil
}

// start starts the server at its address.
func (s *running) start() (err error) {
	_, port, _ := strings.Cut(s.addr, ":")
	if s.run, err = s.zoo.tree.start(s.peer, "ZOO_PORT="+port); err != nil {
		return fmt.Errorf("starting %s: %w", s.peer.Name, err)
	}
	if err := listening(s.addr, 30*time.Second); err != nil {
		s.run.Close()
		return fmt.Errorf("%w; it said: %s", err, s.run.out)
	}
	return nil
}

// revive starts the server again if the last dialogue was too much for it, and it has
// ended: the others are not to suffer from that.
func (s *running) revive() error {
	if listens, err := isListening(s.addr); err != nil || listens {
		return err
	}
	s.zoo.say("server %s has ended, and is started again; it said: %s", s.peer.Name, s.run.out)
	s.run.Close()
	return s.start()
}

// Spoken is the result of playing a dialogue once.
type Spoken struct {
	// Lines are what the scripted client had to send, "C: " before it, unless that was
	// 2,000 octets or more, and what it got, "S: " before it. "S: (silent)" stands for a
	// reply that did not come, "S: (closed)" for the end of the connection.
	Lines  []string
	Octets []byte // what the server received; nil if Dialogue.Exact is not set
}

// play plays a dialogue to an address. The tap is before the server.
func play(d *Dialogue, tap *Tap, addr string) (Spoken, error) {
	tap.Reset()
	lines, err := speak(d, addr)
	if err != nil || !d.Exact {
		return Spoken{Lines: lines}, err
	}
	return Spoken{Lines: lines, Octets: tap.Sent(2 * time.Second)}, nil
}

// judge compares what was spoken through smtpshim with what was spoken directly.
func (direct Spoken) judge(through Spoken) Result {
	r := judgeReplies(direct.Lines, through.Lines)
	if r.Verdict != Same {
		return r
	}
	if !slices.ContainsFunc(direct.Lines, func(l string) bool { return strings.HasPrefix(l, "S: 354") || strings.HasPrefix(l, "C: BDAT") }) {
		return r // the server never let a message begin
	}
	before, after := messageOctets(direct.Octets), messageOctets(through.Octets)
	if !bytes.Equal(before, after) {
		r.Verdict, r.Why = Worse, "the server gets other octets"
		r.Direct, r.Through = firstDifference(octetLines(before), octetLines(after))
	}
	return r
}

// messageOctets returns what follows the first DATA or BDAT, with that: before it,
// rules may say commands in other words. QUIT at the end is left out: smtpshim says it
// for a client that leaves without it.
func messageOctets(octets []byte) []byte {
	rest := bytes.TrimSuffix(octets, []byte("QUIT\r\n"))
	for line := range bytes.Lines(rest) {
		if bytes.HasPrefix(line, []byte("DATA")) || bytes.HasPrefix(line, []byte("BDAT")) {
			break
		}
		rest = rest[len(line):]
	}
	return rest
}

// octetLines returns octets as lines, quoted.
func octetLines(octets []byte) []string {
	var lines []string
	for line := range bytes.Lines(octets) {
		lines = append(lines, fmt.Sprintf("%q", line))
	}
	return lines
}

// judgeReplies goes by the first reply that is better or worse, or else by the first
// that has another code: what is said behind a reply of the same kind is the same. How
// many replies are read from a server that hangs up in the middle of it all is chance.
func judgeReplies(direct, through []string) Result {
	d, t := replies(direct), replies(through)
	var result Result
	for i := range max(len(d), len(t)) {
		before, after := at(d, i), at(t, i)
		if code(before) == code(after) {
			continue
		}
		if i >= len(d) || i >= len(t) {
			return cmp.Or(result, Result{Verdict: Differs, Why: fmt.Sprintf("%d replies -> %d", len(d), len(t)), Direct: before, Through: after})
		}
		r := Result{Verdict: Differs, Why: fmt.Sprintf("%s -> %s", code(before), code(after)), Direct: before, Through: after}
		switch was, is := rank(before), rank(after); {
		case is > was:
			r.Verdict = Better
		case is < was, before[0] == '4' && after[0] == '5' && code(before) != "421": // what was tried again would be given up
			r.Verdict = Worse
		}
		if r.Verdict != Differs {
			return r
		}
		result = cmp.Or(result, r)
	}
	return cmp.Or(result, Result{Verdict: Same})
}

// replies returns the last line of each reply.
func replies(lines []string) []string {
	var out []string
	for _, l := range lines {
		if reply, ok := strings.CutPrefix(l, "S: "); ok && (len(reply) < 4 || reply[3] != '-') {
			out = append(out, reply)
		}
	}
	return out
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

func code(reply string) string {
	if strings.HasPrefix(reply, "(") || len(reply) < 3 {
		return reply
	}
	return reply[:3]
}

// rank orders replies: yes, no, 421, none.
func rank(reply string) int {
	switch {
	case strings.HasPrefix(reply, "2"), strings.HasPrefix(reply, "3"):
		return 3
	case strings.HasPrefix(reply, "421"):
		return 1
	case strings.HasPrefix(reply, "4"), strings.HasPrefix(reply, "5"):
		return 2
	}
	return 0
}
