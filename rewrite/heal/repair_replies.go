package heal

import (
	"bytes"
	"strconv"

	"smtpshim/rewrite"
)

func mixedReplyCodes() rewrite.Rule {
	return rewrite.Rule{
		Name:  "mixed-reply-codes",
		Heals: "servers whose replies have different codes in their lines, such as a greeting of 220- and 521",
		Doc: "The code of the last line counts, as in Postfix, and all lines get it. If the last line is of a better class than another " +
			"one, the session ends: such a reply must not become a positive one.",
		Symptoms: []string{"421 4.3.2 server not available"},
		Source:   "RFC 5321, 4.2.1; vert-x3/vertx-mail-client#81",
		Entries:  []string{"L04", "L81"},
		Setup:    repairs(takeLastCode),
	}
}

func takeLastCode(r *rewrite.Repair) {
	lines, n, whole, ok := firstReply(r.Octets())
	if !ok || !whole || len(lines) < 2 {
		return
	}
	last, mixed := lines[len(lines)-1].code, false
	for _, l := range lines {
		mixed = mixed || !bytes.Equal(l.code, last)
		if last[0] == '3' && l.code[0] == '3' && !bytes.Equal(l.code, last) {
			return
		}
	}
	if !mixed || last[0] < classOf(lines) {
		return
	}
	var made []byte
	for _, l := range lines {
		made = append(append(made, last...), l.whole[l.junk+len(l.code):]...)
	}
	r.Edit(n, made)
}

func longReplyLines() rewrite.Rule {
	return rewrite.Rule{
		Name:  "long-reply-lines",
		Heals: "servers whose replies have lines longer than `limits.reply_line`, which otherwise end the session",
		Doc: "The rule cuts the text into lines of at most 510 octets with their CRLF, each with the code; RFC 5321 lets a client expect " +
			"512. A keyword of an EHLO reply keeps the parameters for which its line has room, and AUTH gets a further line for the " +
			"others. A 334 is not cut: `limits.sasl_line` bounds it. A reply may have 64 KiB.",
		Symptoms: []string{"421 4.3.0 server broke the protocol"},
		Source:   "RFC 5321, 4.5.3.1.5",
		Entries:  []string{"L87"},
		Setup:    repairs(cutLongLines),
	}
}

// maxReplyLine is the length of the longest line that cutLongLines makes, with CRLF.
// Clients must accept 512 octets (RFC 5321, 4.5.3.1.5), but some read a line of 512 as
// two.
const maxReplyLine = 510

func cutLongLines(r *rewrite.Repair) {
	octets := r.Octets()
	if len(octets) <= r.Limit() || bytes.HasPrefix(octets, []byte("334")) {
		return
	}
	lines, n, whole, ok := firstReply(octets)
	if !whole {
		rest := octets[n:]
		if l, _, _ := cutLine(append(bytes.Clone(rest), '\n')); l.isReadable() && (ok || bytes.IndexByte(rest, '\n') < 0) {
			r.Await()
		}
		return
	}
	longest := 0
	for _, l := range lines {
		longest = max(longest, len(l.whole))
	}
	if longest <= r.Limit() {
		return
	}
	var texts [][]byte
	for i, l := range lines {
		text := l.behind()
		if len(text) > 0 {
			text = text[1:]
		}
		switch isKeyword := r.Awaited() == rewrite.VerbEHLO && l.code[0] == '2'; {
		case len(l.whole) <= r.Limit():
			texts = append(texts, text)
		case isKeyword && i == 0:
			texts = append(texts, cutText(text)[0])
		case isKeyword:
			texts = append(texts, cutKeyword(text)...)
		default:
			texts = append(texts, cutText(text)...)
		}
	}
	r.Edit(n, replyOf(lines[len(lines)-1].code, texts))
}

// replyOf returns a reply with these texts in wire format.
func replyOf(code []byte, texts [][]byte) (made []byte) {
	for i, text := range texts {
		sep := byte('-')
		if i == len(texts)-1 {
			sep = ' '
		}
		made = append(append(append(append(made, code...), sep), text...), "\r\n"...)
	}
	return made
}

// roomForText is the length of the longest text of such a line.
const roomForText = maxReplyLine - len("250 \r\n")

