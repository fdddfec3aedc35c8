package heal

import (
	"slices"

	"smtpshim/rewrite"
)

func joinAuthLines() rewrite.Rule {
	return rewrite.Rule{
		Name:  "join-auth-lines",
		Heals: "servers that accept AUTH PLAIN only with its response on the same line, for clients that send the response after a 334",
		Doc: "RFC 4954 lets a client send the mechanism alone and answer an empty 334. Some servers refuse the command then, before they " +
			"have received a name or a password. Once a server has refused AUTH with a mechanism in which the client sends first, the " +
			"rule answers the next such AUTH with the 334 itself, and sends AUTH to the server with the response on its line. It does so " +
			"at once for a day. The first client gets the refusal, unless the option `when` says that the server is known to need this.",
		Symptoms: []string{"535 Incorrect authentication data", "Login denied"},
		Source:   "RFC 4954, 4; github.com/curl/curl/issues/4080",
		Entries:  []string{"L33"},
		Options: []rewrite.Option{{Name: "when", Default: "refused", Values: []string{"refused", "always"},
			Doc: "\"refused\": once this server has refused AUTH without a response; \"always\": before every server"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			j := joiner{always: o.Text("when") == "always"}
			verbs := rewrite.SetOf(rewrite.VerbAUTH)
			return rewrite.Actions{
				State:   func() any { return new(joinState) },
				Command: j.ask, Commands: verbs, SASL: j.join,
				Reply: learnToJoin, Refusals: verbs,
			}, nil
		},
	}
}

// clientFirst are the mechanisms in which the client speaks first (RFC 4616, RFC 7628,
// RFC 4422, A; Google's XOAUTH2).
var clientFirst = []string{"PLAIN", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"}

// wantsResponse, followed by a mechanism, is the key under which a server is remembered
// that refuses AUTH without an initial response.
const wantsResponse = "wants the first response on the line of "

// A joiner moves the client's first response to the line of AUTH.
type joiner struct{ always bool }

// A joinState is what a session knows about its server and the present exchange.
type joinState struct {
	refused []string // mechanisms that the server has refused without an initial response
	command string   // the command that waits for its response; "": none does
}

// ask sends the client the 334 in place of the server, to get its response.
func (j joiner) ask(t *rewrite.Turn) {
	if !saysMechanismAlone(t.Line(), t.Mechanism()) {
		return
	}
	state := t.State().(*joinState)
	state.command = ""
	if !t.Server().Has("AUTH", t.Mechanism()) {
		return // the server would refuse the mechanism, so the client must not send its response
	}
	if j.always || slices.Contains(state.refused, t.Mechanism()) || t.Remembers(wantsResponse+t.Mechanism()) {
		state.command = "AUTH " + t.Mechanism()
		t.Answer(rewrite.Reply{Code: 334, Lines: []string{""}})
	}
}

// join sends the command with its initial response.
func (j joiner) join(t *rewrite.Turn) {
	if t.Step() != 1 || !saysMechanismAlone(t.Said(), t.Mechanism()) {
		return
	}
	state := t.State().(*joinState)
	if state.command == "" {
		return
	}
	response := string(t.Line())
	if response == "" {
		response = "=" // RFC 4954, 4
	}
	t.SetLine(state.command + " " + response)
	state.command = ""
}

// learnToJoin records that the server refuses a mechanism without an initial response. It
// does so if the command has nothing else that the server could refuse.
func learnToJoin(t *rewrite.Turn) {
	if t.Lost() || t.Challenged() || !saysMechanismAlone(t.Line(), t.Mechanism()) || !t.Server().Has("AUTH", t.Mechanism()) {
		return
	}
	switch t.Reply().Code {
	case 500, 501, 504, 535, 555:
		state := t.State().(*joinState)
		state.refused = append(state.refused, t.Mechanism())
		t.Remember(wantsResponse+t.Mechanism(), dayLong)
	}
}

// saysMechanismAlone reports whether a command has a mechanism in which the client speaks
// first, and no initial response.
func saysMechanismAlone(line []byte, mechanism string) bool {
	return slices.Contains(clientFirst, mechanism) && len(rewrite.Argument(line)) == len(mechanism)
}
