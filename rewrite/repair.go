package rewrite

import (
	"bytes"
	"cmp"
	"fmt"
)

// A Repair is what the server has sent that is no well-formed reply, or no
// whole one, or more than one, as the rules before have left it.
type Repair struct {
	Session
	octets  []byte
	quiet   int64
	wait    int64
	unasked bool
	closed  bool

	n    int
	made []byte
	done bool
	part bool // of what the rules behind this one complete
}

// Bounds of a repair: how much may be looked at, and how long waited for.
const (
	maxRepair      = 64 << 10
	maxRepairQuiet = 5000
	untilMore      = 1 << 40 // ms: longer than any timeout
)

// Octets are what the server has sent and nobody has read. They must not be
// changed, and are good until the function returns.
func (r *Repair) Octets() []byte { return r.octets }

// Awaited is the verb whose reply is waited for: VerbGreeting for a greeting,
// VerbMessage for the answer to a message, VerbOther if none is or the verb is not known.
func (r *Repair) Awaited() Verb {
	if r.unasked {
		return VerbOther
	}
	return r.d.Awaited()
}

// Unasked reports whether nothing is waited for, not even the reply to a command whose
// verb is not known.
func (r *Repair) Unasked() bool {
	return r.unasked || r.d.next != AwaitServer && r.d.sent.n == 0
}

// InMessage reports whether a message, or a chunk of one, is on its way to the
// server, which has nothing to say before its end.
func (r *Repair) InMessage() bool { return r.d.next.OfMessage() }

// Last is the code of the server's last reply on this connection; 0 if there was none.
func (r *Repair) Last() int { return int(r.d.server.last) }

// Closed reports whether the octets are the last that the server says: it has
// hung up behind them, or says that it does so.
func (r *Repair) Closed() bool { return r.closed }

// Limit is how many octets a line of a reply may have, with its end.
func (r *Repair) Limit() int { return cmp.Or(r.d.policy.Limits.ReplyLine, 4096) }

// Quiet is for how many milliseconds nothing more has come.
func (r *Repair) Quiet() int64 { return r.quiet }

// Wait asks to be called again once nothing more has come for so many
// milliseconds in all, five seconds at most, or more has.
func (r *Repair) Wait(milliseconds int64) { r.wait = min(milliseconds, maxRepairQuiet) }

// Await says that the octets begin a reply, and asks to be called again when
// more has come. The rest is waited for as any reply is.
func (r *Repair) Await() { r.wait = untilMore }

// Replace has the first n octets be these: one well-formed reply, with its line
// ends; or none, if the first n octets are no reply and have no code. The rules
// behind this one are not asked.
func (r *Repair) Replace(n int, reply []byte) { r.n, r.made, r.done, r.part = n, reply, true, false }

// Edit has the first n octets, which are whole lines, be these lines for the
// rules behind this one. If all rules together make one well-formed reply of the
// lines, or drop them, it takes effect. If they make the beginning of one, its
// rest is waited for.
func (r *Repair) Edit(n int, lines []byte) { r.n, r.made, r.done, r.part = n, lines, true, true }

// Repair asks the rules about octets of the server's in which ScanReply finds no
// reply (err), no whole one, or one reply and more behind it. quiet is for how
// many milliseconds nothing more has come. Of the result, the first n octets are
// to be replaced by made if ok; else wait says after how much quiet to ask again,
// 0: not.
func (d *Dialogue) Repair(octets []byte, quiet int64) (n int, made []byte, ok bool, wait int64) {
	return d.repair(Repair{octets: octets, quiet: quiet})
}

// RepairUnasked is Repair for octets that came before the server was asked for
// them, although a command may be ready to be sent.
func (d *Dialogue) RepairUnasked(octets []byte) (n int, made []byte, ok bool) {
	n, made, ok, _ = d.repair(Repair{octets: octets, unasked: true})
	return n, made, ok
}

// RepairCutOff is Repair for octets behind which the server has hung up.
func (d *Dialogue) RepairCutOff(octets []byte) (n int, made []byte, ok bool) {
	n, made, ok, _ = d.repair(Repair{octets: octets, closed: true})
	return n, made, ok
}

func (d *Dialogue) repair(of Repair) (n int, made []byte, ok bool, wait int64) {
	octets := of.octets
	observed := d.observed.repair(of)
	if d.policy.Rules == nil || !d.policy.Rules.repairs || len(octets) > maxRepair {
		return 0, nil, false, observed
	}
	var by ruleSet
	r := new(Repair) // one for all rules: most replies are right
	for i := range d.policy.Rules.rules {
		rule := &d.policy.Rules.rules[i]
		if rule.Repair == nil || !d.acts(i) {
			continue
		}
		*r = of
		r.Session = Session{d, i}
		why := contained(rule.Repair, r)
		if why == "" && r.done {
			why = r.fault()
		}
		switch {
		case why != "":
			d.broke(i, why)
		case r.done:
			by.add(i)
			n, made = joinRepairs(n, made, r.n, r.made)
			if !r.part {
				return d.repaired(by, n, made)
			}
			of.octets = append(made[:len(made):len(made)], octets[n:]...)
		case r.wait > of.quiet && (wait == 0 || r.wait < wait):
			wait = r.wait
		}
	}
	if by.empty() {
		return 0, nil, false, wait
	}
	scan, err := ScanReply(of.octets)
	switch {
	case len(made) == 0, err == nil && scan.N == len(made) && !scan.Mixed:
		return d.repaired(by, n, made)
	case err == nil && scan.N == 0 && wait == 0:
		wait = untilMore
	}
	return 0, nil, false, wait
}

