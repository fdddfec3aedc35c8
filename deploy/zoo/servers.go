//go:build linux

package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func (z *Zoo) servers(m *Matrix, o options) error {
	dialogues, err := readDialogues(filepath.Join(o.dir, "dialogues"))
	if err != nil {
		return err
	}
	if len(o.cases) > 0 {
		dialogues = slices.DeleteFunc(dialogues, func(d *Dialogue) bool {
			return !slices.Contains(o.cases, d.Group) && !slices.Contains(o.cases, d.Case())
		})
	}
	peers, err := z.tree.peers(filepath.Join(o.dir, "servers"))
	if err != nil {
		return err
	}
	m.dialogues = dialogues
	z.each(m, "server", pick(peers, o.peers, o.core), func(p Peer) ([]Result, error) { return z.playServer(p, dialogues) })
	return nil
}

// playServer starts a server, and plays the dialogues to it: direct, and through
// smtpshim with each set of rules.
func (z *Zoo) playServer(p Peer, dialogues []*Dialogue) ([]Result, error) {
	addr := z.free.next()
	_, port, _ := strings.Cut(addr, ":")
	run, err := z.tree.start(p, "ZOO_PORT="+port)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	defer run.Close()
	if err := listening(addr, 30*time.Second); err != nil {
		return nil, fmt.Errorf("%w; it said: %s", err, run.out)
	}
	// A first session that counts for nothing: some look things up then.
	first, err := speak(&Dialogue{steps: []step{{kind: "say", text: "QUIT\r\n", n: 1}}}, addr)
	if err == nil && (len(first) == 0 || !strings.HasPrefix(first[0], "S: 220")) {
		err = fmt.Errorf("it does not greet: %q; it said: %s", first, run.out)
	}
	if err != nil {
		return nil, err
	}
	var routes []*Route
	for range dialogues {
		for _, rules := range z.rules {
			routes = append(routes, &Route{Server: addr, Rules: rules.list})
		}
	}
	shim, err := startShim(z.smtpshim, routes, &z.free)
	if err != nil {
		return nil, err
	}
	defer shim.Close()
	var results []Result
	for i, d := range dialogues {
		direct, octets, err := z.tapped(d, addr)
		if err != nil {
			return nil, err
		}
		for j, rules := range z.rules {
			// A route of its own for each: what smtpshim has learned of a
			// server is not to decide the next dialogue.
			route := routes[i*len(z.rules)+j]
			r, err := z.compare(d, route, direct, octets)
			if err == nil && r.Verdict == Worse {
				// Once more: a busy machine must not decide.
				if direct, octets, err = z.tapped(d, addr); err == nil {
					r, err = z.compare(d, route, direct, octets)
				}
			}
			if err != nil {
				return nil, err
			}
			r.Half, r.Peer, r.Case, r.Rules = "servers", p.Name, d.Case(), rules.name
			if z.verbose && r.Verdict != Same {
				z.say("%v", r)
			}
			results = append(results, r)
		}
	}
	return results, nil
}

// tapped plays a dialogue, and returns the octets that the server got too.
func (z *Zoo) tapped(d *Dialogue, addr string) (lines []string, octets []byte, err error) {
	tap, err := startTap(addr)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		tap.Close()
		octets = tap.sent.Bytes()
	}()
	lines, err = speak(d, tap.Addr)
	return lines, nil, err
}

// compare plays a dialogue through smtpshim.
func (z *Zoo) compare(d *Dialogue, route *Route, direct []string, octets []byte) (Result, error) {
	through, got, err := z.tapped(d, route.Addr)
	if err != nil {
		return Result{}, err
	}
	r := judgeReplies(direct, through)
	if d.Exact && r.Verdict == Same && !bytes.Equal(octets, got) {
		r.Verdict, r.Why = Worse, fmt.Sprintf("the server gets other octets: %d direct, %d through", len(octets), len(got))
	}
	return r, nil
}

// judgeReplies goes by the first reply that has another code.
func judgeReplies(direct, through []string) Result {
	d, t := replies(direct), replies(through)
	for i := range max(len(d), len(t)) {
		before, after := at(d, i), at(t, i)
		if code(before) == code(after) {
			continue
		}
		r := Result{Verdict: Differs, Why: fmt.Sprintf("%s -> %s", code(before), code(after)), Direct: before, Through: after}
		switch was, is := rank(before), rank(after); {
		case is > was:
			r.Verdict = Better
		case is < was:
			r.Verdict = Worse
		}
		return r
	}
	return Result{Verdict: Same}
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
