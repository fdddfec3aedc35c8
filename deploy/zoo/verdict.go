//go:build linux

package main

import (
	"fmt"
	"os"
	"path"
	"strings"
	"time"
)

// A Verdict compares what happens through smtpshim with what happens without it.
type Verdict byte

const (
	Same     Verdict = '='
	Better   Verdict = '+'
	Worse    Verdict = '-'
	Differs  Verdict = '~' // a different outcome, which is not worse for anybody
	Unsteady Verdict = '?' // worse, but of two runs without smtpshim one is worse than the other too
)

// A Result is the result of comparing one case through smtpshim with the same case
// without it.
type Result struct {
	Half    string // what the peer is: "clients" or "servers"
	Peer    string
	Case    string // name of a behaviour, or group/name of a dialogue
	Rules   string // the rules of the route: "[]" (none) or "standard"
	Verdict Verdict
	Why     string // the change, in a few words
	Direct  string // the first line that differs, as it is without smtpshim
	Through string // the same line, as it is through smtpshim
	Reason  string // why a worse result is allowed, from reasons.txt; "": it is not

	took time.Duration // of all plays
}

func (r Result) String() string {
	s := fmt.Sprintf("%c %s %s %s rules=%s: %s", r.Verdict, r.Half, r.Peer, r.Case, r.Rules, r.Why)
	if r.Direct != "" || r.Through != "" {
		s += fmt.Sprintf("\n    direct  %s\n    through %s", cut(r.Direct), cut(r.Through))
	}
	if r.Reason != "" {
		s += "\n    allowed: " + r.Reason
	}
	return s
}

func cut(s string) string {
	if len(s) > 160 {
		return s[:150] + fmt.Sprintf("... (%d octets)", len(s))
	}
	return s
}

// A played is what one play of a case came to: a Delivery, or what was said in a
// Dialogue.
type played[P any] interface {
	judge(through P) Result
}

// tries is how often a case is played before it counts as worse.
const tries = 3

// compare judges a case of which direct is the first play, and names it as of does.
// What comes out worse, and has no reason to, is played again, both ways: a busy
// machine must not decide. It is Worse if it is so each time, and Unsteady if one
// direct play is worse than another.
func compare[P played[P]](z *Zoo, of Result, direct P, playDirect, playThrough func() (P, error)) (r Result, last P, err error) {
	begun := time.Now()
	first := direct
	for n := 1; ; n++ {
		if last, err = playThrough(); err != nil {
			return Result{}, last, err
		}
		r = direct.judge(last)
		r.Half, r.Peer, r.Case, r.Rules = of.Half, of.Peer, of.Case, of.Rules
		r.took = time.Since(begun)
		if r.Verdict != Worse {
			return r, last, nil
		}
		if r.Reason = excuse(z.reasons, r); r.Reason != "" {
			return r, last, nil
		}
		if first.judge(direct).Verdict == Worse || direct.judge(first).Verdict == Worse {
			r.Verdict = Unsteady
		}
		if r.Verdict == Unsteady || n == tries {
			return r, last, nil
		}
		if direct, err = playDirect(); err != nil {
			return Result{}, last, err
		}
	}
}

// A Reason is a line of reasons.txt: it says which results may be worse, and why.
type Reason struct {
	half, peer, of, rules string // patterns of path.Match
	why                   string
}

// readReasons reads lines HALF PEER CASE RULES WHY; "#" begins a comment.
func readReasons(name string) ([]*Reason, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var reasons []*Reason
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) < 5 {
			return nil, fmt.Errorf("%s:%d: %q; a line is HALF PEER CASE RULES WHY", name, number, strings.TrimSpace(line))
		}
		r := &Reason{half: fields[0], peer: fields[1], of: fields[2], rules: fields[3], why: strings.Join(fields[4:], " ")}
		if strings.Trim(r.of, "*/") == "" {
			return nil, fmt.Errorf("%s:%d: %q; a reason for every case would hide what is new: name a case or a group of dialogues", name, number, strings.TrimSpace(line))
		}
		for _, pattern := range fields[:4] {
			if _, err := path.Match(pattern, ""); err != nil {
				return nil, fmt.Errorf("%s:%d: %q: %w", name, number, pattern, err)
			}
		}
		reasons = append(reasons, r)
	}
	return reasons, nil
}

// excuse finds the reason for a result that is worse.
func excuse(reasons []*Reason, r Result) string {
	for _, reason := range reasons {
		rules := r.Rules
		if rules == "[]" {
			rules = "none"
		}
		all := true
		for _, pair := range [][2]string{{reason.half, r.Half}, {reason.peer, r.Peer}, {reason.of, r.Case}, {reason.rules, rules}} {
			ok, _ := path.Match(pair[0], pair[1])
			all = all && ok
		}
		if all {
			return reason.why
		}
	}
	return ""
}

// firstDifference returns the first lines that are not the same; "" is no line.
func firstDifference(direct, through []string) (d, t string) {
	for i := range max(len(direct), len(through)) {
		d, t = "", ""
		if i < len(direct) {
			d = direct[i]
		}
		if i < len(through) {
			t = through[i]
		}
		if d != t {
			return d, t
		}
	}
	return "", ""
}
