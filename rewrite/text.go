package rewrite

import (
	"bytes"
	"fmt"
	"strings"
)

// A Text is a rule's view of one message on its way from the client to the server. The
// client sends it by DATA, or by BDAT if a rule has called [Turn.AsData] for it. A
// message that is sent on by BDAT has no Text.
type Text struct {
	Session

	reader     Message
	stuffer    Stuffer
	stuffed    []byte // the last output of stuffer; nil between chunks
	filters    []textFilter
	applied    ruleSet
	refusal    string // the reply that the client gets in place of the server's; "": none
	octets     int64  // read so far, as the client sent them
	inBody     bool   // the empty line after the header has passed
	endsHeader bool   // the present piece contains that empty line
	midLine    bool   // the last piece ended within a line
	changes    bool   // a filter may change the text
}

// A Filter is what a rule does to one message. Any function may be nil.
type Filter struct {
	// Text returns the octets to send in place of src, a piece of the message. The
	// result may be src or a part of it, or be made in dst[:0], which does not overlap
	// src, or be memory of the rule's own. The result may be empty: Text may hold
	// octets back, and return them in a later call or leave them to End. Text must not
	// write to src, and the engine does not write to the result.
	//
	// src and the result are in wire format: lines end with CRLF, and a dot at the
	// start of a line is doubled (RFC 5321, 4.5.2). src may end within a line, but not
	// between CR and LF. It belongs either to the header, with the empty line after it,
	// or to the body: see [Text.Body]. The line that ends the message is not part of
	// it.
	//
	// A rule's Message function is called for each message, so what Text keeps from
	// piece to piece can be in its closure.
	Text func(m *Text, dst, src []byte) []byte

	// End returns what Text has held back. It is called once, after all text, unless the
	// message is refused or does not reach its end.
	End func(m *Text) []byte

	// Look is called after each piece of the message until the message is refused, even
	// if nothing of the piece is sent. It cannot change the text, but may call methods
	// of m such as [Text.Refuse].
	Look func(m *Text)
}

// textFilter is a rule's Filter with the buffer for its text, and the place within a
// line where its text so far ends.
type textFilter struct {
	Filter
	rule     int
	room     []byte
	at       textPlace
	compared *comparison // nil: all text so far has passed as it was
}

// A textPlace is the place of the next octet of text within its line.
type textPlace uint8

const (
	textStart textPlace = iota // at the start of a line
	textDot                    // after a dot that begins a line
	textInLine
)

// Text returns the message that is in transit. If there is none, Text begins one, and
// calls the rules' Message functions for it.
func (d *Dialogue) Text() *Text {
	if d.text == nil {
		d.text = d.newText()
	}
	return d.text
}

func (d *Dialogue) newText() *Text {
	m := d.spare
	if m == nil {
		m = &Text{}
	}
	filters := m.filters[:0]
	*m, d.spare = Text{}, nil
	m.d = d
	if d.policy.Rules == nil || d.policy.Rules.messages == 0 {
		return m
	}
	if m.filters = filters; filters == nil {
		m.filters = make([]textFilter, 0, d.policy.Rules.messages)
	}
	for i := range d.policy.Rules.rules {
		rule := &d.policy.Rules.rules[i]
		if rule.Message == nil || !d.acts(i) {
			continue
		}
		m.rule = i
		var f Filter
		lf, applied, refusal := m.reader.LF, m.applied, m.refusal
		if why := contained(func(m *Text) { f = rule.Message(m) }, m); why != "" {
			m.reader.LF, m.applied, m.refusal = lf, applied, refusal
			d.broke(i, why)
			continue
		}
		m.changes = m.changes || f.Text != nil || f.End != nil
		m.filters = append(m.filters, textFilter{Filter: f, rule: i})
	}
	return m
}

// EndsAtLF makes a bare LF end a line, so that LF.LF ends the message. Only
// Actions.Message may call it, and only for clients that are known to end their messages
// like this. For any other client, one message could become two.
func (m *Text) EndsAtLF() { m.reader.LF = true }

// Octets returns the number of octets of the message so far, as the client sent them.
// The present piece counts, and so does the line of one dot once it has come.
func (m *Text) Octets() int64 { return m.octets }

// Stamp returns the present time as a date of RFC 5322, 3.3, and a word of letters and
// digits that is different on each call: see [Policy.Stamp]. Both are "" if
// Policy.Stamp is nil.
func (m *Text) Stamp() (date, word string) {
	if stamp := m.d.policy.Stamp; stamp != nil {
		return stamp()
	}
	return "", ""
}

// Stray returns the number of bare CRs, bare LFs and NULs that were replaced or removed
// so far.
func (m *Text) Stray() int64 { return m.reader.Mended() + m.stuffer.Mended() }

