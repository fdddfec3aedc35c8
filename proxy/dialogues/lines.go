package dialogues

import (
	"bufio"
	"bytes"
	"cmp"
	"container/list"
	"fmt"
	"io"
	"strings"

	"smtpshim/rewrite/transcript"
)

// A said is the content of a line of a log.
type said struct {
	source Source
	key    string // identifies the session among those of the source
	side   transcript.Side
	sent   bool // side is unknown: the program that wrote the log has sent the line,
	got    bool // or has received it
	text   string
	octets int64  // size of a message, in place of text; side is the client
	whole  string // the text of that message; "": not in the log
	what   event
	inTLS  bool // with begins: the session is in TLS from its beginning
}

// An event is a log line that is not a line of the dialogue.
type event int

const (
	none   event = iota
	begins       // another session begins
	ends         // the session ends
	lost         // the server has hung up
	wrote        // the message was sent; its text is not in the log
)

// A log is a file of lines that is being read.
type log struct {
	open   map[string]*list.Element // open sessions, by source and key
	order  *list.List               // of the same sessions; the one added to last is at the end
	then   func(*Dialogue) error
	number int   // number of the present line
	failed error // an error of then at the beginning of a session
	w3c    w3c
	texts  int // octets of messages that are kept
}

// An opened is an open session of a log, and what is known of the program that wrote the
// log.
type opened struct {
	*session
	name     string
	sentBy   transcript.Side // the side of the program that wrote the log; 0: not known
	goesOn   bool            // a line without a mark belongs to it, as with replies in logs of Exim and sendmail
	lastSide transcript.Side
}

// readLines reads the dialogues of a file of lines, and calls then with each.
func readLines(in *bufio.Reader, then func(*Dialogue) error) error {
	l := &log{open: map[string]*list.Element{}, order: list.New(), then: then}
	for {
		line, err := readLine(in)
		if err != nil && err != io.EOF {
			return err
		}
		if line != "" || err == nil {
			l.number++
			if e := cmp.Or(l.line(line), l.failed); e != nil {
				return e
			}
		}
		if err == io.EOF {
			break
		}
	}
	for l.order.Len() > 0 {
		if err := l.close(l.order.Front()); err != nil {
			return err
		}
	}
	return nil
}

// readLine reads a line without its line end. It drops the excess of a long line.
func readLine(in *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part[:min(len(part), maxLine-len(line))]...)
		if err != bufio.ErrBufferFull {
			return string(bytes.TrimRight(line, "\r\n")), err
		}
	}
}

// line handles a line of the file.
func (l *log) line(text string) error {
	if t, ok := l.bare(text); ok {
		return l.said(t)
	}
	if l.w3c.directive(text) {
		return nil
	}
	if list := l.w3c.parse(text); list != nil {
		for _, t := range list {
			if err := cmp.Or(l.said(t), l.failed); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range formats {
		if !strings.Contains(text, f.has) {
			continue
		}
		if t, ok := f.parse(text); ok {
			return l.said(t)
		}
	}
	return l.unmarked(text)
}

// unmarked handles a line that may continue a reply.
func (l *log) unmarked(text string) error {
	if l.order.Len() == 0 {
		return nil
	}
	o := l.order.Back().Value.(*opened)
	reply := strings.TrimLeft(text, " ")
	if !o.goesOn || !isReply(reply) || o.d.Source == Exim && o.lastSide != transcript.Server {
		return nil
	}
	return l.server(o, l.order.Back(), reply)
}

// said handles the content of a log line.
func (l *log) said(t said) error {
	key := string(t.source) + " " + t.key
	at := l.open[key]
	if t.what == begins {
		var err error
		if at != nil {
			err = l.close(at)
		}
		o := l.begin(key, t).Value.(*opened)
		if t.inTLS {
			o.inTLS()
		}
		return err
	}
	if at != nil && at.Value.(*opened).anotherHello(t.text) {
		if err := l.close(at); err != nil {
			return err
		}
		at = nil
	}
	if at == nil {
		if t.what != none || t.text == "" {
			return nil
		}
		at = l.begin(key, t)
	}
	l.order.MoveToBack(at)
	o := at.Value.(*opened)
	o.line = l.number
	switch {
	case t.what == lost:
		o.lost()
		return l.close(at)
	case t.what == ends:
		return l.close(at)
	case t.what == wrote:
		o.endText(false)
		return nil
	case t.octets > 0:
		o.text(t.octets, t.whole)
		return nil
	}
	side := o.sideOf(t)
	o.goesOn, o.lastSide = t.source == Exim || t.source == Sendmail, side
	if side == transcript.Client {
		o.client(t.text)
		return nil
	}
	return l.server(o, at, t.text)
}

// sideOf returns the side that said a line. The side of the program that wrote the log
// follows from the first line that it has sent or received, because replies begin with a
// code.
func (o *opened) sideOf(t said) transcript.Side {
	if t.side != 0 {
		return t.side
	}
	if o.sentBy == 0 {
		o.sentBy = transcript.Client
		if t.sent == isReply(t.text) {
			o.sentBy = transcript.Server
		}
	}
	switch {
	case t.sent:
		return o.sentBy
	case o.sentBy == transcript.Client:
		return transcript.Server
	}
	return transcript.Client
}

// server handles a line of the server, which may belong to a new session.
func (l *log) server(o *opened, at *list.Element, text string) error {
	if o.greets(text) {
		if err := l.close(at); err != nil {
			return err
		}
		key, sentBy := o.name, o.sentBy
		at = l.begin(key, said{source: o.d.Source})
		next := at.Value.(*opened)
		next.sentBy, next.goesOn, next.lastSide = sentBy, o.goesOn, o.lastSide
		o = next
	}
	o.line = l.number
	o.server(text)
	if o.over {
		return l.close(at)
	}
	return nil
}

// begin begins a session. If too many are open, it closes the one that has waited
// longest.
func (l *log) begin(key string, t said) *list.Element {
	if l.order.Len() >= maxOpen {
		l.failed = cmp.Or(l.failed, l.close(l.order.Front()))
	}
	o := &opened{session: newSession(t.source, fmt.Sprintf("line %d", l.number), &l.texts), name: key, goesOn: t.source == Sendmail}
	at := l.order.PushBack(o)
	l.open[key] = at
	return at
}

// close ends a session, and calls then with its dialogue.
func (l *log) close(at *list.Element) error {
	o := l.order.Remove(at).(*opened)
	delete(l.open, o.name)
	if d := o.end(); d != nil {
		return l.then(d)
	}
	return nil
}