// joinRepairs adds a repair of the first m octets of what an earlier one has
// left, which has replaced n octets by made.
func joinRepairs(n int, made []byte, m int, then []byte) (int, []byte) {
	if m < len(made) {
		return n, append(then[:len(then):len(then)], made[m:]...)
	}
	return n + m - len(made), then
}

// repaired counts a repair for its rules.
func (d *Dialogue) repaired(by ruleSet, n int, made []byte) (int, []byte, bool, int64) {
	d.departed(by)
	d.event(fmt.Sprintf("reply mended by %s", d.policy.Rules.nameSet(by)))
	return n, made, true, 0
}

// fault says why a repair cannot be. What comes of it has the class of the worst
// code in the octets, or a worse one: a repair never makes a yes (promise 3).
func (r *Repair) fault() string {
	if r.n <= 0 || r.n > len(r.octets) {
		return fmt.Sprintf("it replaced %d octets of %d", r.n, len(r.octets))
	}
	worst, replies := codesIn(r.octets[:r.n])
	if len(r.made) == 0 {
		return r.dropFault(worst)
	}
	code, makes := codesIn(r.made)
	why := ""
	if r.part {
		why = r.partFault(makes > replies)
	} else {
		why = r.wholeFault()
	}
	switch {
	case why != "":
		return why
	case makes < replies && !r.isAlone():
		return fmt.Sprintf("it made one reply of %d", replies) // the others are for other commands
	case code == worst:
		return ""
	case r.closed && code == "421":
		return ""
	case code == "", worst == "" && code[0] < '4', worst != "" && code[0] < worst[0]:
		return fmt.Sprintf("it made %q of %q", code, worst)
	case worst != "" && (code[0] == '3' || worst[0] == '3') && code != worst: // or the two sides would not agree on whose turn it is
		return fmt.Sprintf("it made %q of %q", code, worst)
	case worst != "" && worst[0] == '2' && worst != "221" && code[0] != '2' && actedOn.Has(r.Awaited()): // see Turn.replyFault; 221 is no yes
		return fmt.Sprintf("it made %q of a yes to %v", code, r.Awaited())
	case (code == "220") != (worst == "220") && r.d.startsTLS():
		return fmt.Sprintf("it made %q of %q, and client and server do not agree whether TLS begins", code, worst)
	}
	return ""
}

// isAlone reports whether all that the server says answers one question: nothing
// was asked before the greeting, and nothing is asked with EHLO.
func (r *Repair) isAlone() bool {
	return r.Awaited() == VerbGreeting || r.Awaited() == VerbEHLO && r.d.sent.n == 1
}

// wholeFault says why what a rule made is not one whole reply.
func (r *Repair) wholeFault() string {
	scan, err := ScanReply(r.made)
	if err != nil || scan.N != len(r.made) {
		return "it made something that is not one whole reply"
	}
	if _, err := replyCode(r.made); err != nil {
		return err.Error()
	}
	return ""
}

// partFault says why lines cannot be part of a reply.
func (r *Repair) partFault(more bool) string {
	switch {
	case r.octets[r.n-1] != '\n' || r.made[len(r.made)-1] != '\n':
		return "it edited what is no whole line"
	case more:
		return "it made two replies of one"
	}
	return ""
}

// dropFault says why octets whose worst code is this cannot be dropped. A yes
// that nobody has asked for says nothing new, unless the server has a message
// to answer.
func (r *Repair) dropFault(worst string) string {
	switch dropped := r.octets[:r.n]; {
	case worst != "" && (worst[0] != '2' || !r.Unasked() || r.InMessage()):
		return fmt.Sprintf("it dropped a reply with the code %s", worst)
	case r.n < len(r.octets) && bytes.ContainsAny(dropped[bytes.LastIndexByte(dropped, '\n')+1:], "0123456789"):
		return fmt.Sprintf("it dropped %q, which may be a part of a code", dropped)
	}
	return ""
}

// codesIn looks at the lines that begin with a code, however they end and
// whatever is no text before the code. worst is the code with the largest first
// digit, "" if no line begins with one; replies counts the lines that end a reply.
func codesIn(octets []byte) (worst string, replies int) {
	isEnd := func(c rune) bool { return c == '\r' || c == '\n' }
	isText := func(c rune) bool { return ' ' < c && c <= '~' }
	for line := range bytes.FieldsFuncSeq(octets, isEnd) {
		start := bytes.IndexFunc(line, isText)
		if start < 0 || len(line) < start+3 {
			continue
		}
		code := line[start : start+3]
		if code[0] < '2' || '5' < code[0] || !isDigit(code[1]) || !isDigit(code[2]) {
			continue
		}
		if worst == "" || code[0] > worst[0] {
			worst = string(code)
		}
		if len(line) == start+3 || line[start+3] != '-' {
			replies++
		}
	}
	return worst, replies
}
