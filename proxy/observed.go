package proxy

import "strings"

// Would is what the rules of Route.Observed would have done in a session. The keys are
// the names of rules. A rule that would have changed nothing is not in it.
type Would map[string]Departures

// Departures are the changes that one rule of Route.Observed would have made in a
// session.
type Departures struct {
	Times int // how many changes
	// Line is the first command, or first line of a reply, that the rule would have
	// changed. It is as the peer sent it, but without credentials and cut to 200
	// octets. Lines of messages and lines that may contain a secret are passed over; if
	// there are no others, Line is "".
	Line string
}

// Counts returns for each rule, by its name, how many changes the rule would have made. It
// returns nil if w is nil.
func (w Would) Counts() map[string]int {
	if w == nil {
		return nil
	}
	counts := map[string]int{}
	for rule, d := range w {
		counts[rule] = d.Times
	}
	return counts
}

// maxEvidence bounds the line that is kept for a rule, in octets.
const maxEvidence = 200

// Would counts a change that the observed rule named rule would have made to line, and
// tells the observer if that is a WouldObserver. For each rule it keeps the first line
// that is not empty.
func (h heard) Would(rule, line string) {
	sum := &h.s.sum
	if sum.would == nil {
		sum.would = Would{}
	}
	d := sum.would[rule]
	if d.Times++; d.Line == "" {
		d.Line = strings.Clone(line[:min(len(line), maxEvidence)])
	}
	sum.would[rule] = d
	if o, ok := h.s.route.Observer.(WouldObserver); ok {
		o.RuleWouldApply(rule)
	}
}
