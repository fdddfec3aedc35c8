package probe

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"smtpshim/proxy/provider"
)

// lookAtMail sends a MAIL that every server should accept, and another after RSET.
func (v *visit) lookAtMail() {
	if !v.session() {
		return
	}
	e := v.say("MAIL FROM:<" + v.Mail + ">")
	if !e.ok() {
		v.lookAtRefusal(e)
		return
	}
	reset := v.say("RSET")
	second := v.say("MAIL FROM:<" + v.Mail + ">")
	if !second.ok() {
		v.find(Finding{Name: "second-mail", Kind: Fault, Entry: "L49", Rule: "reset-before-mail", Seen: seen(e, reset, second),
			Means: "it accepts one MAIL in a session, and refuses the next although RSET has ended the transaction: the second message of a session is lost"})
		v.hangUp()
		return
	}
	v.say("RSET")
}

// wantsTLS matches a refusal that asks for TLS.
var wantsTLS = regexp.MustCompile(`(?i)\bSTARTTLS\b|\bTLS\b`)

// lookAtRefusal reports what the refusal of the first MAIL means.
func (v *visit) lookAtRefusal(e exchange) {
	v.refusing = "it refuses MAIL"
	if e.lost != nil {
		v.refusing = "it hangs up on MAIL"
		return
	}
	f := Finding{Name: "mail-refused", Kind: Note, Seen: seen(e), Means: "it refuses MAIL from " + Line('C', v.Mail)[3:],
		Heals: "nothing that smtpshim could change in the command; the text of the reply has the reason"}
	means, known := provider.Explain(e.code, e.text())
	switch {
	case wantsTLS.MatchString(e.text()) && (e.code == 530 || e.code == 505 || e.code == 503) && v.offer.has("STARTTLS"):
		v.refusing = "it accepts MAIL inside TLS only"
		f.Name, f.Kind, f.Setting = "tls-wanted", Strict, throughTLS
		f.Means = "it accepts mail inside TLS only, and old clients have none"
		f.Heals = "smtpshim uses TLS with it (server_tls), also for clients that have none; with require in place of opportunistic, smtpshim verifies its certificate"
		if e.code == 505 {
			f.Kind, f.Entry, f.Rule = Fault, "L107", "mend-505"
			f.Means += "; 505 is a code that clients do not know, and they return the mail"
		}
	case known:
		f.Means, f.Heals = means.Means, means.Do
	case e.code == 530 || e.code == 550 && strings.Contains(strings.ToLower(e.text()), "auth"):
		f.Means = "it accepts mail only after a login"
		f.Heals = "smtpshim can log in for clients that cannot: [[account]] and [[route.login]]"
	}
	v.find(f)
}

// A mailForm is a form of MAIL that some clients send.
type mailForm struct{ name, format string }

// mailForms returns all forms. The one that more servers refuse comes first: once a
// server has accepted blanks at the colon, the rule tidy-commands assumes for the session
// that it accepts them.
func mailForms() []mailForm {
	return []mailForm{{"L41", "MAIL FROM :<%s>"}, {"L41", "MAIL FROM: <%s>"}, {"L42", "MAIL FROM:%s"}, {"L43", "MAIL FROM:<<%s>>"},
		{"L44", "MAIL FROM:<@relay.example.com:%s>"}, {"L95", "mail from:<%s>"}, {"L95", "MAIL FROM:<%s> "}}
}

// lookAtMailForms reports all refused forms as one finding.
func (v *visit) lookAtMailForms() {
	var refused []exchange
	entry := ""
	for _, f := range mailForms() {
		e, ok := v.mail(fmt.Sprintf(f.format, v.Mail))
		if !ok {
			break
		}
		if e.refused() {
			refused = append(refused, e)
			if entry == "" {
				entry = f.name
			}
		}
	}
	if refused != nil {
		v.find(Finding{Name: "mail-forms", Kind: Strict, Entry: entry, Rule: "tidy-commands", Seen: seen(refused...),
			Means: "it refuses forms of MAIL that RFC 5321 does not allow, such as a blank before the address, and old clients send some of them"})
	}
}

// mail sends a MAIL in a session, and RSET after it. ok reports whether there was a
// session.
func (v *visit) mail(command string) (e exchange, ok bool) {
	if !v.session() {
		return e, false
	}
	e = v.say(command)
	if e.lost == nil {
		v.say("RSET")
	}
	return e, true
}

// A parameter is a parameter of MAIL, and the keyword that offers it.
type parameter struct{ keyword, text string }

func parameters() []parameter {
	return []parameter{{"SIZE", "SIZE=1000"}, {"8BITMIME", "BODY=8BITMIME"}, {"DSN", "RET=HDRS"}, {"SMTPUTF8", "SMTPUTF8"}, {"AUTH", "AUTH=<>"}}
}

