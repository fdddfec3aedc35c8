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

// A said is what a line of a log tells.
type said struct {
	source Source
	key    string // of the session among those of the source
	side   transcript.Side
	sent   bool // side is not known: the program that wrote the log has sent it, or
	got    bool // has got it
	text   string
	octets int64  // of a message, in place of text; side is the client's
	whole  string // the message of octets; "": it is not there
	what   event
	inTLS  bool // of begins: the session is in TLS from its beginning
}

// An event is what happens besides lines.
type event int

const (
	none   event = iota
	begins       // of another session
	ends         // of the session
	lost         // the server has hung up
	wrote        // the message, whose text is not there
)

// A log is a file of lines that is being read.
type log struct {
	open   map[string]*list.Element // sessions, by source and key
	order  *list.List               // of them, those that were added to last at the end
	then   func(*Dialogue) error
	number int   // of the line
	failed error // of then, while a session began
	w3c    w3c
	texts  int // octets of messages that are kept
}

// An opened is a session of a log, and what is known of who wrote it.
type opened struct {
	*session
	name     string
	sentBy   transcript.Side // the side that the program that wrote the log is on; 0: not known
	goesOn   bool            // a line without a mark belongs to it: Exim's and sendmail's replies
	lastSide transcript.Side
}

// readLines reads the dialogues of a file that has lines.
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

// readLine reads a line without its end, and leaves out what is too much of it.
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

// line takes a line of the file.
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

// unmarked takes a line that may belong to a reply of which the lines before have told.
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

// said takes what a line tells.
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

// sideOf is who has said a line. Who wrote the log is told by the first line that it has
// sent or got: replies have codes.
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

// server takes a line of the server's, perhaps of another session.
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

// begin begins a session; the one that has waited longest ends if there are too many.
func (l *log) begin(key string, t said) *list.Element {
	if l.order.Len() >= maxOpen {
		l.failed = cmp.Or(l.failed, l.close(l.order.Front()))
	}
	o := &opened{session: newSession(t.source, fmt.Sprintf("line %d", l.number), &l.texts), name: key, goesOn: t.source == Sendmail}
	at := l.order.PushBack(o)
	l.open[key] = at
	return at
}

// close ends a session, and gives its dialogue.
func (l *log) close(at *list.Element) error {
	o := l.order.Remove(at).(*opened)
	delete(l.open, o.name)
	if d := o.end(); d != nil {
		return l.then(d)
	}
	return nil
}
