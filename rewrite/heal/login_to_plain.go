package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func loginToPlain() rewrite.Rule {
	return rewrite.Rule{
		Name:  "login-to-plain",
		Heals: "clients that log in with AUTH LOGIN alone, before servers that offer AUTH PLAIN and not LOGIN",
		Doc: "The proxy asks the client for name and password, and sends both to the server in one AUTH PLAIN. The client gets the " +
			"server's reply.",
		Symptoms: []string{"504 5.7.4 Unrecognized authentication type", "535 5.7.8 Error: authentication failed: Invalid authentication mechanism",
			"Authentication type not supported by smtp server"},
		Source: "RFC 4616, 2; Beckhoff TwinCAT SMTP Server (0x8016); github.com/JustinIven/smtp-oauth-relay/issues/57; cakephp/cakephp#14639", Entries: []string{"L31", "L32"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{SASL: sayPLAIN, Command: sayPLAIN, Commands: rewrite.SetOf(rewrite.VerbAUTH),
				State: func() any { return new([]string) }, // the client's name in base64, once the client has sent it
				Reply: func(t *rewrite.Turn) { offerMechanism(t, "LOGIN", "PLAIN") }, Replies: rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbLHLO)}, nil
		},
	}
}

// sayPLAIN asks the client for its name or password, whichever is missing, or sends both
// to the server.
func sayPLAIN(t *rewrite.Turn) {
	name, said := t.State().(*[]string), strings.Trim(string(t.Line()), blanks)
	if t.Step() == 0 {
		*name, said = nil, initialResponse(t)
	}
	switch {
	case t.Mechanism() != "LOGIN" || !standsFor(t, "LOGIN", "PLAIN") || said == "*":
	case t.Step() == 0 && said == "":
		t.Answer(rewrite.Reply{Code: 334, Lines: []string{usernamePrompt}})
	case len(*name) == 0:
		*name = []string{said}
		t.Answer(rewrite.Reply{Code: 334, Lines: []string{passwordPrompt}})
	default:
		sayCredentials(t, (*name)[0], said)
	}
}
