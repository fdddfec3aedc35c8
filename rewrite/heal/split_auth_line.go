package heal

import (
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func splitAuthLine() rewrite.Rule {
	return rewrite.Rule{
		Name:  "split-auth-line",
		Heals: "servers and firewalls that refuse AUTH with its first response on the line, or hang up on it: a response that is too long, such as an OAuth token, or any response",
		Doc: "By RFC 4954 a client leaves the first response off the AUTH command if the line would have over 512 octets; many put a " +
			"token of 1,400 octets on it. If a server refuses such a line before any challenge, the rule sends AUTH with the mechanism " +
			"alone, and the response after the server's 334. If the server hangs up instead, the rule does so on a fresh connection. For " +
			"a day it splits later lines at once. Cisco's ASA drops the connection silently, so that client and server wait for each " +
			"other: `when = \"always\"` splits the first line too. Some servers accept no first response of any length, above all the " +
			"name on the line of AUTH LOGIN: they refuse it, or ask for the name again. The option `lines` is for them.",
		Symptoms: []string{"500 5.5.2 Error: command line too long", "555 5.5.2 Syntax error", "500 Line too long", "535 Authentication Failed"},
		Source: "RFC 4954, 4; github.com/PHPMailer/PHPMailer/issues/3169; github.com/roundcube/roundcubemail/issues/8623; github.com/jstedfast/MailKit/issues/1343; " +
			"github.com/OpenSMTPD/OpenSMTPD/issues/422; github.com/xhit/go-simple-mail/issues/117; Cisco ASA CLI guide, Defaults for ESMTP Inspection",
		Entries: []string{"L10", "L32", "L33", "L35"},
		Options: []rewrite.Option{
			{Name: "lines", Default: "long", Values: []string{"long", "all"},
				Doc: "which lines are split; \"long\": those over 512 octets; \"all\": those of any length, and a name that the server asks for again is sent again"},
			{Name: "when", Default: "refused", Values: []string{"refused", "always"},
				Doc: "\"refused\": once the server has refused such a line; \"always\": before it can"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			verbs := rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXEXPS)
			s := splitter{all: o.Text("lines") == "all", always: o.Text("when") == "always"}
			return rewrite.Actions{
				State:   func() any { return new(splitState) },
				Command: s.sayShort, Commands: verbs,
				Reply: s.hear, Replies: verbs,
			}, nil
		},
	}
}

// A splitter sends an AUTH command without its initial response, which it sends when the
// server asks for it.
type splitter struct {
	all    bool // commands of any length
	always bool // even if the server has refused none
}

// A splitState is what a session knows about its server and the present command.
type splitState struct {
	refused  []string // keys under which the server is remembered
	split    bool     // the command was sent without its response
	response string   // the response, if split
}

// commandLength is the length, in octets with CRLF, of the longest command that a server
// must accept (RFC 5321, 4.5.3.1.4).
const commandLength = 512

// A server is remembered under longAUTH if it refuses long lines, and under anyAUTH
// followed by a mechanism, which the server must offer, if it refuses lines of any
// length.
const (
	longAUTH     = "refuses long AUTH lines"
	anyAUTH      = "refuses a first response of "
	maxMechanism = 20 // octets (RFC 4422, 3.1)
)

// concerns returns the key under which a refusal of the client's line is remembered; ""
// if the line is not split.
func (s splitter) concerns(t *rewrite.Turn) (key string) {
	if len(t.Said())+len("\r\n") > commandLength {
		return longAUTH
	}
	mechanism := t.Mechanism()
	if s.all && len(mechanism) <= maxMechanism && (t.Server().Has("AUTH", mechanism) || t.Server().Has("X-EXPS", mechanism)) {
		return anyAUTH + mechanism
	}
	return ""
}

// sayShort splits the line if the server is known to refuse it, or the option asks for
// that.
func (s splitter) sayShort(t *rewrite.Turn) {
	key := s.concerns(t)
	if key == "" {
		return
	}
	state := t.State().(*splitState)
	state.split, state.response = false, ""
	short, response, ok := cutResponse(t.Line())
	if ok && (s.always || slices.Contains(state.refused, key) || t.Remembers(key)) {
		state.split, state.response = true, response
		t.SetLine(short)
	}
}

// hear sends the response when the server answers the short command with 334. If the
// server refuses the long command, hear sends the short one. Another rule may have
// changed the line, but it must still be AUTH.
func (s splitter) hear(t *rewrite.Turn) {
	if t.Challenged() || rewrite.ParseVerb(t.Line()) != t.Verb() {
		return
	}
	key := s.concerns(t)
	if key == "" {
		return
	}
	state := t.State().(*splitState)
	short, response, ok := cutResponse(t.Line())
	switch r := t.Reply(); {
	case t.Lost() && key != longAUTH: // the length is not the reason
	case t.Lost(), r.Code == 421 && isTooLong(r):
		if ok && t.Untouched() && t.Fresh() == 0 {
			state.split, state.response = true, response
			t.AgainAfresh(short)
		}
	case state.split:
		response, state.split, state.response = state.response, false, ""
		if r.Code != 334 {
			return
		}
		if !s.always && !slices.Contains(state.refused, key) { // with always, nobody knows whether the server refuses such lines
			state.refused = append(state.refused, key)
			t.Remember(key, dayLong)
		}
		t.Again(response)
	case !ok:
	case key != longAUTH && r.Code == 334:
		if t.Mechanism() == "LOGIN" && len(r.Lines) == 1 && asksForName(r.Lines[0]) {
			t.Again(response)
		}
	case refusesResponse(t, r):
		state.split, state.response = true, response
		t.Again(short)
	}
}

// refusesResponse reports whether the server has refused the form of the line and not the
// credentials. For AUTH LOGIN it cannot be the credentials, because the server has not
// got the password.
func refusesResponse(t *rewrite.Turn, r *rewrite.Reply) bool {
	switch r.Code {
	case 500, 501, 555:
		return true
	case 504, 535:
		return t.Mechanism() == "LOGIN"
	}
	return r.Code >= 500 && isTooLong(r)
}

// isTooLong reports whether a refusal is about the length of the line.
func isTooLong(r *rewrite.Reply) bool {
	text := strings.ToLower(strings.Join(r.Lines, " "))
	return strings.Contains(text, "too long") || strings.Contains(text, "too large") || strings.Contains(text, "length")
}

// cutResponse splits an AUTH command from its initial response. ok is false if it has
// none. The response "=" is empty (RFC 4954, 4).
func cutResponse(line []byte) (short, response string, ok bool) {
	fields := strings.Fields(string(line))
	if len(fields) != 3 {
		return string(line), "", false
	}
	if response = fields[2]; response == "=" {
		response = ""
	}
	return fields[0] + " " + fields[1], response, true
}
