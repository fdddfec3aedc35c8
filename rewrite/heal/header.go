package heal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func headerFields() rewrite.Rule {
	return rewrite.Rule{
		Name:  "header-fields",
		Heals: "readers that want From on one line, refuse a Sender, or miss the Date or the Message-ID",
		Doc: "The rule changes the message's own header. It makes each field that `unfold` names one line, if that has no more than 998 " +
			"octets; it removes the fields that `remove` names; and it adds the fields of `add`, Date and Message-ID, before the empty " +
			"line if they are missing. A message that has no header at all then gets one. The Date is the time when the message is " +
			"passed on. A signature of the sender's (DKIM) that covers such a field may become invalid. The rule hides CHUNKING, so that " +
			"it sees every message, and removes SIZE from MAIL if it adds fields.",
		Symptoms: []string{"554 Originator address does not match authentication credential"},
		Source:   "Sendmail operations guide, SingleLineFromHeader; KB Q188250; KB Q199051; RFC 5322, 2.2.3 and 3.6",
		Entries:  []string{"L72", "L120"},
		Options: []rewrite.Option{
			{Name: "unfold", Default: []string{}, Doc: "the fields that become one line, as in [\"From\"]"},
			{Name: "remove", Default: []string{}, Doc: "the fields that are removed, as in [\"Sender\"]"},
			{Name: "add", Default: []string{}, Doc: "the fields that are added if they are missing: \"Date\", \"Message-ID\""},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			h := headerChange{unfold: o.List("unfold"), remove: o.List("remove"), add: o.List("add")}
			if len(h.unfold)+len(h.remove)+len(h.add) == 0 {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "unfold", Err: errors.New(`no field is named; write for example unfold = ["From"]`)}
			}
			for _, option := range []string{"unfold", "remove"} {
				for _, name := range o.List(option) {
					if name == "" || len(name) > maxFieldName || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || c == ':' }) {
						return rewrite.Actions{}, &rewrite.ConfigError{Option: option, Err: fmt.Errorf("%q is no name of a header field, such as \"From\"", name)}
					}
				}
			}
			for _, name := range h.add {
				if !hasFold(addable, name) {
					return rewrite.Actions{}, &rewrite.ConfigError{Option: "add", Err: fmt.Errorf(`%q cannot be added; "Date" and "Message-ID" can`, name)}
				}
			}
			a := rewrite.Actions{Offer: hideChunking, Message: h.begin}
			if len(h.add) > 0 {
				a.Commands, a.Command = rewrite.SetOf(rewrite.VerbMAIL), takeSIZEOut
			}
			return a, nil
		},
	}
}

// addable are the fields that header-fields can add (RFC 5322, 3.6.1 and 3.6.4).
var addable = []string{"Date", "Message-ID"}

