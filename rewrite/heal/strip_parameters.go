package heal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"smtpshim/rewrite"
)

// offeredBy maps parameters of MAIL and RCPT to the extensions that define them.
var offeredBy = map[string]string{"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "AUTH": "AUTH",
	"RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN", "ORCPT": "DSN", "MT-PRIORITY": "MT-PRIORITY", "BY": "DELIVERBY",
	"HOLDFOR": "FUTURERELEASE", "HOLDUNTIL": "FUTURERELEASE", "SUBMITTER": "SUBMITTER", "TRANSID": "CHECKPOINT",
	"MTRK": "MTRK", "CONPERM": "CONPERM", "CONNEG": "CONNEG", "SOLICIT": "NO-SOLICITING", "RRVS": "RRVS"}

func stripParameters() rewrite.Rule {
	return rewrite.Rule{
		Name:  "strip-parameters",
		Heals: "servers that refuse a MAIL or RCPT with a parameter whose extension they have not offered",
		Doc: "Some clients send SIZE, BODY or RET to every server, and the server answers 501. The rule removes a parameter of a known " +
			"extension that the server's EHLO reply does not offer; after HELO it removes all of them. A parameter of an unknown " +
			"extension passes. So do REQUIRETLS, without which the message must not travel, and SMTPUTF8 with an address that needs it. " +
			"Without NOTIFY and RET the sender's request for delivery reports is lost. Some servers refuse what they offer, above all " +
			"AUTH=<>. The rule sends a refused command again without the parameters of the option `refused`, and for a day removes these " +
			"at once. With `when = \"refused\"`, as in the set `auto`, it also does so with parameters that the server does not offer. " +
			"SMTPUTF8, and parameters that say when or how a message may travel, such as HOLDFOR, then stay, and so does the refusal.",
		Symptoms: []string{"501 Parameter RET is not recognised", "501 Parameter AUTH is not recognised", "501 5.1.7 Bad sender address syntax", "555 5.5.4 Unsupported option",
			"501 5.5.4 Invalid arguments"},
		Source: "RFC 5321, 4.1.1.11; Postfix 2.9 release notes; github.com/rnwood/smtp4dev/issues/1212; github.com/rnwood/smtp4dev/issues/565; " +
			"github.com/andris9/simplesmtp/pull/17; github.com/mobizt/ESP-Mail-Client/discussions/69",
		Entries: []string{"L21", "L37", "L40", "L50", "L51"},
		Options: []rewrite.Option{
			{Name: "refused", Default: []string{"AUTH"},
				Doc: "the parameters that the rule removes if the server has offered their extension and refuses a command that has them, as in [\"AUTH\", \"BODY\"]"},
			{Name: "when", Default: "always", Values: []string{"always", "refused"},
				Doc: "when the rule removes parameters that the server has not offered; \"always\": before the server gets them; \"refused\": once it has refused a command that has them"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			s := stripper{waits: o.Text("when") == "refused"}
			for _, name := range o.List("refused") {
				name = strings.ToUpper(name)
				if offeredBy[name] == "" || name == "SMTPUTF8" {
					return rewrite.Actions{}, &rewrite.ConfigError{Option: "refused", Err: refusedError(name)}
				}
				s.doubtful = append(s.doubtful, name)
			}
			verbs := rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT)
			return rewrite.Actions{
				State:    func() any { return new(stripState) },
				Commands: verbs, Command: s.say,
				Refusals: verbs, Reply: s.sayWithout,
			}, nil
		},
	}
}

func refusedError(name string) error {
	if name == "SMTPUTF8" {
		return errors.New("without SMTPUTF8 an address that needs it would be another one; leave it out of the list")
	}
	return fmt.Errorf("%q is no parameter of MAIL or RCPT that is known; write for example [\"AUTH\", \"BODY\"]", name)
}

// A stripper removes parameters.
type stripper struct {
	doubtful []string // parameters that a server may refuse although it offers them
	waits    bool     // wait for a refusal before removing parameters that are not offered
}

// dispensable are the parameters without which the message stays the same and is
// delivered at the same time.
var dispensable = []string{"SIZE", "BODY", "AUTH", "RET", "ENVID", "NOTIFY", "ORCPT", "MT-PRIORITY", "SUBMITTER"}

// A stripState is what a session knows about its server.
type stripState struct {
	refused []string // parameters that the server refuses although it offers them
	tried   []string // parameters removed from the line that was sent again, while it awaits a reply
	again   string   // that line
}

