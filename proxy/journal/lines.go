package journal

import (
	"slices"
	"time"

	"smtpshim/proxy"
	"smtpshim/rewrite/transcript"
)

// most is the number of octets that are kept of the first lines of a long dialogue, and
// of the last ones.
const most = 16 << 10

// usual is the number of lines in a dialogue with one message.
const usual = 20

// size returns about how many octets of memory a line takes.
func (l Line) size() int { return 64 + len(l.Text) }

// A dialogue is a session with its lines, or with the first and last of many. It is not
// safe for concurrent use.
type dialogue struct {
	entry       Entry // without Lines
	first, last []Line
	octets      [2]int // octets of first and last
}

func begin(b proxy.Beginning) dialogue { return dialogue{entry: newEntry(b)} }

func newEntry(b proxy.Beginning) Entry {
	return Entry{ID: b.Session, Route: b.Route, Client: b.Client, Began: b.At}
}

// end sets the ending.
func (e *Entry) end(ending proxy.Ending) { e.Ended, e.End = true, ending }

// add adds a line, with its time.
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

// whole returns the session with its lines so far.
func (d *dialogue) whole() Entry {
	e := d.entry
	if e.Lines = slices.Clip(d.first); d.last == nil {
		return e // lines added to d.first later are beyond its length
	}
	if e.Omitted > 0 {
		e.Lines = append(e.Lines, Line{d.last[0].After, transcript.LeftOut(e.Omitted)})
	}
	e.Lines = append(e.Lines, d.last...)
	return e
}

// Collect returns a listener that collects the dialogue of the session that begins with
// b. Of a long dialogue it keeps the first and the last 16 KiB. When the session ends,
// the listener calls done with the session's Entry, which has no Setup. done may keep
// and change the Entry. The proxy waits for done, so done must not block.
func Collect(b proxy.Beginning, done func(*Entry)) proxy.DialogueListener {
	return &collected{begin(b), done}
}

type collected struct {
	dialogue
	then func(*Entry)
}

func (c *collected) Line(l transcript.Line) { c.add(l) }

func (c *collected) End(e proxy.Ending) {
	c.entry.end(e)
	c.entry = c.whole()
	c.then(&c.entry)
}