func hasFold(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

const (
	maxFieldName = 77  // octets
	maxText      = 998 // octets of a line without its CRLF (RFC 5322, 2.1.1)
)

// A headerChange is the options of header-fields.
type headerChange struct{ unfold, remove, add []string }

// A headerReader edits the header of one message.
type headerReader struct {
	headerChange
	line    []byte   // the present line so far, at most maxText octets and CRLF
	mid     bool     // the beginning of the present line has been written
	fields  int      // number of fields so far
	seen    []string // fields of add that the header has
	drops   bool     // the present field is removed
	joins   bool     // the present field becomes one line, so its last CRLF is held back
	held    bool     // a CRLF is held back
	length  int      // octets of the output line so far, if joins
	over    bool     // the header has ended
	changed bool
}

func (h headerChange) begin(*rewrite.Text) rewrite.Filter {
	r := &headerReader{headerChange: h}
	return rewrite.Filter{
		Text: func(m *rewrite.Text, dst, src []byte) []byte {
			if r.over && len(r.line) == 0 {
				return src
			}
			out := r.text(m, dst, src)
			if r.changed {
				m.Applied()
			}
			return out
		},
		End: func(m *rewrite.Text) []byte { // for a message without an empty line
			if r.over {
				return nil
			}
			out := r.end(m, nil, false)
			if r.changed {
				m.Applied()
			}
			return out
		},
	}
}

// text appends to dst what replaces src. The header may end in src.
func (r *headerReader) text(m *rewrite.Text, dst, src []byte) []byte {
	for len(src) > 0 && !r.over {
		n := bytes.IndexByte(src, '\n') + 1
		ends := n > 0
		if !ends {
			n = len(src)
		}
		if room := maxText + len("\r\n") - len(r.line); n > room {
			n, ends = room, false
		}
		r.line = append(r.line, src[:n]...)
		src = src[n:]
		whole := len(r.line)
		switch {
		case ends:
		case whole < maxText+len("\r\n"):
			continue
		case r.line[whole-1] == '\r':
			whole--
		}
		dst = r.take(m, dst, r.line[:whole])
		r.line = append(r.line[:0], r.line[whole:]...)
	}
	if r.over {
		dst = append(append(dst, r.line...), src...)
		r.line = r.line[:0]
	}
	return dst
}

// take handles a line of the header, or a part of a long one.
func (r *headerReader) take(m *rewrite.Text, dst, line []byte) []byte {
	first := !r.mid
	text, ends := bytes.CutSuffix(line, []byte("\r\n"))
	r.mid = !ends
	folds := first && (line[0] == ' ' || line[0] == '\t')
	switch {
	case !first && r.drops, folds && r.drops:
		return dst
	case !first, folds && !r.joins:
		return r.pass(dst, text, ends)
	case folds: // unfold, unless the line would be too long
		if r.held && ends && r.length+len(text) <= maxText {
			r.held, r.changed = false, true
		} else {
			dst = r.release(dst)
		}
		return r.pass(dst, text, ends)
	case len(text) == 0 && ends:
		return append(r.end(m, dst, false), line...)
	}
	name, _, is := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	switch {
	case is && len(name) > 0 && !bytes.ContainsAny(name, " \t"):
	case r.fields == 0 && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))): // from a mailbox file
		return append(dst, line...)
	default: // many readers take this for the beginning of the body
		return append(r.end(m, dst, r.fields == 0), line...)
	}
	dst = r.release(dst)
	r.fields++
	field := string(name)
	if hasFold(r.add, field) {
		r.seen = append(r.seen, field)
	}
	if r.joins = hasFold(r.unfold, field); hasFold(r.remove, field) {
		r.drops, r.changed = true, true
		return dst
	}
	r.drops = false
	return r.pass(dst, text, ends)
}

// pass appends text of a field. It holds the line end back if that may have to be
// removed.
func (r *headerReader) pass(dst, text []byte, ends bool) []byte {
	dst = append(dst, text...)
	r.length += len(text)
	switch {
	case !ends:
	case r.joins:
		r.held = true
	default:
		dst, r.length = append(dst, "\r\n"...), 0
	}
	return dst
}

// release appends the line end that was held back.
func (r *headerReader) release(dst []byte) []byte {
	if r.held {
		dst = append(dst, "\r\n"...)
	}
	r.held, r.length = false, 0
	return dst
}

// end ends the header: it adds the missing fields and, if a body follows without a
// header, an empty line.
func (r *headerReader) end(m *rewrite.Text, dst []byte, body bool) []byte {
	dst = r.release(dst)
	r.over = true
	date, word, added := "", "", false
	for _, name := range addable {
		if !hasFold(r.add, name) || hasFold(r.seen, name) {
			continue
		}
		if word == "" {
			if date, word = m.Stamp(); word == "" {
				return dst
			}
		}
		value := date
		if name == "Message-ID" {
			value = "<" + word + "@" + m.Hostname() + ">"
		}
		dst = append(dst, name+": "+value+"\r\n"...)
		added, r.changed = true, true
	}
	if added && body {
		dst = append(dst, "\r\n"...)
	}
	return dst
}