// lookAtParameters sends each parameter by itself.
func (v *visit) lookAtParameters() {
	var strict []exchange
	for _, p := range parameters() {
		offered := v.offer.has(p.keyword)
		if p.keyword == "SMTPUTF8" && !offered {
			continue // clients do not send it then
		}
		e, ok := v.mail("MAIL FROM:<" + v.Mail + "> " + p.text)
		switch {
		case !ok:
			return
		case !e.refused():
		case !offered:
			strict = append(strict, e)
		case p.keyword == "AUTH":
			v.find(Finding{Name: "auth-parameter", Kind: Fault, Entry: "L37", Rule: "strip-parameters", Seen: seen(e),
				Means: "it offers AUTH and refuses MAIL with AUTH=<>, which clients send after a login"})
		default:
			f := Finding{Name: "untrue-" + strings.ToLower(p.keyword), Kind: Fault, Rule: "hide-keywords", Setting: hide(p.keyword), Seen: append(seen(v.hello), seen(e)...),
				Means: "it offers " + p.keyword + " and refuses MAIL with " + p.text + ": clients that use it send no mail"}
			f.Heals = "the rule hide-keywords hides " + p.keyword
			if p.keyword == "DSN" {
				f.Entry = "L52"
			}
			v.find(f)
		}
	}
	if strict != nil {
		v.find(Finding{Name: "parameters", Kind: Strict, Entry: "L40", Rule: "strip-parameters", Seen: seen(strict...),
			Means: "it refuses parameters of MAIL that it has not offered, as RFC 5321 allows, and some clients send them all the same"})
	}
}

func (v *visit) lookAtNullSender() {
	if e, ok := v.mail("MAIL FROM:<>"); ok && e.refused() {
		v.find(Finding{Name: "null-sender", Kind: Note, Entry: "L46", Seen: seen(e),
			Means: "it refuses the sender of bounces and reports, which are lost here"})
	}
}

// lookAtPipelining sends MAIL and RSET in one write (RFC 2920).
func (v *visit) lookAtPipelining() {
	if !v.offer.has("PIPELINING") {
		v.untried = "it does not offer PIPELINING"
		return
	}
	if !v.session() {
		return
	}
	command := "MAIL FROM:<" + v.Mail + ">"
	first := v.talk.send(command, command+"\r\nRSET\r\n")
	second := exchange{"RSET", v.talk.hear(v.talk.times.reply, false)}
	if first.lost != nil || second.lost != nil {
		v.find(Finding{Name: "pipelining", Kind: Fault, Entry: "L92", Rule: "hide-keywords", Setting: hide("PIPELINING"), Seen: seen(first, second),
			Means: "it offers PIPELINING and loses commands that arrive together: sessions hang", Heals: "the rule hide-keywords hides PIPELINING"})
	}
}

// lookAtMessage sends the message.
func (v *visit) lookAtMessage() {
	if !v.session() {
		return
	}
	all := []exchange{v.say("MAIL FROM:<" + v.Mail + ">")}
	for _, command := range []string{"RCPT TO:<" + v.To + ">", "DATA"} {
		if last := all[len(all)-1]; !last.ok() {
			break
		}
		all = append(all, v.say(command))
	}
	last := all[len(all)-1]
	if last.code != 354 {
		v.untried = "it refused " + Line('C', last.command)[3:] + ": " + strings.Join(seen(last)[1:], " | ")
		v.hangUp()
		return
	}
	if len(last.lines) > 1 {
		v.find(Finding{Name: "data-lines", Kind: Note, Entry: "L60", Rule: "join-data-reply", Seen: seen(last),
			Means: "it answers DATA in several lines, and old Windows and Exchange take the first for all of it"})
	}
	e := v.talk.send("", v.text()+".\r\n")
	v.lookAtForm(e)
	if e.refused() && tooLong.MatchString(e.text()) {
		f := Finding{Name: "long-lines", Kind: Fault, Entry: "L118", Rule: "long-lines", Setting: "options.long-lines.length = 254",
			Seen: append([]string{Line(0, "a message with lines of 300 and 900 octets")}, seen(e)...), Means: "it refuses messages with lines that RFC 5321 allows",
			Heals: "the rule long-lines folds longer lines"}
		if n, err := strconv.Atoi(number.FindString(e.text())); err == nil && n >= 78 && n < 998 {
			f.Setting = fmt.Sprintf("options.long-lines.length = %d", n)
		}
		v.find(f)
		return
	}
	if !e.ok() {
		v.untried = "it refused the message: " + strings.Join(seen(e), " | ")
	}
}

var (
	tooLong = regexp.MustCompile(`(?i)line.*\b(?:long|longer|length)\b|\blong\b.*line`)
	number  = regexp.MustCompile(`\b[0-9]{2,3}\b`)
)

// text returns the message with doubled dots (RFC 5321, 4.5.2) and without its final dot.
func (v *visit) text() string {
	return "From: <" + v.Mail + ">\r\nTo: <" + v.To + ">\r\nSubject: smtpshim probe\r\nAuto-Submitted: auto-generated\r\n\r\n" +
		"You, or somebody who has your address, examine this mail server with \"smtpshim probe\".\r\n" +
		"The message is complete if a line with one dot, a line that begins with two, and the\r\nword END follow.\r\n" +
		"..\r\n...two dots\r\n" + strings.Repeat("word ", 60) + "\r\n" + strings.Repeat("word ", 180) + "\r\nEND\r\n"
}