// cutText splits a text into pieces that fit a line. It splits at blanks if there are
// any, and never inside a UTF-8 character. Each piece gets the enhanced status code of
// the first (RFC 2034, 4).
func cutText(text []byte) (pieces [][]byte) {
	status, _, _ := bytes.Cut(text, []byte(" "))
	if !isStatus(string(status)) || len(status) > len("5.999.999") { // RFC 3463, 2
		status = nil
	}
	for len(text) > roomForText {
		at := bytes.LastIndexByte(text[:roomForText+1], ' ')
		if at <= max(len(status), roomForText/2) {
			at = runeStart(text, roomForText)
		}
		pieces = append(pieces, text[:at])
		text = bytes.TrimLeft(text[at:], " ")
		if len(status) > 0 {
			text = bytes.Join([][]byte{status, text}, []byte(" "))
		}
	}
	return append(pieces, text)
}

// cutKeyword splits a keyword line at its blanks. AUTH continues in further lines. For
// other keywords, parameters that do not fit are dropped.
func cutKeyword(text []byte) (lines [][]byte) {
	words := bytes.Fields(text)
	if len(words) == 0 || len(words[0]) > roomForText {
		return nil // no client could use such a line
	}
	line := bytes.Clone(words[0])
	for _, word := range words[1:] {
		if len(line)+1+len(word) > roomForText {
			if !bytes.EqualFold(words[0], []byte("AUTH")) || len(words[0])+1+len(word) > roomForText {
				continue
			}
			lines, line = append(lines, line), bytes.Clone(words[0])
		}
		line = append(append(line, ' '), word...)
	}
	return append(lines, line)
}

func joinHelloReplies() rewrite.Rule {
	return rewrite.Rule{
		Name:  "join-hello-replies",
		Heals: "servers whose greeting or EHLO reply has a blank after every code, as if each line were a reply",
		Doc: "Lines with the same code that have arrived when the first one is read are lines of the same reply, because no other command " +
			"was sent. `second-replies` drops lines that arrive later. The rule remembers such a server for a day, and then holds back " +
			"its EHLO reply of one line for a fifth of a second.",
		Symptoms: []string{"421 4.3.0 server broke the protocol"},
		Source:   "RIPE-NCC/whois#1713; RFC 5321, 4.2.1",
		Entries:  []string{"L82", "L84"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Repair: joinHellos, State: func() any { return new(helloReplyState) }}, nil
		},
	}
}

// A helloReplyState is the state of join-hello-replies in a session.
type helloReplyState struct{ ehlo bool } // the last reply that the rule saw answers EHLO

const (
	lateHello     = "late"
	lateHelloWait = 200 // milliseconds
)

func joinHellos(r *rewrite.Repair) {
	octets := r.Octets()
	lines, n, whole, ok := firstReply(octets)
	state := r.State().(*helloReplyState)
	if r.Unasked() {
		if state.ehlo && ok && whole && r.Last() == 250 && string(lines[0].code) == "250" {
			r.Remember(lateHello, dayLong)
		}
		return
	}
	state.ehlo = r.Awaited() == rewrite.VerbEHLO
	if !state.ehlo && r.Awaited() != rewrite.VerbGreeting || !ok || !whole || lines[0].code[0] != '2' {
		return
	}
	var texts [][]byte
	for rest := octets; len(rest) > 0; {
		l, behind, ended := cutLine(rest)
		if rest = behind; !ended { // the line end has not come yet
			r.Wait(lateHelloWait)
			return
		}
		switch text := l.behind(); {
		case l.isBlank():
		case !l.isReadable() || !bytes.Equal(l.code, lines[0].code):
			return
		case len(text) > 0 && (text[0] == ' ' || text[0] == '-' || text[0] == '\t'):
			texts = append(texts, blankOut(text[1:]))
		default:
			texts = append(texts, blankOut(text))
		}
	}
	switch {
	case len(texts) > len(lines):
		r.Replace(len(octets), replyOf(lines[0].code, texts))
	case state.ehlo && n == len(octets) && len(lines) == 1 && r.Remembers(lateHello):
		r.Wait(lateHelloWait)
	}
}

