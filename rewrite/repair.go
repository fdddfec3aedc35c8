package rewrite

import (
	"bytes"
	"cmp"
	"fmt"
)

// A Repair is a rule's view of octets that the server has sent and that may need
// mending. They are not exactly the whole, well-formed replies that are due, or they
// begin with a reply that may not be what it seems, such as a 221 to MAIL: see
// [Dialogue.Repair].
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
	part bool // made is lines that the rules after this one complete
}

// maxRepair and maxRepairQuiet bound how many octets a repair may look at and how long it
// may wait.
const (
	maxRepair      = 64 << 10
	maxRepairQuiet = 5000
	untilMore      = 1 << 40 // ms: longer than any timeout
)

// Octets returns the octets, as the rules before this one have left them. They must not
// be changed, and are valid until the rule's function returns.
func (r *Repair) Octets() []byte { return r.octets }

// Awaited returns the verb to which a reply is awaited: VerbGreeting for a greeting,
// VerbMessage for the end of a message, VerbOther for a command of unknown verb. It is
// VerbOther too if no reply is awaited: see Unasked.
func (r *Repair) Awaited() Verb {
	if r.unasked {
		return VerbOther
	}
	return r.d.Awaited()
}

// Unasked reports whether no reply is awaited, not even one to a command of unknown verb.
func (r *Repair) Unasked() bool {
	return r.unasked || r.d.next != AwaitServer && r.d.sent.n == 0
}

// InMessage reports whether a message or a chunk is being sent to the server. The server
// should say nothing before the end of it.
func (r *Repair) InMessage() bool { return r.d.next.OfMessage() }

// Last returns the code of the server's last reply on this connection, which may be the
// greeting; 0 if there was none.
func (r *Repair) Last() int { return int(r.d.server.last) }

// Closed reports whether the server has hung up after the octets, or is sure to,
// because they are a 221 that nobody has asked for.
func (r *Repair) Closed() bool { return r.closed }

// Limit returns the length, in octets with its line end, of the longest line that a
// reply may have. A 334 may be longer.
func (r *Repair) Limit() int { return cmp.Or(r.d.policy.Limits.ReplyLine, 4096) }

// Quiet returns how many milliseconds have passed since the last of the octets came.
func (r *Repair) Quiet() int64 { return r.quiet }

// Wait asks to call the rule again when more octets have come, or when Quiet has
// reached the given number of milliseconds, at most 5,000.
func (r *Repair) Wait(milliseconds int64) { r.wait = min(milliseconds, maxRepairQuiet) }

// Await says that the octets are the beginning of a reply, and asks to call the rule
// again when more octets have come. The rest must come within the usual timeout for a
// reply.
func (r *Repair) Await() { r.wait = untilMore }

// Replace replaces the first n octets by reply, one well-formed reply with its line
// ends. Its class must not be better than that of the worst code in the n octets. If
// these have no code, reply is a refusal or empty. reply may also be empty if all their
// codes are 2xx, Unasked is true and InMessage is false. The rules after this one are
// not called.
func (r *Repair) Replace(n int, reply []byte) { r.n, r.made, r.done, r.part = n, reply, true, false }

// Edit replaces the first n octets, which are whole lines, by lines. The rules after this
// one get the result. If all rules together make one well-formed reply, or leave no
// lines, the repair takes effect. If they make the beginning of a reply, the dialogue
// waits for the end of it. Otherwise all edits are dropped.
func (r *Repair) Edit(n int, lines []byte) { r.n, r.made, r.done, r.part = n, lines, true, true }

// Repair calls the rules on octets: all that the server has sent and that was not
// passed to Reply yet. The caller calls Repair if octets are not whole, well-formed
// replies, or are more replies than are due. It also calls Repair for a reply that may
// not be what it seems: an EHLO reply of one line, a 221 to a command other than QUIT,
// or a last line that is only a code. quiet is the time in milliseconds since the last
// of octets came.
//
// If ok is true, the caller replaces the first n of octets by made. If ok is false and
// wait is 0, it uses octets as they are. If wait is greater than 0, it calls Repair
// again when more octets have come, or when quiet has reached wait milliseconds.
func (d *Dialogue) Repair(octets []byte, quiet int64) (n int, made []byte, ok bool, wait int64) {
	return d.repair(Repair{octets: octets, quiet: quiet})
}

