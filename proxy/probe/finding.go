package probe

import (
	"fmt"

	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
)

// A Finding is one thing that a peer does and that others may not be able to live with.
// All texts are printable ASCII, whatever the peer has said.
type Finding struct {
	Name    string   `json:"name"`              // of the examination that found it, such as "second-ehlo"
	Seen    []string `json:"seen"`              // the lines that show it, in the notation of package transcript
	Means   string   `json:"means"`             // for people: what is wrong, and whom it hurts
	Entry   string   `json:"entry,omitempty"`   // of the catalogue, such as "L23"; "": it has none
	Rule    string   `json:"rule,omitempty"`    // that heals it; "": none does
	Setting string   `json:"setting,omitempty"` // the key of the configuration that heals it, as it is to be written
	Heals   string   `json:"heals"`             // how it is healed, or why nothing heals it
	Source  string   `json:"source,omitempty"`  // who else has seen it
}

// Healed reports whether a rule or a setting heals the finding.
func (f Finding) Healed() bool { return f.Rule != "" || f.Setting != "" }

// Catalogued fills in what the catalogue says about the finding's entry: the source, and
// what becomes of it where the finding does not say so itself. It fails where there is no
// such entry.
func (f Finding) Catalogued() (Finding, error) {
	if f.Entry == "" {
		return f, nil
	}
	coverage := heal.Cover(heal.Catalogue(), heal.Table())
	entry, ok := coverage.Entry(f.Entry)
	if !ok {
		return f, fmt.Errorf("finding %s: the catalogue has no entry %q", f.Name, f.Entry)
	}
	if f.Source == "" {
		f.Source = entry.Source
	}
	if f.Heals == "" {
		f.Heals = coverage.State(entry)
	}
	return f, nil
}

// Line is one line of an exchange as Seen has it: side is 'C' or 'S', and text is without
// its CRLF. With side 0 it is an event.
func Line(side transcript.Side, text string) string {
	mark := transcript.Unchanged
	if side == 0 {
		mark = 0
	}
	return transcript.Line{Side: side, Mark: mark, Text: text}.String()
}
