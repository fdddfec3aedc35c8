package heal

import (
	"encoding/base64"
	"strings"

	"smtpshim/rewrite"
)

// usernamePrompt and passwordPrompt are the prompts of AUTH LOGIN that every client
// knows, in base64.
const (
	usernamePrompt = "VXNlcm5hbWU6" // Username:
	passwordPrompt = "UGFzc3dvcmQ6" // Password:
)

func authPrompts() rewrite.Rule {
	return rewrite.Rule{
		Name:  "auth-prompts",
		Heals: "clients that compare the prompts of AUTH LOGIN letter by letter, or fail on a first 334 that is not base64",
		Doc: "Clients should ignore the text of the prompts of AUTH LOGIN, and servers send many different texts. Xerox's printers, " +
			"Outlook Express and some libraries know only `Username:` and `Password:`, and hang up at anything else: the rule sends " +
			"these two. Exchange answers AUTH NTLM and AUTH GSSAPI with words such as `334 ntlm supported`, which strict clients decode " +
			"as base64. If the client has sent nothing but the mechanism, the rule removes such words.",
		Symptoms: []string{"non-empty initial GSSAPI challenge from server", "334 ntlm supported", "Server Response got no username request",
			"Server Response got no password request"},
		Source: "draft-murchison-sasl-login-00, 2; Exim specification, LOGIN; MS-SMTPNTLM; Postfix, smtp_reply_filter; Beckhoff TwinCAT SMTP Server (0x8013, 0x8014); " +
			"github.com/JustinIven/smtp-oauth-relay/issues/57; github.com/wneessen/go-mail/issues/311; github.com/dinhvh/libetpan/pull/195",
		Entries: []string{"L31", "L34", "L88", "L123"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXEXPS), Reply: func(t *rewrite.Turn) {
				r := t.Reply()
				if t.Lost() || r.Code != 334 || len(r.Lines) != 1 {
					return
				}
				said := t.Step()
				if _, _, ok := cutResponse(t.Said()); ok {
					said++
				}
				if t.Mechanism() == "LOGIN" {
					r.Lines[0] = loginPrompt(r.Lines[0], said)
				} else if said == 0 && !isBase64(r.Lines[0]) {
					r.Lines[0] = ""
				}
			}}, nil
		},
	}
}

// loginPrompt returns the well-known prompt with the same meaning as text. If text does
// not show what it asks for, that follows from said, the number of lines the client has
// said.
func loginPrompt(text string, said int) string {
	switch {
	case said > 1:
		return text
	case strings.Contains(promptWords(text), "pass"):
		return passwordPrompt
	case asksForName(text), said == 0:
		return usernamePrompt
	}
	return passwordPrompt
}

// asksForName reports whether a prompt of AUTH LOGIN asks for the name.
func asksForName(text string) bool {
	words := promptWords(text)
	return (strings.Contains(words, "user") || strings.Contains(words, "name")) && !strings.Contains(words, "pass")
}

// promptWords returns the words of a prompt in lower case. text may be in base64 or not.
func promptWords(text string) string {
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
		text = string(decoded)
	}
	return strings.ToLower(text)
}

func isBase64(text string) bool {
	_, err := base64.StdEncoding.DecodeString(text)
	return err == nil
}
