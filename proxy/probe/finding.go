package probe

import (
	"fmt"
	"slices"
	"strings"

	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
)

// A Finding is one thing that a client or server does and that other programs may not
// handle. All texts of a Finding are printable ASCII, whatever the peer has said.
type Finding struct {
	// Name is a short name for what was found, such as "second-ehlo". No two
	// findings about a peer have the same name.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Seen has the lines of the dialogue that show the finding, in the notation of
	// package transcript. Long lines and long replies are cut.
	Seen []string `json:"seen"`
	// Means says, for people, what is wrong, and who suffers from it.
	Means string `json:"means"`
	// Entry is the number of the finding's entry in the catalogue of package heal,
	// such as "L23"; "": it has none.
	Entry string `json:"entry,omitempty"`
	// Rule is the name of the rule that heals the finding; "": none does.
	Rule string `json:"rule,omitempty"`
	// Setting has the lines of a route that heal the finding, alone or together
	// with Rule; "": none do. For a client it may be only the name of the setting,
	// such as "client_tls.certificate".
	Setting string `json:"setting,omitempty"`
	Heals   string `json:"heals"`            // how it is healed, or why it is not
	Source  string `json:"source,omitempty"` // where this behaviour is documented
}

// A Kind says how severe a finding is.
type Kind string

// The kinds of findings.
const (
	Fault  Kind = "fault"  // the peer breaks an RFC, or other programs are known to fail on it
	Strict Kind = "strict" // the peer refuses what old programs send, as the RFCs allow
	Note   Kind = "note"   // anything else: few programs suffer, or it is on purpose
)

// Catalogued returns a copy of f in which Source and Heals are filled in if they are
// "". Source comes from the entry of the catalogue that f.Entry names. Heals names
// f.Rule; if f.Rule is "", Heals comes from that entry too. If f.Entry is "", nothing
// comes from the catalogue. If f.Entry is not "" and the catalogue does not have it,
// Catalogued returns an error.
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

// Line returns a line of a dialogue in the form of Finding.Seen. side is the side that
// sent it, 'C' or 'S', or 0 for an event. text is the line without CRLF.
func Line(side transcript.Side, text string) string {
	mark := transcript.Unchanged
	if side == 0 {
		mark = 0
	}
	return transcript.Line{Side: side, Mark: mark, Text: text}.String()
}