func unendedReplies() rewrite.Rule {
	return rewrite.Rule{
		Name:  "unended-replies",
		Heals: "servers whose EHLO reply, greeting or reply to HELO ends with a line that says that another follows",
		Doc: "InterLock answers EHLO with a lone line `250-Hello`, and client and proxy wait for the next one. If nothing more arrives in " +
			"the time of the option `wait`, the last line ends the reply. A server that is only slow is out of step then, and its " +
			"session ends: limit the rule to servers that are known for this fault with the option `banner`.",
		Symptoms: []string{"250-Hello", "421 4.4.2 no answer from server in time"},
		Source:   "KB Q228725; nmap service probes (Canon imageRUNNER); RFC 5321, 4.2.1",
		Entries:  []string{"L82", "L115", "L125"},
		Options: []rewrite.Option{{Name: "wait", Default: int64(2000), Most: 5000,
			Doc: "milliseconds without further data, after which the reply counts as complete; less than 100 counts as 100"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			wait := max(o.Number("wait"), 100)
			return repairs(func(r *rewrite.Repair) { endHello(r, wait) })(o)
		},
	}
}

// endHello ends a reply whose last line announces another.
func endHello(r *rewrite.Repair, wait int64) {
	switch r.Awaited() {
	case rewrite.VerbGreeting, rewrite.VerbEHLO, rewrite.VerbHELO:
	default:
		return
	}
	lines, n, whole, ok := firstReply(r.Octets())
	if !ok || whole || n != len(r.Octets()) {
		return
	}
	var texts [][]byte
	for _, l := range lines {
		if !bytes.Equal(l.code, lines[0].code) {
			return
		}
		texts = append(texts, l.behind()[1:])
	}
	if r.Quiet() < wait {
		r.Wait(wait)
		return
	}
	r.Replace(n, replyOf(lines[0].code, texts))
}

func secondReplies() rewrite.Rule {
	return rewrite.Rule{
		Name:  "second-replies",
		Heals: "servers that send two positive replies to one command or message",
		Doc: "A second positive reply that arrives before another command was sent has no new information: the rule drops it. In the " +
			"middle of a message it drops nothing, and a reply of another class ends the session once the client has the first.",
		Symptoms: []string{"421 4.3.0 server broke the protocol", "the same message is delivered again and again"},
		Source:   "buggregator/server#274; RFC 1047",
		Setup: repairs(func(r *rewrite.Repair) {
			if !r.Unasked() || r.InMessage() || r.Last()/100 != 2 || !isWellFormed(r.Octets()) {
				return
			}
			lines, n, _, ok := firstReply(r.Octets())
			if !ok {
				return
			}
			if code := lines[0].code; code[0] == '2' && string(code) != "221" {
				r.Replace(n, nil)
			}
		}),
	}
}

func lastWords() rewrite.Rule {
	return rewrite.Rule{
		Name:  "last-words",
		Heals: "servers that send 451, 221 or 500 to an idle client before they hang up, where RFC 5321 has 421",
		Doc: "The client gets 421 with the server's text, which it cannot take for the reply to its next command. A 221 to anything but " +
			"QUIT is such a goodbye too.",
		Symptoms: []string{"421 4.3.0 server broke the protocol", "451 4.7.0 Timeout waiting for client input"},
		Source:   "RFC 5321, 3.8; scout.rt#1986; filtermail#143; nodemailer#9",
		Entries:  []string{"L14"},
		Setup: repairs(func(r *rewrite.Repair) {
			if !isWellFormed(r.Octets()) {
				return
			}
			lines, n, _, ok := firstReply(r.Octets())
			if !ok {
				return
			}
			code, _ := strconv.Atoi(string(lines[0].code))
			switch v := r.Awaited(); {
			case r.Unasked() && r.Closed() && code != 421:
			case code == 221 && v != rewrite.VerbOther && !answersMessage.Has(v):
			default:
				return
			}
			var texts [][]byte
			for _, l := range lines {
				texts = append(texts, temporary(bytes.TrimLeft(l.behind(), " -")))
			}
			r.Replace(n, replyOf([]byte("421"), texts))
		}),
	}
}

// answersMessage is the set of verbs whose 221 stays unchanged: it is a goodbye that was
// asked for, or a yes to a message, which must not become a refusal.
var answersMessage = rewrite.SetOf(rewrite.VerbQUIT, rewrite.VerbMessage, rewrite.VerbBDAT)

// temporary changes the class of the enhanced status code in text, if it has one, to 4.
func temporary(text []byte) []byte {
	status, _, _ := bytes.Cut(text, []byte(" "))
	if !isStatus(string(status)) {
		return text
	}
	return append([]byte("4"), text[1:]...)
}
