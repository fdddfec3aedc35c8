package proxy

import "strings"

// Would is what observed rules would have done in a session, by rule.
type Would map[string]Departures

// Departures are those that one rule would have made in a session.
type Departures struct {
	Times int
	// Line is the first line of which the rule would have made another, cut to some 200
	// octets, without credentials; "" if it is of a message, or may hold a secret.
	Line string
}

// Counts are the departures of each rule.
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

// maxEvidence bounds the line that is kept of a rule, in octets.
const maxEvidence = 200

// Would passes on what an observed rule would have done.
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