// LFs returns the number of bare LFs so far that ended a line. It is 0 without EndsAtLF.
func (m *Text) LFs() int64 { return m.reader.LFs() }

// Body reports whether the src of the present call of a [Filter.Text] belongs to the
// body of the message. If it is false, src belongs to the header.
func (m *Text) Body() bool { return m.inBody }

// Applied makes the rule that calls it count as having changed this message: see
// [Listener.Applied]. A rule whose Filter.Text or Filter.End changes the text counts
// without calling it.
func (m *Text) Applied() { m.applied.add(m.rule) }

// Refuse refuses the message. The client gets r at the end of the message, or of the
// chunk if the message comes by BDAT. The server never receives the end of the message.
// r has one line and a code of 4xx or 5xx. If several rules refuse the message, the
// first refusal holds.
func (m *Text) Refuse(r Reply) {
	if m.refusal != "" {
		return
	}
	why := replyFault(r, Reply{Code: 400})
	if why == "" && len(r.Lines) != 1 {
		why = fmt.Sprintf("a reply of %d lines, which may have one", len(r.Lines))
	}
	if why != "" {
		m.d.broke(m.rule, "refusing a message: "+why)
		return
	}
	m.Applied()
	m.refusal = strings.TrimSuffix(string(r.appendTo(nil)), "\r\n")
}

// Changes reports whether any rule has a filter that may change the text, and so make
// it longer.
func (m *Text) Changes() bool { return m.changes }

// Mends reports whether, even without filters, the text to send may differ from what
// the client sent: line ends or NULs were replaced, or EndsAtLF was called.
func (m *Text) Mends() bool { return m.Stray() > 0 || m.reader.LF }

// Refusal returns the reply, without CRLF, by which the message is refused. It is ""
// unless a rule has refused the message, has panicked, or has made text that is not
// allowed.
func (m *Text) Refusal() string { return m.refusal }

// Next takes src, the next octets of a message that comes by DATA, and returns out, the
// octets to send in their place, as changed by the rules' filters. n is how many octets
// of src are done with, and end is true if they include the end of the message. If
// Refusal is not "" after the call, the caller sends nothing of out. For dst, and for
// when to call Next again, see [Message.Next].
func (m *Text) Next(dst, src []byte) (out []byte, n int, end bool) {
	out, n, end = m.reader.Next(dst, src)
	m.octets += int64(n)
	m.d.observed.text(src[:n])
	return m.pass(out, end), n, end
}

// Stuff takes src, the next octets of a message that comes by BDAT, and returns the
// octets to send by DATA, as changed by the rules' filters. The result is valid until the
// next call.
func (m *Text) Stuff(src []byte) []byte {
	m.octets += int64(len(src))
	m.stuffed = m.stuffer.Append(m.stuffed[:0], src)
	return m.pass(m.stuffed, false)
}

// StuffEnd returns the octets to send after those of the last Stuff. They end with the
// line of one dot that ends the message.
func (m *Text) StuffEnd() []byte { return m.pass(m.stuffer.End(nil), true) }

const lastLine = ".\r\n"

// pass runs the filters on a piece of the message.
func (m *Text) pass(out []byte, end bool) []byte {
	if m.refusal != "" || len(m.filters) == 0 {
		return out
	}
	text := out
	if end {
		text = out[:len(out)-len(lastLine)]
	}
	changed := text
	if m.changes && len(text) > 0 {
		changed = m.filter(text)
	}
	if end && m.changes {
		changed = m.endFilters(changed)
		m.checkLastLine()
		m.countChanges()
	}
	if !same(changed, text) {
		if out = changed; end {
			out = append(changed[:len(changed):len(changed)], lastLine...)
		}
	}
	for i := range m.filters {
		if f := &m.filters[i]; f.Look != nil {
			m.rule = f.rule
			if why := contained(f.Look, m); why != "" {
				m.broken(f.rule, why)
			}
		}
	}
	return out
}

// filter runs the filters on text, which may contain the end of the header and the
// beginning of the body.
func (m *Text) filter(text []byte) []byte {
	header := 0
	if !m.inBody {
		header = m.headerEnd(text)
	}
	m.midLine = !bytes.HasSuffix(text, crlf)
	if header == 0 || header == len(text) {
		made := m.filterPart(text)
		m.inBody = m.inBody || header > 0 && m.endsHeader
		return made
	}
	head := bytes.Clone(m.filterPart(text[:header]))
	m.inBody = true
	body := m.filterPart(text[header:])
	if same(body, text[header:]) && bytes.Equal(head, text[:header]) {
		return text
	}
	return append(head, body...)
}

