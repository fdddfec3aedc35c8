package probe

import (
	"fmt"
	"regexp"
	"strings"
)

// A form is a fault in the form of a reply to any command.
type form struct {
	finding Finding
	has     func(e exchange) bool
}

// forms returns all forms. Those that make others undetectable come first.
func forms() []form {
	return []form{
		{Finding{Name: "line-ends", Kind: Fault, Entry: "L83", Rule: "reply-line-ends",
			Means: "lines of its replies do not end with CRLF, or have a CR or a NUL in them: strict clients wait for an end that does not come"}, oddEnds},
		{Finding{Name: "lines-without-code", Kind: Fault, Entry: "L84", Rule: "empty-reply-lines",
			Means: "it sends lines without a code in its replies, which are no SMTP: clients take the next reply for that of another command"}, codeless},
		{Finding{Name: "separators", Kind: Fault, Entry: "L84", Rule: "reply-separators",
			Means: "something other than a blank or a hyphen follows the code of a reply, and clients cannot read it"}, oddSeparators},
		{Finding{Name: "mixed-codes", Kind: Fault, Entry: "L81", Rule: "mixed-reply-codes",
			Means: "lines of one reply have different codes, and clients go by the first or by the last"}, mixed},
		{Finding{Name: "bare-codes", Kind: Fault, Entry: "L61", Rule: "reply-separators",
			Means: "a reply is a code and nothing else, not even a blank: some clients fail to read it"}, bareCode},
		{Finding{Name: "empty-texts", Kind: Fault, Entry: "L61", Rule: "reply-texts",
			Means: "a reply is a code without a text: some clients read a text and fail without it"}, emptyText},
		{Finding{Name: "early-end", Kind: Fault, Entry: "L82", Rule: "join-hello-replies",
			Means: "each line of its greeting or of its reply to EHLO looks like the last one, so clients stop after the first, and are a reply behind from then on"},
			func(e exchange) bool { return e.early }},
		{Finding{Name: "no-last-line", Kind: Fault, Entry: "L82", Rule: "unended-replies",
			Means: "the last line of a reply says that another follows, and none does: clients wait until their timeout"},
			func(e exchange) bool { return e.open }},
		{Finding{Name: "reply-texts", Kind: Fault, Entry: "L87", Rule: "plain-replies",
			Means: "lines of its replies are longer than 512 octets, or have octets that are not ASCII: some clients cut or refuse them"}, notPlain},
		{Finding{Name: "status-codes", Kind: Fault, Entry: "L85", Rule: "status-codes",
			Means: "the enhanced status code of a reply is of another class than its code: some clients go by it, and bounce what they should keep"}, contradicts},
	}
}

// lookAtForm reports faults in the form of a reply.
func (v *visit) lookAtForm(e exchange) {
	for _, f := range forms() {
		if f.has(e) {
			f.finding.Seen = seen(e)
			v.find(f.finding)
		}
	}
}

// lookAtUnasked reports a reply that answers nothing.
func (v *visit) lookAtUnasked(late reply) {
	if late.code == 421 || late.code == 0 {
		return
	}
	f := Finding{Name: "second-reply", Kind: Fault, Seen: seen(exchange{reply: late}),
		Means: "it sends a reply to no command, and clients take it for the reply to their next command"}
	if late.code/100 == 2 {
		f.Rule, f.Heals = "second-replies", "the rule second-replies drops a second positive reply"
	} else {
		f.Heals = "nothing: it is not known whether a refusal belongs to the command before or after it, so the session ends with 421"
	}
	v.find(f)
}

func oddEnds(e exchange) bool {
	for i, line := range e.lines {
		text, ok := strings.CutSuffix(line, "\r\n")
		cutOff := i == len(e.lines)-1 && !strings.HasSuffix(line, "\n")
		if !ok && !cutOff || strings.ContainsAny(text, "\r\x00") {
			return true
		}
	}
	return false
}

func codeless(e exchange) bool {
	for i, line := range e.lines {
		if codeOf(line) == 0 && (i < len(e.lines)-1 || strings.HasSuffix(line, "\n")) {
			return e.code != 0
		}
	}
	return false
}

func oddSeparators(e exchange) bool {
	for _, line := range e.lines {
		text := strings.TrimRight(line, "\r\n\x00")
		if codeOf(line) != 0 && len(text) > 3 && text[3] != ' ' && text[3] != '-' {
			return true
		}
	}
	return false
}

func mixed(e exchange) bool {
	for _, line := range e.lines {
		if code := codeOf(line); code != 0 && code != e.code {
			return true
		}
	}
	return false
}

func bareCode(e exchange) bool {
	return len(e.lines) == 1 && codeOf(e.lines[0]) != 0 && len(strings.TrimRight(e.lines[0], "\r\n")) == 3
}

// emptyText reports whether a reply lacks text. It ignores 334, whose text is a
// challenge, and the reply to EHLO, whose lines are keywords.
func emptyText(e exchange) bool {
	return !bareCode(e) && e.code != 0 && e.code != 334 && !isHello(e.command) && strings.TrimSpace(e.text()) == ""
}

func notPlain(e exchange) bool {
	for _, line := range e.lines {
		if len(line) > 512 || strings.ContainsFunc(line, func(c rune) bool { return c > '~' }) {
			return true
		}
	}
	return false
}

var status = regexp.MustCompile(`^([245])\.[0-9]{1,3}\.[0-9]{1,3}\b`)

func contradicts(e exchange) bool {
	if isHello(e.command) {
		return false
	}
	for i, text := range e.texts() {
		found, code := status.FindStringSubmatch(text), codeOf(e.lines[i])
		if found != nil && code/100 != 3 && fmt.Sprint(code/100) != found[1] {
			return true
		}
	}
	return false
}