// RepairUnasked calls the rules on octets, which the server has sent while no reply was
// due. [Repair.Unasked] is true for them, even if ToServer already holds the next
// command, which the caller has not sent yet. If ok is true, the caller replaces the
// first n of octets by made.
func (d *Dialogue) RepairUnasked(octets []byte) (n int, made []byte, ok bool) {
	n, made, ok, _ = d.repair(Repair{octets: octets, unasked: true})
	return n, made, ok
}

// RepairCutOff calls the rules on octets that are no whole reply, and after which the
// server has hung up. [Repair.Closed] is true for them. If ok is true, the caller
// replaces the first n of octets by made.
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
	r := new(Repair) // one for all rules: few replies need a repair
	for _, step := range d.policy.Rules.stages.repair {
		i := int(step.rule)
		if !d.acts(i) {
			continue
		}
		*r = of
		r.Session = Session{d, i}
		why := contained(step.run, r)
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

// joinRepairs combines two repairs: the first has replaced n octets by made, the second
// replaces the first m octets of the result by then.
func joinRepairs(n int, made []byte, m int, then []byte) (int, []byte) {
	if m < len(made) {
		return n, append(then[:len(then):len(then)], made[m:]...)
	}
	return n + m - len(made), then
}

// repaired counts a repair for its rules and returns the results of Repair.
func (d *Dialogue) repaired(by ruleSet, n int, made []byte) (int, []byte, bool, int64) {
	d.departed(by)
	d.event(fmt.Sprintf("reply mended by %s", d.policy.Rules.nameSet(by)))
	return n, made, true, 0
}

// fault returns why a repair is not allowed; "" if it is. The class of the result must
// not be better than the class of the worst code in the octets: a repair never makes a
// yes (promise 3).
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
		return fmt.Sprintf("it made one reply of %d", replies) // the others answer other commands
	case code == worst:
		return ""
	case r.closed && code == "421":
		return ""
	case code == "", worst == "" && code[0] < '4', worst != "" && code[0] < worst[0]:
		return fmt.Sprintf("it made %q of %q", code, worst)
	case worst != "" && (code[0] == '3' || worst[0] == '3') && code != worst: // or they do not agree on whose turn it is
		return fmt.Sprintf("it made %q of %q", code, worst)
	case worst != "" && worst[0] == '2' && worst != "221" && code[0] != '2' && actedOn.Has(r.Awaited()): // see Turn.replyFault; 221 is no yes
		return fmt.Sprintf("it made %q of a positive reply to %v", code, r.Awaited())
	case (code == "220") != (worst == "220") && r.d.startsTLS():
		return fmt.Sprintf("it made %q of %q, and client and server do not agree whether TLS begins", code, worst)
	}
	return ""
}

// isAlone reports whether all that the server sends answers one question, because nothing
// was asked before the greeting, or together with EHLO.
func (r *Repair) isAlone() bool {
	return r.Awaited() == VerbGreeting || r.Awaited() == VerbEHLO && r.d.sent.n == 1
}

// wholeFault returns why the result of Replace is not one whole reply; "" if it is.
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

// partFault returns why the result of Edit cannot be a part of a reply; "" if it can.
func (r *Repair) partFault(more bool) string {
	switch {
	case r.octets[r.n-1] != '\n' || r.made[len(r.made)-1] != '\n':
		return "it edited what is no whole line"
	case more:
		return "it made two replies of one"
	}
	return ""
}

// dropFault returns why octets whose worst code is worst must not be dropped; "" if they
// may. An unasked yes means nothing, unless a message awaits its reply.
func (r *Repair) dropFault(worst string) string {
	switch dropped := r.octets[:r.n]; {
	case worst != "" && (worst[0] != '2' || !r.Unasked() || r.InMessage()):
		return fmt.Sprintf("it dropped a reply with the code %s", worst)
	case r.n < len(r.octets) && bytes.ContainsAny(dropped[bytes.LastIndexByte(dropped, '\n')+1:], "0123456789"):
		return fmt.Sprintf("it dropped %q, which may be a part of a code", dropped)
	}
	return ""
}

// codesIn looks at the lines that begin with a code, whatever their line ends, and
// whatever precedes the code that is not text. worst is the code with the largest first
// digit, "" if there is none. replies is the number of lines that end a reply.
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
