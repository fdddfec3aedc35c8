package dialogues

import (
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
	rest   bool           // the server answered before they ended, and the rest of them is no command
	tls    int            // where TLS begins, among the lines; 0: nowhere
	over   bool           // QUIT was answered
}

// greetingMissing stands for a greeting that a file does not have.
const greetingMissing = "220 a greeting that was not recorded"

func newSession(source Source, name string) *session {
	return &session{d: Dialogue{Source: source, Name: name}}
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
		s.endText()
		s.rest = false
		return
	case s.inText:
		s.octets += int64(len(text)) + 2
		s.lines = true
		return
	case s.rest:
		return
	}
	if !s.begun() {
		s.add(transcript.Line{Side: transcript.Server, Mark: transcript.Unchanged, Text: greetingMissing})
	}
	s.add(transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: text})
	v := rewrite.ParseVerb([]byte(text))
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

// text takes octets of a message that the file does not have as lines.
func (s *session) text(octets int64) {
	if s.inText {
		s.octets += octets
	}
}

// endText is the end of a message.
func (s *session) endText() {
	if !s.inText {
		return
	}
	s.add(transcript.Line{Text: fmt.Sprintf("message %d bytes", s.octets)})
	s.inText, s.octets, s.lines = false, 0, false
	s.owed = append([]rewrite.Verb{rewrite.VerbMessage}, s.owed...)
}

// server takes a line of the server's.
func (s *session) server(text string) {
	s.rest = s.rest || s.inText && s.lines
	s.endText() // a log may leave the text out
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
	lines := s.d.Dialogue
	if s.tls > 0 && saidBy(lines[min(s.tls, len(lines)):], transcript.Client) {
		s.d.InTLS = true
		greeting := greetingOf(lines)
		s.d.Dialogue = append(greeting, lines[s.tls:]...)
		if s.d.Places != nil {
			s.d.Places = append(s.d.Places[:len(greeting):len(greeting)], s.d.Places[s.tls:]...)
		}
		s.set("client_tls", "implicit")
		s.set("server_tls", "implicit")
	}
	if !saidBy(s.d.Dialogue, transcript.Client) && !s.refusedGreeting() {
		return nil
	}
	return &s.d
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
