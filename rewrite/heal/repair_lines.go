package heal

import (
	"bytes"

	"smtpshim/rewrite"
)

// repairs returns the Setup of a rule that only repairs replies.
func repairs(f func(*rewrite.Repair)) func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
	return func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) { return rewrite.Actions{Repair: f}, nil }
}

func emptyReplyLines() rewrite.Rule {
	return rewrite.Rule{
		Name:  "empty-reply-lines",
		Heals: "servers that send an empty line, or one without a code, before, after or within a reply",
		Doc: "Such a line is no reply, and cannot be taken for one: the rule drops it. It drops a line with text and no code before a " +
			"reply if the reply follows within a second; otherwise the session ends, as with anything that is not SMTP.",
		Symptoms: []string{"421 4.3.0 server broke the protocol"},
		Source:   "internetstandards/Internet.nl#560; RFC 5321, 4.2",
		Entries:  []string{"L84"},
		Setup:    repairs(dropEmptyLines),
	}
}

// codelessWait is the time, in milliseconds, in which a reply may follow a line without a
// code.
const codelessWait = 1000

func dropEmptyLines(r *rewrite.Repair) {
	n, hasText := 0, false
	rest := r.Octets()
	l, behind, ok := cutLine(rest)
	for ok && l.code == nil && !l.hides {
		n, hasText, rest = n+len(l.whole), hasText || !l.isBlank(), behind
		l, behind, ok = cutLine(rest)
	}
	switch unasked := r.Unasked(); {
	case n == 0:
	case !hasText, unasked && !r.InMessage(), ok && !r.InMessage():
		r.Edit(n, nil)
		return
	case !unasked:
		r.Wait(codelessWait)
		return
	default:
		return
	}
	dropInnerLines(r)
}

// dropInnerLines removes the lines without a code from the first reply.
func dropInnerLines(r *rewrite.Repair) {
	var kept []byte
	n, dropped := 0, false
	for rest := r.Octets(); ; {
		l, behind, ok := cutLine(rest)
		if !ok {
			break
		}
		n, rest = n+len(l.whole), behind
		if l.hides {
			return
		}
		if l.code == nil {
			dropped = true
			continue
		}
		kept = append(kept, l.whole...)
		if !l.goesOn() {
			break
		}
	}
	if dropped && len(kept) > 0 {
		r.Edit(n, kept)
	}
}

func replyLineEnds() rewrite.Rule {
	return rewrite.Rule{
		Name:  "reply-line-ends",
		Heals: "servers whose replies end with LF, CR CR LF or a NUL, or have a bare CR or a NUL in them",
		Doc: "LF, with the CRs and NULs before it, ends a line of a reply, and becomes CRLF. A bare CR or a NUL within a line becomes a " +
			"blank, unless a code follows a bare CR: then the number of replies is not known. If the server hangs up before the last " +
			"line of a refusal has an end, the refusal counts all the same, except in reply to EHLO or HELO; a positive reply does not.",
		Symptoms: []string{"421 4.3.2 server not available", "421 4.3.0 server broke the protocol"},
		Source:   "RFC 5321, 2.3.8; Postfix and smtplib read such replies",
		Entries:  []string{"L83"},
		Setup:    repairs(endLines),
	}
}

func endLines(r *rewrite.Repair) {
	if isWellFormed(r.Octets()) {
		return
	}
	if r.Closed() && !bytes.HasSuffix(r.Octets(), []byte("\n")) {
		endRefusal(r)
		return
	}
	lines, n, _, ok := firstReply(r.Octets())
	if !ok {
		return
	}
	var made []byte
	for _, l := range lines {
		made = append(append(made, blankOut(l.text)...), "\r\n"...)
	}
	if !bytes.Equal(made, r.Octets()[:n]) {
		r.Edit(n, made)
	}
}

// endRefusal adds the missing line end to a refusal after which the server has hung up.
// Readers that accept a last line without an end take it for a reply, as Python's smtplib
// and Go's net/textproto do. It must be a whole refusal, and not one to a hello: a hello
// is sent again if the connection is lost, whereas a refusal could cost TLS.
func endRefusal(r *rewrite.Repair) {
	lines, n, whole, ok := firstReply(append(bytes.Clone(r.Octets()), '\n'))
	if !ok || !whole || n != len(r.Octets())+1 || hellos.Has(r.Awaited()) {
		return
	}
	var texts [][]byte
	for _, l := range lines {
		if l.code[0] < '4' || !bytes.Equal(l.code, lines[0].code) {
			return
		}
		text := blankOut(l.behind())
		if len(text) > 0 && (text[0] == ' ' || text[0] == '-') {
			text = text[1:]
		}
		texts = append(texts, text)
	}
	r.Replace(len(r.Octets()), replyOf(lines[0].code, texts))
}

// blankOut replaces bare CRs and NULs by blanks.
func blankOut(text []byte) []byte {
	if !bytes.ContainsAny(text, "\r\x00") {
		return text
	}
	return bytes.Map(func(c rune) rune {
		if c == '\r' || c == 0 {
			return ' '
		}
		return c
	}, text)
}

func replySeparators() rewrite.Rule {
	return rewrite.Rule{
		Name:  "reply-separators",
		Heals: "clients that need a blank and a text after the code of a reply, before servers that send a code alone, a TAB, or text right after the code",
		Doc: "`250<TAB>OK`, `250:OK` and `250OK` become `250 OK`. A code alone also gets a text; in a greeting, where the server's name " +
			"belongs, this is the proxy's name. A 334 gets only the blank, because its text is the challenge. Octets before the code " +
			"that are no text are dropped.",
		Symptoms: []string{"short response", "invalid response"},
		Source:   "RFC 5321, 4.2; Alinto/sope#68; rnwood/smtp4dev#1548",
		Entries:  []string{"L61", "L84", "L89"},
		Setup:    repairs(separateCodes),
	}
}

func separateCodes(r *rewrite.Repair) {
	lines, n, _, ok := firstReply(r.Octets())
	if !ok {
		return
	}
	var made []byte
	for _, l := range lines {
		made = append(made, l.code...)
		end := l.whole[len(l.text):]
		switch b := l.behind(); {
		case len(b) > 0 && b[0] == '-', len(b) > 0 && b[0] == ' ':
			made = append(made, b...)
		case len(b) > 0 && bytes.IndexByte([]byte("\t\v\f\x00\r:.,;=/_|"), b[0]) >= 0:
			made = append(append(made, ' '), bytes.TrimLeft(b[1:], " \t")...)
		case len(b) > 0:
			made = append(append(made, ' '), b...)
		case len(lines) == 1 && r.Awaited() == rewrite.VerbGreeting && l.code[0] == '2': // RFC 5321, 4.2: a greeting has a host name
			made = append(append(made, ' '), r.Hostname()...)
		case len(lines) > 1 && r.Awaited() != rewrite.VerbEHLO: // another line already has the text
			made = append(made, ' ')
		default:
			made = append(append(made, ' '), textFor(l.code)...)
		}
		made = append(made, end...)
	}
	if !bytes.Equal(made, r.Octets()[:n]) {
		r.Edit(n, made)
	}
}

// textFor returns a text for a reply that consists of a code alone.
func textFor(code []byte) string {
	switch {
	case string(code) == "334":
		return ""
	case string(code) == "354":
		return "go ahead"
	case code[0] >= '4':
		return "refused"
	}
	return "OK"
}