// endFilters appends to the last text what the filters have held back. Each such part
// passes the later filters. last may be in the buffer of one of them.
func (m *Text) endFilters(last []byte) []byte {
	owned := false
	for i := range m.filters {
		f := &m.filters[i]
		if f.End == nil || m.refusal != "" {
			continue
		}
		if !owned {
			last, owned = bytes.Clone(last), true
		}
		m.rule = f.rule
		var made []byte
		why := contained(func(m *Text) { made = f.End(m) }, m)
		m.compare(f, nil, made)
		if why == "" {
			why = textFault(made)
		}
		if why == "" && f.follow(made) {
			why = "it made the line that ends a message"
		}
		if why != "" {
			m.broken(f.rule, why)
			continue
		}
		last = append(last, m.filterFrom(i+1, made)...)
	}
	return last
}

// filterPart runs each filter on text of one part of the message, and checks the result.
func (m *Text) filterPart(text []byte) []byte { return m.filterFrom(0, text) }

// filterFrom is filterPart for the filters from index first on.
func (m *Text) filterFrom(first int, text []byte) []byte {
	for i := first; i < len(m.filters) && len(text) > 0; i++ {
		f := &m.filters[i]
		if f.Text == nil || m.refusal != "" {
			continue
		}
		m.rule = f.rule
		made := text
		why := contained(func(m *Text) { made = f.Text(m, f.room[:0], text[:len(text):len(text)]) }, m)
		m.compare(f, text, made)
		if !same(made, text) {
			f.makeRoom(len(made))
		}
		if why == "" { // the same memory may have been written to
			why = textFault(made)
		}
		if why == "" && f.follow(made) {
			why = "it made the line that ends a message"
		}
		if why != "" {
			m.broken(f.rule, why)
			return text
		}
		text = made
	}
	return text
}

// checkLastLine refuses a message whose last line has lost its line end: the server
// would take the final dot for a part of that line.
func (m *Text) checkLastLine() {
	for i := range m.filters {
		if f := &m.filters[i]; f.at != textStart && m.refusal == "" {
			m.broken(f.rule, "it left the last line of a message without its end")
		}
	}
}

// makeRoom grows the buffer to the n octets that the filter has just returned. It
// does not keep what the filter returned, which may be a part of src or the rule's own.
func (f *textFilter) makeRoom(n int) {
	if n > cap(f.room) {
		f.room = make([]byte, 0, 2*n)
	}
}

// follow updates the place after text, and reports whether a line that is a single dot
// ends in text and begins before it or at its start.
func (f *textFilter) follow(text []byte) (endsMessage bool) {
	rest, at := text, f.at
	if i := bytes.LastIndexByte(text, '\n'); i >= 0 {
		rest, at = text[i+1:], textStart
	}
	before := f.at
	switch {
	case len(rest) == 0:
		f.at = at
	case at == textStart && string(rest) == ".":
		f.at = textDot
	default:
		f.at = textInLine
	}
	return before == textDot && bytes.HasPrefix(text, crlf) || before == textStart && bytes.HasPrefix(text, []byte(lastLine))
}

// broken refuses a message of which a rule has made something that is not allowed: the
// part that is already sent cannot be undone.
func (m *Text) broken(rule int, why string) {
	m.d.broke(rule, why)
	if m.refusal == "" {
		m.refusal = "451 4.3.0 the message cannot be passed on, try again later"
	}
}

// textFault says why text may not be part of a message; "" if it may. Otherwise
// another reader could see a line or the message end elsewhere (promise 4).
func textFault(text []byte) string {
	ends := bytes.Count(text, crlf)
	switch {
	case bytes.Count(text, crlf[:1]) != ends || bytes.Count(text, crlf[1:]) != ends:
		return "it made text with a bare CR or a bare LF"
	case bytes.IndexByte(text, 0) >= 0:
		return "it made text with a NUL"
	case bytes.Contains(text, []byte("\r\n.\r\n")):
		return "it made the line that ends a message"
	}
	return ""
}

// same reports whether made and text are the same memory.
func same(made, text []byte) bool {
	return len(made) == len(text) && (len(text) == 0 || &made[0] == &text[0])
}

// headerEnd returns how many octets of text are header, with the empty line after it.
func (m *Text) headerEnd(text []byte) int {
	if !m.midLine && bytes.HasPrefix(text, crlf) {
		m.endsHeader = true
		return len(crlf)
	}
	if i := bytes.Index(text, []byte("\r\n\r\n")); i >= 0 {
		m.endsHeader = true
		return i + 4
	}
	return len(text)
}

// endText ends the present message, whether or not the server got it.
func (d *Dialogue) endText() {
	d.observed.endText()
	m := d.text
	d.text, d.spare = nil, m
	if m == nil || m.applied.empty() {
		return
	}
	d.departed(m.applied)
	d.event(fmt.Sprintf("message changed or refused by %s", d.policy.Rules.nameSet(m.applied)))
}
