package rewrite

import (
	"bytes"
	"fmt"
	"iter"
)

// A Repair is what the server has sent that is no well-formed reply, or no
// whole one, as the rules see it.
type Repair struct {
	Session
	octets []byte
	quiet  int64
	wait   int64
	n      int
	made   []byte
	done   bool
}

// Bounds of a repair: how much may be looked at, and how long waited for.
const (
	maxRepair      = 64 << 10
	maxRepairQuiet = 5000
)

// Octets are what the server has sent and nobody has read.
func (r *Repair) Octets() []byte { return r.octets }

// Awaited is the verb whose reply is waited for: VerbGreeting for a greeting,
// VerbMessage for the answer to a message, VerbOther if none is.
func (r *Repair) Awaited() Verb { return r.d.Awaited() }

// Quiet is for how many milliseconds nothing more has come.
func (r *Repair) Quiet() int64 { return r.quiet }

// Wait asks to be called again once nothing more has come for so many
// milliseconds in all, five seconds at most, or more has.
func (r *Repair) Wait(milliseconds int64) { r.wait = min(milliseconds, maxRepairQuiet) }

// Replace has the first n octets be these: one well-formed reply, with its line
// ends; or none, if the first n octets are no reply and have no code.
func (r *Repair) Replace(n int, reply []byte) { r.n, r.made, r.done = n, reply, true }

// Repair asks the rules about octets of the server's in which ScanReply finds no
// reply (err), no whole one, or one reply and more behind it. quiet is for how
// many milliseconds nothing more has come. Of the result, the first n octets are
// to be replaced by made if ok; else wait says after how much quiet to ask again,
// 0: not.
func (d *Dialogue) Repair(octets []byte, quiet int64) (n int, made []byte, ok bool, wait int64) {
	if d.policy.Rules == nil || !d.policy.Rules.repairs || len(octets) > maxRepair {
		return 0, nil, false, 0
	}
	for i := range d.policy.Rules.rules {
		rule := &d.policy.Rules.rules[i]
		if rule.Repair == nil || !d.acts(i) {
			continue
		}
		r := &Repair{Session: Session{d, i}, octets: octets, quiet: quiet}
		why := contained(rule.Repair, r)
		if why == "" && r.done {
			why = r.fault()
		}
		switch {
		case why != "":
			d.broke(i, why)
		case r.done:
			d.listener.Applied(rule.name)
			d.event(fmt.Sprintf("reply mended by %s", rule.name))
			return r.n, r.made, true, 0
		case r.wait > quiet && (wait == 0 || r.wait < wait):
			wait = r.wait
		}
	}
	return 0, nil, false, wait
}

// fault says why a repair cannot be. What comes of it has the class of the worst
// code in the octets, or a worse one: a repair never makes a yes (promise 3).
func (r *Repair) fault() string {
	if r.n <= 0 || r.n > len(r.octets) {
		return fmt.Sprintf("it replaced %d octets of %d", r.n, len(r.octets))
	}
	worst := worstCode(r.octets[:r.n])
	if len(r.made) == 0 {
		return r.dropFault(worst)
	}
	if r.d.sent.n > 1 && lastLines(r.octets[:r.n]) > 1 {
		return "it made one reply of several, where several are awaited"
	}
	scan, err := ScanReply(r.made)
	if err != nil || scan.N != len(r.made) {
		return "it made something that is not one whole reply"
	}
	if _, err := replyCode(r.made); err != nil {
		return err.Error()
	}
	switch code := string(r.made[:3]); {
	case worst == "" && code[0] < '4', worst != "" && code[0] < worst[0]:
		return fmt.Sprintf("it made %s of %q", code, worst)
	case worst != "" && (code[0] == '3' || worst[0] == '3') && code != worst: // or the two sides would not agree on whose turn it is
		return fmt.Sprintf("it made %s of %q", code, worst)
	case worst != "" && worst[0] == '2' && code[0] != '2' && actedOn.Has(r.Awaited()): // see Turn.replyFault
		return fmt.Sprintf("it made %s of a yes to %v", code, r.Awaited())
	case (code == "220") != (worst == "220") && r.d.startsTLS():
		return fmt.Sprintf("it made %s of %q, and client and server do not agree whether TLS begins", code, worst)
	}
	return ""
}

// dropFault says why octets whose worst code is this cannot be dropped.
func (r *Repair) dropFault(worst string) string {
	switch dropped := r.octets[:r.n]; {
	case worst != "" && (worst[0] != '2' || r.d.next == AwaitServer || r.d.sent.n > 0): // a yes that nobody has asked for says nothing new
		return fmt.Sprintf("it dropped a reply with the code %s", worst)
	case r.n < len(r.octets) && bytes.ContainsAny(dropped[bytes.LastIndexByte(dropped, '\n')+1:], "0123456789"):
		return fmt.Sprintf("it dropped %q, which may be a part of a code", dropped)
	}
	return ""
}

// worstCode is the code with the largest first digit of those that begin lines,
// however the lines end and whatever is no text before it; "" if none begins
// with one.
func worstCode(octets []byte) (worst string) {
	for line := range codeLines(octets) {
		if worst == "" || line[0] > worst[0] {
			worst = string(line[:3])
		}
	}
	return worst
}

// lastLines counts the lines with a code that say of no further one.
func lastLines(octets []byte) (n int) {
	for line := range codeLines(octets) {
		if len(line) == 3 || line[3] != '-' {
			n++
		}
	}
	return n
}

// codeLines yields the lines that begin with a code, from there on.
func codeLines(octets []byte) iter.Seq[[]byte] {
	isEnd := func(c rune) bool { return c == '\r' || c == '\n' }
	isText := func(c rune) bool { return ' ' < c && c <= '~' }
	return func(yield func([]byte) bool) {
		for line := range bytes.FieldsFuncSeq(octets, isEnd) {
			line = line[max(bytes.IndexFunc(line, isText), 0):]
			if len(line) >= 3 && '2' <= line[0] && line[0] <= '5' && isDigit(line[1]) && isDigit(line[2]) && !yield(line) {
				return
			}
		}
	}
}
