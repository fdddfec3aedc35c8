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
		Heals: "servers that refuse `MAIL FROM: <a>`, an address without brackets or with a name before it, or a blank at the end of a command",
		Doc: "Printers, scripts and Exchange's Internet Mail Connector put blanks around the colon of MAIL and RCPT, two before a " +
			"parameter, one after DATA, or leave the brackets out. Others send `<Joe <joe@example.com>>`, `<'joe@example.com'>` or " +
			"`<@relay:joe@example.com>`. A local part with a dot at its end, or with two in a row, needs quotes; some clients leave them " +
			"out, and some servers accept none. Many servers accept all this, and some answer 501 or 553. At first the command passes " +
			"unchanged. Once this server has refused it, the rule sends it again without such blanks, with brackets, and with the " +
			"address alone. For a day it tidies later commands at once.",
		Symptoms: []string{"501 5.5.4 Invalid FROM: Unexpected whitespace before path", "501 Bad command", "553 5.1.0 Sender address syntax error",
			"501 5.5.4 Syntax error in parameters or arguments (invalid TO parameter)", "553 malformed address:",
			"501 5.1.3 Bad recipient address syntax", "missing or malformed local part"},
		Source: "RFC 5321, 3.3, 4.1.1, 4.1.2 and C; KB Q245787; KB Q228725; KB Q191262; Postfix, smtpd_command_filter and smtp_quote_rfc821_envelope; " +
			"github.com/mjl-/mox/issues/101; github.com/nim-lang/smtp/issues/3; github.com/axllent/mailpit/issues/421; github.com/KumoCorp/kumomta/issues/77",
		Entries: []string{"L41", "L42", "L43", "L44", "L45", "L95"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				State:   func() any { return new(tidyState) },
				Command: sayTidy, Commands: untidied,
				Reply: repeatTidy, Refusals: untidied,
			}, nil
		},
	}
}

// untidied is the set of verbs whose commands are tidied.
var untidied = rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT, rewrite.VerbDATA, rewrite.VerbRSET, rewrite.VerbNOOP,
	rewrite.VerbSTARTTLS, rewrite.VerbAUTH)

// A tidyState is what a session knows about the forms that its server accepts.
type tidyState struct {
	held           faults   // faults of the last line that was held, while no refusal of it has come
	tried          faults   // faults of a refused line, while the tidy line was not refused for its form
	taken, refused []faults // faults of lines that the server accepts or refuses
}

// faults are the faults of a command: some of the constants below, joined with "+". A
// server may accept one fault and refuse another.
type faults string

const (
	colonOff      = "colon"      // blanks around the colon of MAIL or RCPT, or before the verb
	bracketsOff   = "brackets"   // no brackets around the address
	parametersOff = "parameters" // blanks before or behind the parameters
	endOff        = "end"        // blanks around a command without a path, or too many inside it
)

// sayTidy tidies a command if the server is known to refuse its form. If that is not
// known, it holds the turn, so that the command can be sent again.
func sayTidy(t *rewrite.Turn) {
	if isTidy(t.Verb(), t.Line()) {
		return
	}
	line, wrong := tidy(t.Verb(), t.Line())
	if wrong == "" {
		return
	}
	state := t.State().(*tidyState)
	if state.held != "" {
		state.taken, state.held = append(state.taken, state.held), ""
	}
	if state.tried != "" {
		state.refused = append(state.refused, state.tried)
		t.Remember(string(state.tried), dayLong)
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

// repeatTidy sends a refused command again in its tidy form, if it was held and its form
// may be the reason.
func repeatTidy(t *rewrite.Turn) {
	if isTidy(t.Verb(), t.Said()) {
		return
	}
	state := t.State().(*tidyState)
	if refusesForm(t.Reply()) {
		state.tried = ""
	}
	wrong := state.held
	if state.held = ""; wrong == "" {
		return
	}
	if line, now := tidy(t.Verb(), t.Line()); now != "" && t.MayRepeat() && refusesForm(t.Reply()) {
		t.Again(line)
		state.tried = wrong
	}
}

// refusesForm reports whether a refusal may be about the form of a command.
func refusesForm(r *rewrite.Reply) bool {
	switch r.Code {
	case 500, 501, 502, 504, 553, 554, 555:
		return true
	}
	return r.Code == 550 && strings.Contains(strings.ToLower(r.Lines[0]), "syntax") // hMailServer
}

// isTidy is a quick test. If it returns true, tidy finds no fault. It may return false
// even if tidy finds none.
func isTidy(v rewrite.Verb, line []byte) bool {
	if len(line) == 0 || isBlank(line[0]) || isBlank(line[len(line)-1]) || bytes.IndexByte(line, '\t') >= 0 {
		return false
	}
	switch v {
	case rewrite.VerbMAIL, rewrite.VerbRCPT:
	case rewrite.VerbAUTH:
		return !bytes.Contains(line, []byte("  "))
	default:
		return true
	}
	colon := bytes.IndexByte(line, ':')
	return colon > 0 && colon+1 < len(line) && line[colon+1] == '<' && line[colon-1] != ' ' && !bytes.Contains(line, []byte("  ")) &&
		isTidyAddress(line[colon+1:])
}

func isBlank(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }

// tidy returns the command with brackets around its address, without misplaced blanks,
// and with nothing but the address in the brackets. wrong is "" if the command is tidy.
func tidy(verb rewrite.Verb, command []byte) (line string, wrong faults) {
	said := string(command)
	isPath := verb == rewrite.VerbMAIL || verb == rewrite.VerbRCPT
	var path rewrite.Path
	ok := false
	if isPath {
		path, ok = rewrite.ParsePath(command)
	}
	bare := ok && !strings.HasPrefix(path.Address, "<")
	var found []string
	if isPath && (!ok || bare && !isBareAddress(path)) {
		inner, named := innerPath(said)
		if !named && ok {
			return said, ""
		}
		if named {
			path, ok, bare, found = inner, true, false, append(found, nameOn)
		}
	}
	if !ok {
		line = strings.Trim(said, blanks)
		if verb == rewrite.VerbAUTH {
			line = oneBlank(said)
		}
		if line != said && line != "" {
			return line, endOff
		}
		return said, ""
	}
	prefix := oneBlank(strings.TrimRight(path.Prefix, blanks+":")) + ":"
	if prefix != path.Prefix {
		found = append(found, colonOff)
	}
	if path.String() != said && !slices.Contains(found, nameOn) {
		found = append(found, parametersOff)
	}
	path.Prefix = prefix
	if bare {
		path.Address, found = "<"+path.Address+">", append(found, bracketsOff)
	}
	address, more := tidyAddress(path.Address)
	path.Address = address
	return path.String(), faults(strings.Join(append(found, more...), "+"))
}

// oneBlank returns line with one blank between its words and none around them.
func oneBlank(line string) string {
	return strings.Join(strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(blanks, c) }), " ")
}

// isBareAddress reports whether an address only lacks its brackets. In `Joe
// <joe@example.com>` and `Joe joe@example.com`, the first word is no address.
func isBareAddress(p rewrite.Path) bool {
	return !strings.ContainsAny(p.Address, `<>"(),;\`) && !slices.ContainsFunc(p.Params, isNoParameter)
}
