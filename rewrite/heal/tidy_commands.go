package heal

import (
	"bytes"
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func tidyCommands() rewrite.Rule {
	return rewrite.Rule{
		Name:  "tidy-commands",
		Heals: "servers that refuse `MAIL FROM: <a>`, an address without brackets, or a blank at the end of a command",
		Doc: "Printers, scripts and Exchange's Internet Mail Connector put blanks around the colon of MAIL and RCPT, two before a " +
			"parameter, one behind DATA, or leave the brackets out; many servers take that, and some answer 501 or 553. " +
			"The command passes as it came. Once this server has refused it, it is said again without such blanks and with " +
			"brackets, and later ones are tidied at once, for a day.",
		Symptoms: []string{"501 5.5.4 Invalid FROM: Unexpected whitespace before path", "501 Bad command", "553 5.1.0 Sender address syntax error"},
		Source:   "RFC 5321, 3.3 and 4.1.1; KB Q245787; KB Q228725; github.com/mjl-/mox/issues/101; github.com/nim-lang/smtp/issues/3",
		Entries:  []string{"L41", "L42", "L95"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			verbs := rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT, rewrite.VerbDATA, rewrite.VerbRSET, rewrite.VerbNOOP)
			return rewrite.Actions{
				State:   func() any { return new(tidyState) },
				Command: sayTidy, Commands: verbs,
				Reply: repeatTidy, Refusals: verbs,
			}, nil
		},
	}
}

// tidyState is what a session knows of the forms that its server takes.
type tidyState struct {
	held           faults   // of the line that was said last and held, while no refusal of it was heard
	tried          faults   // of a refused line, while no refusal of the tidy one was heard
	taken, refused []faults // by the server
}

// faults are what is not tidy in a command: some of these, joined with "+". A server
// may take one and refuse another.
type faults string

const (
	colonOff      = "colon"      // blanks around the colon of MAIL or RCPT, or before the verb
	bracketsOff   = "brackets"   // no brackets around the address
	parametersOff = "parameters" // blanks before or behind the parameters
	endOff        = "end"        // blanks around a command without a path
)

// sayTidy tidies a command where the server is known to refuse its form. Where
// that is not known the command is held, so that it can be said again.
func sayTidy(t *rewrite.Turn) {
	if isTidy(t.Verb(), t.Line()) {
		return
	}
	line, wrong := tidy(t)
	if wrong == "" {
		return
	}
	state := t.State().(*tidyState)
	if state.held != "" {
		state.taken, state.held = append(state.taken, state.held), ""
	}
	if state.tried != "" {
		state.refused = append(state.refused, state.tried)
		t.Remember(string(state.tried), refusedLasts)
		state.tried = ""
	}
	switch {
	case slices.Contains(state.refused, wrong) || t.Remembers(string(wrong)):
		t.SetLine(line)
	case !slices.Contains(state.taken, wrong):
		t.Hold()
		state.held = wrong
	}
}

// repeatTidy says a refused command again, if it was held and its form may be the
// reason.
func repeatTidy(t *rewrite.Turn) {
	if isTidy(t.Verb(), t.Said()) {
		return
	}
	state := t.State().(*tidyState)
	state.tried = ""
	wrong := state.held
	if state.held = ""; wrong == "" {
		return
	}
	if line, now := tidy(t); now != "" && t.MayRepeat() {
		t.Again(line)
		state.tried = wrong
	}
}

// isTidy is a quick look at a command: there is nothing for tidy to do. It may
// be false where tidy finds nothing either.
func isTidy(v rewrite.Verb, line []byte) bool {
	if len(line) == 0 || isBlank(line[0]) || isBlank(line[len(line)-1]) || bytes.IndexByte(line, '\t') >= 0 {
		return false
	}
	if v != rewrite.VerbMAIL && v != rewrite.VerbRCPT {
		return true
	}
	colon := bytes.IndexByte(line, ':')
	return colon > 0 && colon+1 < len(line) && line[colon+1] == '<' && line[colon-1] != ' ' && !bytes.Contains(line, []byte("  "))
}

func isBlank(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }

// tidy returns the command without blanks that do not belong there, and with
// brackets around its address; wrong is "" where it has nothing to do.
func tidy(t *rewrite.Turn) (line string, wrong faults) {
	said := string(t.Line())
	path, ok := t.Path()
	if !ok {
		if line = strings.Trim(said, blanks); line != said && line != "" {
			return line, endOff
		}
		return said, ""
	}
	bare := !strings.HasPrefix(path.Address, "<")
	if bare && !isBareAddress(path) {
		return said, ""
	}
	var found []string
	words := strings.FieldsFunc(strings.TrimRight(path.Prefix, blanks+":"), func(c rune) bool { return strings.ContainsRune(blanks, c) })
	prefix := strings.Join(words, " ") + ":"
	if prefix != path.Prefix {
		found = append(found, colonOff)
	}
	if path.String() != said {
		found = append(found, parametersOff)
	}
	path.Prefix = prefix
	if bare {
		path.Address, found = "<"+path.Address+">", append(found, bracketsOff)
	}
	return path.String(), faults(strings.Join(found, "+"))
}

// isBareAddress reports whether an address lacks its brackets and nothing else:
// in `Joe <joe@example.com>` the first word is none.
func isBareAddress(p rewrite.Path) bool {
	return !strings.ContainsAny(p.Address, `<>"(),;\`) &&
		!slices.ContainsFunc(p.Params, func(param string) bool { return strings.ContainsAny(param, "<>") })
}