// refusesParameter, followed by a parameter, is the key under which a server is
// remembered that refuses it.
const refusesParameter = "refuses the parameter "

// learn records that the server has accepted the last line without the parameters that it
// had refused. It is called when no refusal has come.
func (s *stripState) learn(t *rewrite.Turn) {
	for _, name := range s.tried {
		s.refused = append(s.refused, name)
		t.Remember(refusesParameter+name, dayLong)
	}
	s.tried = nil
}

// say removes parameters that the server does not offer or is known to refuse. If the
// server may refuse another one, say holds the turn, so that the line can be sent again.
func (s stripper) say(t *rewrite.Turn) {
	if !s.mayAct(t) {
		return
	}
	t.State().(*stripState).learn(t)
	doubts := false
	leaveOut(t, func(p, name string) bool {
		extension := offeredBy[name]
		switch {
		case extension == "":
			return false
		case name == "SMTPUTF8" && !isASCII(string(t.Line())):
			return false // the server must refuse the address rather than take it for another one
		case !s.waits && !t.Server().Has(extension):
			return true
		case s.mayDrop(t, p):
			if s.isRefused(t, name) {
				return true
			}
			doubts = true
		}
		return false
	})
	if doubts {
		t.Hold()
	}
}

// leaveOut removes the parameters of MAIL or RCPT for which drop returns true. drop gets
// each parameter and its keyword in upper case.
func leaveOut(t *rewrite.Turn, drop func(param, keyword string) bool) {
	path, ok := t.Path()
	if !ok {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(path.Params), func(p string) bool { return drop(p, path.Keyword(p)) })
	if len(kept) < len(path.Params) {
		path.Params = kept
		t.SetPath(path)
	}
}

// mayAct is a quick test: it reports whether a line has a parameter that the server does
// not offer or may refuse. It may return true if there is none.
func (s stripper) mayAct(t *rewrite.Turn) bool {
	end := bytes.IndexByte(t.Line(), '>')
	if end < 0 {
		return true
	}
	for param := range bytes.FieldsSeq(t.Line()[end+1:]) {
		name, _, _ := bytes.Cut(param, []byte("="))
		var room [longestParameter]byte
		if len(name) > len(room) {
			continue
		}
		for i, c := range name {
			if room[i] = c; isLower(rune(c)) {
				room[i] = c - 'a' + 'A'
			}
		}
		upper := room[:len(name)]
		if extension := offeredBy[string(upper)]; extension != "" && !t.Server().Has(extension) {
			return true
		}
		for _, doubtful := range s.doubtful {
			if string(upper) == doubtful {
				return true
			}
		}
	}
	return false
}

// longestParameter is the length, in octets, of the longest name in offeredBy.
const longestParameter = 16

// mayDrop reports whether a parameter may be removed if the server refuses it.
// BODY=BINARYMIME may not, because the message would be read differently.
func (s stripper) mayDrop(t *rewrite.Turn, param string) bool {
	name := rewrite.Path{}.Keyword(param)
	unoffered := s.waits && slices.Contains(dispensable, name) && !t.Server().Has(offeredBy[name])
	return (unoffered || slices.Contains(s.doubtful, name)) && !strings.EqualFold(param, "BODY=BINARYMIME")
}

func (s stripper) isRefused(t *rewrite.Turn, name string) bool {
	return slices.Contains(t.State().(*stripState).refused, name) || t.Remembers(refusesParameter+name)
}

// sayWithout sends a refused command again without the parameters that may be the reason.
func (s stripper) sayWithout(t *rewrite.Turn) {
	state := t.State().(*stripState)
	if string(t.Line()) != state.again { // the server has accepted that line
		state.learn(t)
	}
	state.tried = nil
	path, ok := t.Path()
	if !ok || !t.MayRepeat() || !refusesParameters(t.Reply().Code) {
		return
	}
	var left []string
	kept := slices.DeleteFunc(slices.Clone(path.Params), func(p string) bool {
		if !s.mayDrop(t, p) {
			return false
		}
		left = append(left, path.Keyword(p))
		return true
	})
	if len(left) > 0 {
		path.Params = kept
		state.tried, state.again = left, path.String()
		t.Again(state.again)
	}
}

// refusesParameters reports whether a refusal may be about a parameter (RFC 5321,
// 4.1.1.11 and 4.2.2). 553 and 554 are about the address.
func refusesParameters(code int) bool {
	switch code {
	case 500, 501, 502, 504, 555:
		return true
	}
	return false
}
