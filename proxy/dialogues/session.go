package dialogues

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// A session is a dialogue that is being read.
type session struct {
	d      Dialogue
	cost   int
	line   int            // of the file, that is being read; 0: it has none
	owed   []rewrite.Verb // of commands whose replies have not come, oldest first
	inText bool           // DATA was accepted, and the message has not ended
	octets int64          // of the message, as far as the file has it
	lines  bool           // the file has lines of the message
	kept   []byte         // the message so far, if all of it could be kept
	partly bool           // not all of the message could be kept
	eol    string         // how lines of the message end; "": as they should
	texts  *int           // octets of messages that are kept, of all sessions
	own    int            // of them, of this one
	rest   bool           // the server answered before they ended, and the rest of them is no command
	tls    int            // where TLS begins, among the lines; 0: nowhere
	over   bool           // QUIT was answered
	mailed bool           // MAIL was said
}

// greetingMissing stands for a greeting that a file does not have.
const greetingMissing = "220 a greeting that was not recorded"

// newSession begins a session. texts counts the octets of messages that are kept, of all
// sessions that are read at the same time.
func newSession(source Source, name string, texts *int) *session {
	return &session{d: Dialogue{Source: source, Name: name}, texts: texts}
}

// begun says that something was said.
func (s *session) begun() bool { return len(s.d.Dialogue) > 0 }

// add adds a line or an event, if there is room.
func (s *session) add(l transcript.Line) {
	if s.d.Cut {
		return
	}
	if s.cost += len(l.Text) + lineCosts; s.cost > maxDialogue {
		s.d.Cut = true
		return
	}
	s.d.Dialogue = append(s.d.Dialogue, l)
	if s.line > 0 {
		s.d.Places = append(s.d.Places, s.line)
	}
}

// client takes a line of the client's.
func (s *session) client(text string) {
	switch {
	case text == "." && (s.inText || s.rest):
		s.endText(true)
		s.rest = false
		return
	case s.inText:
		s.octets += int64(len(text)) + 2
		s.lines = true
		s.keep(text, cmp.Or(s.eol, "\r\n"))
		return
	case s.rest:
		return
	}
	if !s.begun() {
		s.add(transcript.Line{Side: transcript.Server, Mark: transcript.Unchanged, Text: greetingMissing})
	}
	s.add(transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: text})
	v := rewrite.ParseVerb([]byte(text))
	s.mailed = s.mailed || v == rewrite.VerbMAIL
	if len(s.owed) < maxOwed {
		s.owed = append(s.owed, v)
	}
	if n, ok := chunkSize(text); ok && n > 0 {
		s.add(transcript.Line{Text: fmt.Sprintf("chunk %d bytes", n)})
	}
}

// maxOwed is how many commands may wait for their replies.
const maxOwed = 1000

// chunkSize is the number of octets that follow BDAT.
func chunkSize(text string) (n int64, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 2 || len(fields) > 3 || !strings.EqualFold(fields[0], "BDAT") {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[1], 10, 64)
	return n, err == nil && n >= 0
}

// text takes octets of a message that the file does not have as lines; whole is all of
// them, as they were on the wire, or "".
func (s *session) text(octets int64, whole string) {
	if s.inText {
		s.octets += octets
		s.keep(whole, "")
		s.partly = s.partly || whole == ""
	}
}

// keep keeps a part of a message.
func (s *session) keep(text, end string) {
	n := len(text) + len(end)
	if s.partly = s.partly || *s.texts+n > maxTexts; s.partly {
		s.forget()
		return
	}
	s.kept = append(append(s.kept, text...), end...)
	*s.texts += n
	s.own += n
}

// forget forgets the present message.
func (s *session) forget() {
	*s.texts -= len(s.kept)
	s.own -= len(s.kept)
	s.kept = nil
}

// endText is the end of a message; whole says that all of it has come.
func (s *session) endText(whole bool) {
	if !s.inText {
		return
	}
	before := len(s.d.Dialogue)
	s.add(transcript.Line{Text: fmt.Sprintf("message %d bytes", s.octets)})
	if whole && !s.partly && len(s.d.Dialogue) > before && (s.lines || s.kept != nil) {
		if s.d.Texts == nil {
			s.d.Texts = map[int]string{}
		}
		s.d.Texts[before] = string(s.kept) + ".\r\n"
		s.kept = nil
	} else {
		s.forget()
	}
	s.inText, s.octets, s.lines, s.partly = false, 0, false, false
	s.owed = append([]rewrite.Verb{rewrite.VerbMessage}, s.owed...)
}

