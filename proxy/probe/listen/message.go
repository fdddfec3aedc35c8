package listen

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// A text is what was seen of a message while it passed: numbers, and which fields its
// header has. Nothing else is kept.
type text struct {
	octets, lines int
	length        int // octets of the line so far, without its line end
	prev          byte
	body          bool // the empty line after the header has passed
	name          []byte
	named         bool // the name of the field is complete
	fields        map[string]bool

	crlfs                              int // number of lines that end with CRLF
	bareLF, bareCR, nul, long, longest int // the first line with the fault, from 1; longest: octets of the longest line
	undoubled                          int
	eight, eightHeader                 int
	crlf                               bool // the line before ended with CRLF
	lfEnd                              bool // the message ended with a dot between LFs
}

// wanted are the header fields that are looked for.
var wanted = []string{"date", "message-id", "from", "mime-version"}

// maxName is longer than the longest of these.
const maxName = 16

// write examines octets of the message, without doubled dots.
func (t *text) write(octets []byte) {
	for _, c := range octets {
		t.octets++
		if t.prev == '\r' && c != '\n' {
			first(&t.bareCR, t.lines+1)
		}
		switch {
		case c == '\n':
			t.endLine()
		case c == 0:
			first(&t.nul, t.lines+1)
		case c >= 0x80 && t.body:
			first(&t.eight, t.lines+1)
		case c >= 0x80:
			first(&t.eightHeader, t.lines+1)
		}
		if c != '\n' {
			t.length++
			if !t.body && !t.named {
				t.field(c)
			}
		}
		t.prev = c
	}
}

// field handles an octet of the name of a header field.
func (t *text) field(c byte) {
	switch {
	case c == ':' || len(t.name) == maxName:
		t.named = true
		for _, name := range wanted {
			if c == ':' && strings.EqualFold(name, string(bytes.TrimRight(t.name, blanks))) {
				if t.fields == nil {
					t.fields = map[string]bool{}
				}
				t.fields[name] = true
			}
		}
	case len(t.name) == 0 && strings.IndexByte(blanks, c) >= 0: // the continuation of a field
		t.named = true
	default:
		t.name = append(t.name, c)
	}
}

func (t *text) endLine() {
	t.lines++
	if t.crlf = t.prev == '\r'; t.crlf {
		t.length--
		t.crlfs++
	} else {
		first(&t.bareLF, t.lines)
	}
	if t.length > 998 {
		first(&t.long, t.lines)
	}
	t.longest = max(t.longest, t.length)
	t.body = t.body || t.length == 0
	t.length, t.name, t.named = 0, t.name[:0], false
}

// first sets n to the number of the line, unless it is set.
func first(n *int, line int) {
	if *n == 0 {
		*n = line
	}
}

func (s *session) data(said string) error {
	switch {
	case s.mail == nil:
		s.found(badOrder, said)
		return s.refuse("DATA", "503 5.5.1 MAIL first")
	case s.mail.rcpt == 0:
		s.found(badOrder, said)
		return s.refuse("DATA", "503 5.5.1 RCPT first")
	}
	if err := s.answer("DATA", oneLine354, "354", "end with CRLF.CRLF; nothing is delivered", said); err != nil {
		return err
	}
	s.shows("DATA")
	t := &text{}
	if err := s.readText(t); err != nil {
		return err
	}
	return s.verdict(t)
}

// readText reads a message to its end: CRLF.CRLF, or what its client means by that.
func (s *session) readText(t *text) error {
	start := true
	for {
		part, err := s.part()
		if err != nil {
			return err
		}
		if start && part[0] == '.' {
			switch string(part) {
			case ".\r\n":
				t.lfEnd = t.lines > 0 && t.crlfs == 0
				return nil
			case ".\n": // the end, if the client waits for a reply now
				if t.lfEnd = !s.speaks(s.of.pause(endOfText)); t.lfEnd {
					return nil
				}
			}
			if len(part) > 1 && part[1] != '.' && (t.lines == 0 || t.crlf) {
				first(&t.undoubled, t.lines+1)
			}
			part = part[1:]
		}
		if len(part) > 0 {
			t.write(part)
		}
		start = t.prev == '\n' && t.length == 0
	}
}

// bdat handles one chunk (RFC 3030).
func (s *session) bdat(command []byte, said string) error {
	words := strings.Fields(string(command))
	var n int
	var err error
	if len(words) > 1 {
		n, err = strconv.Atoi(words[1])
	}
	last := len(words) > 2
	if len(words) < 2 || err != nil || n < 0 || last && (len(words) > 3 || !strings.EqualFold(words[2], "LAST")) {
		s.found(badOrder, said)
		s.ended = "its BDAT cannot be read"
		s.say("501 5.5.4 BDAT wants a number of octets, and LAST or nothing\r\n")
		return errOver
	}
	if !s.offers() {
		s.found(badOrder, said)
	}
	t := &text{}
	if s.mail != nil && s.mail.text != nil {
		t = s.mail.text
	}
	if err := s.octets(n, t.write); err != nil {
		return err
	}
	s.shows("BDAT")
	switch {
	case s.mail == nil || s.mail.rcpt == 0:
		s.found(badOrder, said)
		return s.refuse("BDAT", "503 5.5.1 MAIL and RCPT first")
	case last:
		return s.verdict(t)
	}
	s.mail.text = t
	return s.answer("BDAT", row{}, "250", "2.0.0 chunk ok", said)
}

// judgeText reports faults of a complete message.
func (s *session) judgeText(t *text) {
	at := func(line int) string { return fmt.Sprintf("~ the message, line %d", line) }
	header := "~ the header of the message"
	for _, is := range []struct {
		seen bool
		row  row
		at   string
	}{
		{t.lfEnd, lfEnd, "~ the end of the message: LF.LF"},
		{t.bareLF > 0 && !t.lfEnd, bareLF, at(t.bareLF)},
		{t.bareCR > 0, bareCR, at(t.bareCR)},
		{t.nul > 0, nul, at(t.nul)},
		{t.long > 0, longLine, fmt.Sprintf("%s; the longest has %d octets", at(t.long), t.longest)},
		{t.undoubled > 0, dots, at(t.undoubled)},
		{t.eight > 0 && !t.fields["mime-version"], unlabelled, at(t.eight)},
		{t.eight > 0 && !s.mail.body8 && t.fields["mime-version"], undeclared, at(t.eight)},
		{t.eightHeader > 0 && !s.mail.utf8, eightHeader, at(t.eightHeader)},
		{!t.fields["date"], noDate, header},
		{!t.fields["message-id"], noID, header},
		{!t.fields["from"], noFrom, header},
	} {
		if is.seen {
			s.found(is.row, is.at)
		}
	}
}
