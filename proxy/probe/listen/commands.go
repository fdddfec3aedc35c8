package listen

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// blanks are the octets that lenient servers accept as a blank in a command.
const blanks = " \t\v\f"

// shown returns a command for printing, without what may be a secret. Of an unknown
// command it only returns the first word.
func (s *session) shown(text []byte) string {
	verb := rewrite.ParseVerb(text)
	start := len(text) - len(bytes.TrimLeft(text, blanks))
	word, hidden := string(text), ""
	if n := bytes.IndexAny(text[start:], blanks+"=:"); n >= 0 {
		word, hidden = string(text[:start+n]), string(bytes.Trim(text[start+n:], blanks))
	}
	switch verb {
	case rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS:
		s.saysAUTH = true
		mechanism, response := mechanismOf(verb, text)
		if hidden = response; mechanism != "" {
			word += " " + mechanism
		}
	case rewrite.VerbOther:
		if s.saysAUTH {
			return fmt.Sprintf("~ a line of %d octets that is not shown", len(text))
		}
	default:
		return printed(string(text))
	}
	if hidden != "" {
		word += fmt.Sprintf(" (%d octets that are not shown)", len(hidden))
	}
	return printed(word)
}

// judgeLine reports faults of a command as a line.
func (s *session) judgeLine(l line, said string) {
	verb := rewrite.ParseVerb(l.text)
	switch {
	case l.long || len(l.text) > maxCommand && verb != rewrite.VerbAUTH:
		s.found(tooLong, said)
	case heal.OtherProtocol(l.text):
		s.found(web, said)
		s.ended = "it speaks another protocol"
		return
	case len(bytes.Trim(l.text, blanks)) == 0:
		s.found(blank, "C: "+strconv.Quote(string(l.text)+l.end))
		return
	}
	if l.end != "\r\n" {
		s.found(lineEnd, said, "~ it ends with "+strconv.Quote(l.end))
	}
	if bytes.ContainsAny(l.text, "\r\x00") {
		s.found(badOctet, said)
	}
	if word := bytes.TrimLeft(l.text, blanks); verb != rewrite.VerbOther && !bytes.HasPrefix(word, []byte(verb.String())) {
		s.found(small, said)
	}
	_, found := heal.Untidy(l.text)
	for _, fault := range found {
		s.found(untidy[fault], said)
	}
}

// maxCommand is the length, in octets, of the longest command outside of exchanges that
// the proxy accepts by default.
const maxCommand = 4094

// judgeAhead reports whether a client has sent more without waiting for the reply to a
// command.
func (s *session) judgeAhead(verb rewrite.Verb, said string) {
	n := s.r.Buffered()
	if n == 0 {
		return
	}
	octets, _ := s.r.Peek(n)
	next, _, _ := bytes.Cut(octets, []byte("\n"))
	next = bytes.Trim(next, blanks+"\r")
	seen := []string{said, s.shown(next), "~ both before the reply"}
	switch {
	case len(next) == 0, rewrite.SetOf(rewrite.VerbQUIT, rewrite.VerbBDAT, rewrite.VerbSTARTTLS, rewrite.VerbOther).Has(verb):
	case verb == rewrite.VerbDATA:
		s.found(textAhead, said, fmt.Sprintf("~ %d octets of the message before the 354", n))
	case (verb == rewrite.VerbEHLO || verb == rewrite.VerbHELO) && rewrite.ParseVerb(next) == rewrite.VerbQUIT:
		s.found(quitAhead, seen...)
	case !s.offers() || s.is&twoLines != 0 || !rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT, rewrite.VerbRSET).Has(verb):
		s.found(ahead, seen...)
	default:
		s.shows("PIPELINING")
	}
}

// judgeHello reports faults of EHLO or HELO.
func (s *session) judgeHello(verb rewrite.Verb, argument, said string) {
	s.judgeName(argument, said)
	if s.introduced {
		s.found(ehloAgain, said)
	}
	switch {
	case verb != rewrite.VerbHELO:
		s.seen.ehlo = true
	case s.seen.ehlo:
	case s.is&noESMTP == 0:
		s.found(helloOnly, said)
	case s.knew.ehlo:
		s.found(needsESMTP, "S: 220 "+s.of.Hostname+" ...", said)
	}
}

// judgeName reports faults of the name in EHLO or HELO.
func (s *session) judgeName(argument, said string) {
	name := strings.Trim(argument, blanks+"=:")
	faults := heal.HelloFaults(name)
	for _, fault := range faults {
		s.found(badHello[fault], said)
	}
	if faults != nil {
		return
	}
	if argument != " "+name {
		s.found(helloRow("blanks", "there are blanks too many around the name in its EHLO or HELO"), said)
	}
	if !strings.ContainsAny(name, ".[") {
		s.found(oneLabel, said)
	}
}

// transactionParams are the parameters that the listener offers, by verb.
var transactionParams = map[rewrite.Verb][]string{
	rewrite.VerbMAIL: {"SIZE", "BODY", "AUTH", "RET", "ENVID", "SMTPUTF8"},
	rewrite.VerbRCPT: {"NOTIFY", "ORCPT"},
}

// path parses MAIL or RCPT and reports faults.
func (s *session) path(verb rewrite.Verb, text []byte, said string) rewrite.Path {
	tidied, _ := heal.Untidy(text)
	p, ok := rewrite.ParsePath([]byte(tidied))
	if !ok || !strings.HasPrefix(p.Address, "<") {
		s.found(badPath, said)
	}
	for _, parameter := range p.Params {
		keyword := p.Keyword(parameter)
		if !s.offers() || !slices.Contains(transactionParams[verb], keyword) {
			s.found(param, said)
			continue
		}
		if keyword == "BODY" {
			keyword = strings.ToUpper(parameter)
		}
		if len(keyword) < 32 {
			s.shows("%s", strings.TrimPrefix(printed(keyword), "C: "))
		}
	}
	return p
}

func (s *session) mailCommand(text []byte, said string) error {
	switch {
	case s.introduced:
	case s.secure && s.seen.ehlo:
		s.found(noEHLOInTLS, "~ TLS", said)
	default:
		s.found(noHello, said)
	}
	s.introduced = true // do not report further commands because of that
	if s.mail != nil {
		s.found(badOrder, said)
	}
	p := s.path(rewrite.VerbMAIL, text, said)
	s.mail = &mail{}
	for _, parameter := range p.Params {
		_, value, _ := strings.Cut(parameter, "=")
		switch p.Keyword(parameter) {
		case "BODY":
			s.mail.body8 = !strings.EqualFold(value, "7BIT")
		case "SMTPUTF8":
			s.mail.utf8 = true
		}
	}
	return s.answer("MAIL", oneLineReader, "250", "2.1.0 sender ok", said)
}

func (s *session) rcpt(text []byte, said string) error {
	if s.mail == nil {
		s.found(badOrder, said)
		return s.refuse("RCPT", "503 5.5.1 MAIL first")
	}
	s.path(rewrite.VerbRCPT, text, said)
	s.mail.rcpt++
	return s.answer("RCPT", oneLineReader, "250", "2.1.5 recipient ok", said)
}

// verdict answers the end of a message.
func (s *session) verdict(t *text) error {
	s.judgeText(t)
	s.through, s.mail = true, nil
	if s.of.Accept {
		return s.answer(endOfText, oneLineReader, "250", "2.0.0 thrown away: this is a test and nothing is delivered", "~ the end of a message")
	}
	return s.answer(endOfText, oneLineReader, "554", "5.7.1 this is a test; nothing was delivered", "~ the end of a message")
}
