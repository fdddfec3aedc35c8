package probe

import (
	"encoding/base64"
	"errors"
	"strings"
)

func (v *visit) lookAtNoop() {
	if !v.session() {
		return
	}
	plain := v.say("NOOP")
	switch {
	case plain.ok() && plain.code != 250:
		v.find(Finding{Name: "noop", Kind: Fault, Entry: "L53", Rule: "reply-codes", Seen: seen(plain),
			Means: "it answers NOOP with another code than 250: some clients take that for a fault, or for a greeting"})
	case !plain.ok():
		return
	}
	for _, f := range []struct {
		command string
		Finding
	}{
		{"noop", Finding{Name: "small-letters", Kind: Fault, Entry: "L95", Rule: "upper-case-verbs",
			Means: "it knows commands in upper case only, and some clients send them in lower case"}},
		{"NOOP ", Finding{Name: "trailing-blank", Kind: Fault, Entry: "L95", Rule: "tidy-commands",
			Means: "it refuses a command with a blank at its end, which some clients send"}},
	} {
		if !v.session() {
			return
		}
		if e := v.say(f.command); e.refused() {
			f.Seen = seen(plain, e)
			v.find(f.Finding)
		}
	}
}

// lookAtLineFeed sends a command that ends with LF alone. A little later it sends the
// CRLF that the server may be waiting for.
func (v *visit) lookAtLineFeed() {
	if !v.session() {
		return
	}
	v.talk.times.reply = v.Rest
	defer v.hangUp()
	e := v.talk.send("NOOP\n", "NOOP\n")
	if e.ok() || e.lost == nil && e.code == 0 {
		return
	}
	v.find(Finding{Name: "line-feed", Kind: Strict, Entry: "L63", Rule: "command-ends", Seen: seen(e),
		Means: "it does not accept a command that ends with LF alone, as RFC 5321 requires, and some scripts and devices send such commands"})
}

// lookAtAuth begins each login that is offered in clear, and cancels it. It sends no name
// and no password.
func (v *visit) lookAtAuth() {
	if !v.offer.has("AUTH") && !v.offer.has("AUTH=") {
		v.untried = "it does not offer a login in clear"
		return
	}
	if v.offer.mechanism("LOGIN") {
		v.lookAtPrompt("LOGIN", func(challenge string) bool {
			decoded, err := base64.StdEncoding.DecodeString(challenge)
			return err == nil && string(decoded) == "Username:"
		}, Finding{Name: "login-prompt", Kind: Note, Entry: "L31", Rule: "auth-prompts",
			Means: "its prompt for AUTH LOGIN is not \"Username:\" in base64, and some clients compare it letter by letter"})
	}
	if v.offer.mechanism("NTLM") {
		v.lookAtPrompt("NTLM", func(challenge string) bool {
			_, err := base64.StdEncoding.DecodeString(challenge)
			return err == nil
		}, Finding{Name: "ntlm-prompt", Kind: Fault, Entry: "L34", Rule: "auth-prompts",
			Means: "its answer to AUTH NTLM is a text for people, where RFC 4954 has base64: clients that decode it fail to log in"})
	}
}

// errAsksOn ends a conversation with a server that continues a cancelled login.
var errAsksOn = errors.New("it goes on with a login that was cancelled")

// lookAtPrompt begins a login, and reports f if its challenge is wrong.
func (v *visit) lookAtPrompt(mechanism string, right func(challenge string) bool, f Finding) {
	if !v.session() {
		return
	}
	e := v.say("AUTH " + mechanism)
	switch {
	case e.code == 334:
		if !right(strings.TrimSpace(e.texts()[0])) {
			f.Seen = seen(e)
			v.find(f)
		}
		if v.say("*").code/100 == 3 { // the server takes the next line for a password, even QUIT
			v.talk.lost = errAsksOn
			v.hangUp()
		}
	case e.code == 500 || e.code == 502 || e.code == 504:
		v.find(Finding{Name: "auth-untrue", Kind: Note, Seen: append(seen(v.hello), seen(e)...),
			Means: "it offers AUTH " + mechanism + " and does not know it: clients that choose it do not log in",
			Heals: "nothing for the other logins; if none works, hide AUTH: " + hide("AUTH")})
	}
}

// lookAtHelp also looks at the reply to an unknown command.
func (v *visit) lookAtHelp() {
	if !v.session() {
		return
	}
	e := v.say("HELP")
	v.help = e.reply
	var behind exchange
	if e.refused() {
		behind = v.say("NOOP")
	}
	switch {
	case v.hungUp():
		v.find(Finding{Name: "unknown-hangs-up", Kind: Fault, Entry: "L110", Seen: seen(e, behind),
			Means: "it hangs up on a command that it does not know: clients that try one, such as EHLO or RSET, lose the session",
			Heals: "nothing for all commands: rules keep EHLO from it, and smtpshim can answer others itself, by hide-keywords and its option refuse"})
	case e.ok() && e.code != 211 && e.code != 214 && e.code != 250 && e.code != 252:
		v.find(Finding{Name: "help", Kind: Note, Entry: "L53", Rule: "reply-codes", Seen: seen(e),
			Means: "it answers HELP with another code than 211 or 214"})
	}
}
