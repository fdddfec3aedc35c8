package journal

import (
	"slices"
	"time"

	"smtpshim/proxy"
	"smtpshim/rewrite/transcript"
)

// most is what is kept of the first lines of a long dialogue, and again of the
// last ones, in octets.
const most = 16 << 10

// usual is how many lines a dialogue with one message may have.
const usual = 20

// size is about what a line takes, in octets.
func (l Line) size() int { return 64 + len(l.Text) }

// A dialogue is a session with its lines: the first and the last, if there are
// many. It is not safe for concurrent use.
type dialogue struct {
	entry       Entry // without its lines
	first, last []Line
	octets      [2]int // of them
}

func begin(b proxy.Beginning) dialogue {
	return dialogue{entry: Entry{ID: b.Session, Route: b.Route, Client: b.Client, Began: b.At}}
}

// add keeps a line, with its time.
func (d *dialogue) add(said transcript.Line) Line {
	l := Line{time.Since(d.entry.Began), said}
	n := l.size()
	if d.last == nil && d.octets[0]+n <= most {
		if d.first == nil {
			d.first = make([]Line, 0, usual)
		}
		d.first = append(d.first, l)
		d.octets[0] += n
		return l
	}
	d.last = append(d.last, l)
	d.octets[1] += n
	for d.octets[1] > most && len(d.last) > 1 {
		d.octets[1] -= d.last[0].size()
		d.last[0] = Line{}
		d.last = d.last[1:]
		d.entry.Omitted++
	}
	return l
}

// whole is the session with its lines, as they are now.
func (d *dialogue) whole() Entry {
	e := d.entry
	if e.Lines = slices.Clip(d.first); d.last == nil {
		return e // what is added to d.first later does not show
	}
	if e.Omitted > 0 {
		e.Lines = append(e.Lines, Line{d.last[0].After, transcript.LeftOut(e.Omitted)})
	}
	e.Lines = append(e.Lines, d.last...)
	return e
}

// end says how the session was.
func (d *dialogue) end(e proxy.Ending) { d.entry.Ended, d.entry.End = true, e }

// Collect returns a listener that keeps a dialogue, of a long one the first and
// the last 16 KiB, and gives it to then when it has ended, to keep; then is on the
// path of the mail.
func Collect(b proxy.Beginning, then func(*Entry)) proxy.DialogueListener {
	return &collected{begin(b), then}
}

type collected struct {
	dialogue
	then func(*Entry)
}

func (c *collected) Line(l transcript.Line) { c.add(l) }

func (c *collected) End(e proxy.Ending) {
	c.end(e)
	c.entry = c.whole()
	c.then(&c.entry)
}