// server takes a line of the server's.
func (s *session) server(text string) {
	s.rest = s.rest || s.inText && s.lines
	s.endText(!s.lines) // a log may leave the text out, or the line that ends it
	if !s.begun() {
		s.d.Greeted = true
	}
	s.add(transcript.Line{Side: transcript.Server, Mark: transcript.Unchanged, Text: text})
	if !isReply(text) || len(text) > 3 && text[3] == '-' || len(s.owed) == 0 {
		return
	}
	v := s.owed[0]
	s.owed = s.owed[1:]
	code := text[:3]
	switch {
	case v == rewrite.VerbDATA && code == "354":
		s.inText = true
	case v == rewrite.VerbSTARTTLS && code == "220":
		s.tls = len(s.d.Dialogue)
	case v == rewrite.VerbQUIT:
		s.over = true
	}
}

// isReply says that a line begins as one of a reply does.
func isReply(text string) bool {
	return len(text) >= 3 && '2' <= text[0] && text[0] <= '5' && isDigit(text[1]) && isDigit(text[2]) && (len(text) == 3 || text[3] == ' ' || text[3] == '-')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// greets says that a line of the server's is a greeting where none is due: that of
// another session.
func (s *session) greets(text string) bool {
	return s.begun() && len(s.owed) == 0 && !s.inText && strings.HasPrefix(text, "220") && isReply(text) && !s.greetingGoesOn()
}

// greetingGoesOn says that nothing was said yet but a part of the greeting.
func (s *session) greetingGoesOn() bool {
	last := s.d.Dialogue[len(s.d.Dialogue)-1]
	return last.Side == transcript.Server && len(last.Text) > 3 && last.Text[3] == '-'
}

// lost says that the server hung up where it owed a reply.
func (s *session) lost() {
	if s.begun() && !s.over && (len(s.owed) > 0 || s.inText) {
		s.inText = false
		s.add(transcript.Line{Text: "server lost"})
	}
	s.over = true
}

// end gives the dialogue; nil if nothing was said by both sides. Where lines within TLS
// are known, they are the dialogue, with TLS on both sides from the beginning.
func (s *session) end() *Dialogue {
	*s.texts -= s.own
	lines := s.d.Dialogue
	if s.tls > 0 && saidBy(lines[min(s.tls, len(lines)):], transcript.Client) {
		greeting := greetingOf(lines)
		s.d.Dialogue = append(greeting, lines[s.tls:]...)
		s.d.Texts = moved(s.d.Texts, s.tls, len(greeting)-s.tls)
		if s.d.Places != nil {
			s.d.Places = append(s.d.Places[:len(greeting):len(greeting)], s.d.Places[s.tls:]...)
		}
		s.inTLS()
	}
	if !saidBy(s.d.Dialogue, transcript.Client) && !s.refusedGreeting() {
		return nil
	}
	return &s.d
}

// moved are the texts of places from one on, by their new places.
func moved(texts map[int]string, from, by int) map[int]string {
	if texts == nil {
		return nil
	}
	at := map[int]string{}
	for place, text := range texts {
		if place >= from {
			at[place+by] = text
		}
	}
	return at
}

// inTLS says that what is told was said inside TLS.
func (s *session) inTLS() {
	s.d.InTLS = true
	s.set("client_tls", "implicit")
	s.set("server_tls", "implicit")
}

// refusedGreeting says that the server has turned the client away.
func (s *session) refusedGreeting() bool {
	return len(s.d.Dialogue) > 0 && s.d.Dialogue[0].Text >= "4" && isReply(s.d.Dialogue[0].Text)
}

func (s *session) set(key, value string) {
	if s.d.Settings == nil {
		s.d.Settings = map[string]string{}
	}
	s.d.Settings[key] = value
}

func saidBy(lines []transcript.Line, side transcript.Side) bool {
	for _, l := range lines {
		if l.Side == side {
			return true
		}
	}
	return false
}

// greetingOf is a copy of the lines with which the server begins.
func greetingOf(lines []transcript.Line) (greeting []transcript.Line) {
	for _, l := range lines {
		if l.Side != transcript.Server {
			break
		}
		greeting = append(greeting, l)
	}
	return greeting
}
