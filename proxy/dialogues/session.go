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
	line   int            // the present line of the file; 0: the file has no lines
	owed   []rewrite.Verb // verbs of commands whose replies have not come, oldest first
	inText bool           // DATA was accepted, and the message has not ended
	octets int64          // octets of the message that the file has
	lines  bool           // the file has the message as lines
	kept   []byte         // the message so far, if all of it could be kept
	partly bool           // a part of the message could not be kept
	eol    string         // the line ends of the message; "": CRLF
	texts  *int           // octets of messages kept for all sessions
	own    int            // octets of messages kept for this session
	rest   bool           // the server replied before the message ended: what remains of it is not a command
	tls    int            // the index in the dialogue at which TLS begins; 0: there is none
	over   bool           // QUIT was answered
	mailed bool           // MAIL was sent
}

// greetingMissing replaces a greeting that is not in the file.
const greetingMissing = "220 a greeting that was not recorded"

// newSession returns a new session. texts counts the octets of messages that are kept for
// all sessions being read.
func newSession(source Source, name string, texts *int) *session {
	return &session{d: Dialogue{Source: source, Name: name}, texts: texts}
}

// begun reports whether anything was said.
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

// client handles a line of the client.
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

// maxOwed is the largest number of commands that may await replies.
const maxOwed = 1000

// chunkSize returns the number of octets that follow a BDAT.
func chunkSize(text string) (n int64, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 2 || len(fields) > 3 || !strings.EqualFold(fields[0], "BDAT") {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[1], 10, 64)
	return n, err == nil && n >= 0
}

// text adds octets of a message that the file does not have as lines. whole is their text
// in wire format, "" if the file does not have it.
func (s *session) text(octets int64, whole string) {
	if s.inText {
		s.octets += octets
		s.keep(whole, "")
		s.partly = s.partly || whole == ""
	}
}

// keep keeps a part of the message.
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

// forget drops the message.
func (s *session) forget() {
	*s.texts -= len(s.kept)
	s.own -= len(s.kept)
	s.kept = nil
}

// endText ends a message. whole reports whether all of its text was added.
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

// server handles a line of the server.
func (s *session) server(text string) {
	s.rest = s.rest || s.inText && s.lines
	s.endText(!s.lines) // a log may lack the text, or the line that ends it
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

// isReply reports whether a line begins as a line of a reply does.
func isReply(text string) bool {
	return len(text) >= 3 && '2' <= text[0] && text[0] <= '5' && isDigit(text[1]) && isDigit(text[2]) && (len(text) == 3 || text[3] == ' ' || text[3] == '-')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// greets reports whether a line of the server is a greeting in the wrong place, so that
// it begins another session.
func (s *session) greets(text string) bool {
	return s.begun() && len(s.owed) == 0 && !s.inText && strings.HasPrefix(text, "220") && isReply(text) && !s.greetingGoesOn()
}

// greetingGoesOn reports whether only a part of the greeting has been said.
func (s *session) greetingGoesOn() bool {
	last := s.d.Dialogue[len(s.d.Dialogue)-1]
	return last.Side == transcript.Server && len(last.Text) > 3 && last.Text[3] == '-'
}

// lost records that the server hung up. If it owed a reply, the dialogue gets an event
// for that.
func (s *session) lost() {
	if s.begun() && !s.over && (len(s.owed) > 0 || s.inText) {
		s.inText = false
		s.add(transcript.Line{Text: "server lost"})
	}
	s.over = true
}

// end returns the dialogue; nil if only one side has said something. If lines inside TLS
// are known, they become the dialogue, with TLS on both sides from the beginning.
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

// moved returns the texts at indexes from from on, with by added to their indexes.
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

// inTLS records that the dialogue was inside TLS.
func (s *session) inTLS() {
	s.d.InTLS = true
	s.set("client_tls", "implicit")
	s.set("server_tls", "implicit")
}

// refusedGreeting reports whether the server has refused the session in its greeting.
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

// greetingOf returns a copy of the server's first lines.
func greetingOf(lines []transcript.Line) (greeting []transcript.Line) {
	for _, l := range lines {
		if l.Side != transcript.Server {
			break
		}
		greeting = append(greeting, l)
	}
	return greeting
}
