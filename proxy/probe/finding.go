package probe

import (
	"fmt"
	"slices"
	"strings"

	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
)

// A Finding is one thing that a client or server does and that others may not handle. All
// its texts are printable ASCII, whatever the peer has said.
type Finding struct {
	Name    string   `json:"name"` // of what was found, such as "second-ehlo"; two findings never share it
	Kind    Kind     `json:"kind"`
	Seen    []string `json:"seen"`              // the lines that show it, in the notation of package transcript
	Means   string   `json:"means"`             // for people: what is wrong, and who suffers from it
	Entry   string   `json:"entry,omitempty"`   // of the catalogue, such as "L23"; "": it has none
	Rule    string   `json:"rule,omitempty"`    // that heals it; "": none does
	Setting string   `json:"setting,omitempty"` // the configuration key that heals it, in the form in which to write it
	Heals   string   `json:"heals"`             // how it is healed, or why nothing heals it
	Source  string   `json:"source,omitempty"`  // where else it was seen
}

// A Kind says how severe a finding is.
type Kind string

// The kinds of findings.
const (
	Fault  Kind = "fault"  // the peer breaks an RFC, or other programs are known to fail on it
	Strict Kind = "strict" // the peer refuses what the RFCs allow it to refuse, and old programs send that
	Note   Kind = "note"   // the peer is right, and only some old program cannot handle it
)

// Healed reports whether a rule or a setting heals the finding.
func (f Finding) Healed() bool { return f.Rule != "" || f.Setting != "" }

// Catalogued returns a copy of f, completed from the catalogue's entry f.Entry: the
// source, and how the finding is healed, if f does not say so. An Entry of "" completes
// nothing from the catalogue. It is an error if the catalogue has no such entry.
func (f Finding) Catalogued() (Finding, error) {
	switch {
	case f.Heals != "" || f.Rule == "":
	case slices.Contains(heal.Sets()[0].Rules, f.Rule):
		f.Heals = "the rule " + f.Rule + " heals it, which is in the set standard"
	default:
		f.Heals = "the rule " + f.Rule + " heals it, which a route has to name"
	}
	if f.Entry == "" {
		return f, nil
	}
	coverage := heal.Cover(heal.Catalogue(), heal.Table())
	entry, ok := coverage.Entry(f.Entry)
	if !ok {
		return f, fmt.Errorf("finding %s: the catalogue has no entry %q", f.Name, f.Entry)
	}
	if f.Source == "" {
		f.Source = strings.ReplaceAll(entry.Source, "`", "")
	}
	if f.Heals == "" && f.Rule == "" {
		f.Heals = healsOf(coverage, entry)
	}
	return f, nil
}

// healsOf describes how an entry of the catalogue is healed, in the form for a finding.
// It omits "healed:", because "Heals:" precedes it.
func healsOf(c heal.Coverage, e heal.Entry) string {
	state := strings.ReplaceAll(c.State(e), "`", "")
	if c.Status(e) != heal.Healed {
		return state
	}
	switch rules := c.Rules(e); len(rules) {
	case 0:
		return strings.TrimPrefix(state, string(heal.Healed)+": ")
	case 1:
		return "the rule " + rules[0]
	default:
		return "the rules " + strings.Join(rules, ", ")
	}
}

// Line returns a line of an exchange in the form of Finding.Seen. side is the side that
// sent it, 'C' or 'S', or 0 for an event. text is the line without CRLF.
func Line(side transcript.Side, text string) string {
	mark := transcript.Unchanged
	if side == 0 {
		mark = 0
	}
	return transcript.Line{Side: side, Mark: mark, Text: text}.String()
}
