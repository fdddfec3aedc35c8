// Package mimetext changes the transfer encoding of the parts of a message (RFC 2045)
// while the message streams by. It knows nothing of SMTP but the dots that are doubled
// (RFC 5321, 4.5.2), and keeps no more than one header and one line.
//
// What is signed stays as it is: multipart/signed, multipart/encrypted and
// application/pkcs7-* with all that they contain, and, unless Plan.BreakSignatures is
// set, a message whose header has a signature of the body (DKIM, ARC). So does what
// cannot be read in one way only: a header with two Content-Types, say.
package mimetext

import (
	"bytes"
	"mime/quotedprintable"
)

const (
	maxHeader = 64 << 10 // octets of a header; a longer one, and all behind it, passes as it is
	maxDepth  = 32       // multiparts within multiparts; deeper ones pass as they are
	maxLine   = 1024     // octets of a line that are looked at together
	softLine  = 76       // octets of a line of an encoded part (RFC 2045, 6.7 and 6.8)
)

// Texts are the text parts that become quoted-printable.
type Texts uint8

const (
	NoTexts       Texts = iota
	LabelledTexts       // those whose Content-Transfer-Encoding is 8bit
	EveryText           // those without one, with 7bit and with 8bit
)

// A Plan says what a Writer does.
type Plan struct {
	Encode Texts

	// Label gives every part that has no Content-Transfer-Encoding, or 7bit, the label
	// 8bit, if it is text or contains other parts.
	Label bool

	// Charset is added to a text part that is encoded or labelled and names no charset,
	// or us-ascii. "": none is added.
	Charset string

	// Dots has a dot that begins a line of quoted-printable encoded (RFC 2045, 6.7).
	Dots bool

	// Prefix has a blank put before a dot that begins a line of text that is not encoded,
	// which changes what is read.
	Prefix bool

	// Break is the length, in octets, beyond which lines of quoted-printable and base64 are
	// broken. It is at least 78; 0: they are not broken.
	Break int

	BreakSignatures bool // also where DKIM-Signature and its like become invalid
}

// A Writer changes one message.
type Writer struct {
	plan    Plan
	line    []byte // the octets so far of a line that has not ended
	mid     bool   // the beginning of that line has been dealt with
	header  []byte // of the entity that begins; complete up to the last line
	inside  bool   // a header is being read
	top     bool   // it is that of the whole message
	message bool   // it is that of a message, not of a body part
	sealed  bool   // what follows passes as it is, to the end of the message
	stack   []enclosing
	leaf    treatment
	encoder *quotedprintable.Writer
	encoded bytes.Buffer
	changed bool
	eight   bool // an 8-bit octet of the body has gone out
	dots    bool // a line has gone out that begins with a dot
	unclear bool // an encoded part may have ended, or not
}

// An enclosing is a multipart whose parts are being read.
type enclosing struct {
	delimiter string // "--" and the boundary
	digest    bool   // its parts are messages (RFC 2046, 5.1.5)
}

// A treatment is what is done to the lines of a body.
type treatment uint8

const (
	asItIs   treatment = iota
	encode             // to quoted-printable
	quoted             // it is quoted-printable
	base64ed           // it is base64
	prefixed           // a blank goes before a dot that begins a line
)

// New returns a Writer that stands before the first octet of a message.
func New(plan Plan) *Writer { return &Writer{plan: plan, inside: true, top: true, message: true} }

// Changed reports whether anything was changed so far.
func (w *Writer) Changed() bool { return w.changed }

// EightBit reports whether an octet beyond ASCII has gone out so far, but for those in
// the message's own header.
func (w *Writer) EightBit() bool { return w.eight }

// Unclear reports whether readers may differ about where a part ends that was encoded so
// far. The message must not be passed on.
func (w *Writer) Unclear() bool { return w.unclear }

// LeadingDots reports whether a line has gone out so far that begins with a dot.
func (w *Writer) LeadingDots() bool { return w.dots }

// Append appends what becomes of src, which is text as on the wire: lines end with CRLF,
// which is never split, and a dot that begins one is doubled.
func (w *Writer) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		n := bytes.IndexByte(src, '\n') + 1
		ends := n > 0
		if !ends {
			n = len(src)
		}
		if room := maxLine - len(w.line); n > room { // the same parts, however src is split
			n, ends = room, false
		}
		if ends && len(w.line) == 0 {
			dst = w.take(dst, src[:n])
			src = src[n:]
			continue
		}
		w.line = append(w.line, src[:n]...)
		src = src[n:]
		whole := len(w.line)
		switch {
		case ends:
		case whole < maxLine:
			continue
		case w.line[whole-1] == '\r':
			whole--
		}
		dst = w.take(dst, w.line[:whole])
		w.line = append(w.line[:0], w.line[whole:]...)
	}
	return dst
}

// End appends what was held back. All of the message has been seen.
func (w *Writer) End(dst []byte) []byte {
	if w.inside { // a header without a body
		dst = w.passHeader(dst, w.header)
	}
	if len(w.line) > 0 {
		dst = w.take(dst, w.line)
	}
	w.header, w.line, w.inside = nil, nil, false
	return dst
}

// take deals with a line, or with a part of one that is long.
func (w *Writer) take(dst, line []byte) []byte {
	first, ends := !w.mid, line[len(line)-1] == '\n'
	w.mid = !ends
	if first && !w.sealed && len(w.stack) > 0 {
		if depth, last, ok := w.delimits(line); ok {
			return w.delimiter(dst, line, depth, last)
		}
		if w.sealed { // it cannot be told
			dst = w.passHeader(dst, w.header)
			w.header, w.inside = nil, false
		}
	}
	switch {
	case !w.inside:
		return w.body(dst, line, first)
	case first && len(line) == 2 && ends:
		return w.beginBody(append(dst, w.decide()...), line)
	}
	if w.header = append(w.header, line...); len(w.header) <= maxHeader {
		return dst
	}
	dst = w.passHeader(dst, w.header)
	w.header, w.inside, w.sealed, w.leaf = nil, false, true, asItIs
	return dst
}

// beginBody passes the empty line behind a header.
func (w *Writer) beginBody(dst, line []byte) []byte {
	w.header = w.header[:0]
	return append(dst, line...)
}

// passHeader passes a header as it is.
func (w *Writer) passHeader(dst, header []byte) []byte {
	if !w.top {
		w.noteHeader(header)
	}
	w.top = false
	return append(dst, header...)
}

// delimits reports whether a line is a delimiter of one of the multiparts, and of which.
// Where readers may differ, the rest of the message is sealed: RFC 2046, 5.1.1, has
// them look at the beginning of the line only, and many look at all of it.
func (w *Writer) delimits(line []byte) (depth int, last, ok bool) {
	if !bytes.HasPrefix(line, []byte("--")) {
		return 0, false, false
	}
	text := bytes.TrimRight(line, " \t\r\n")
	like := false
	for i := len(w.stack) - 1; i >= 0; i-- {
		rest, is := bytes.CutPrefix(text, []byte(w.stack[i].delimiter))
		switch {
		case !is:
		case len(rest) == 0:
			return i, false, true
		case string(rest) == "--":
			return i, true, true
		default:
			like = true
		}
	}
	if like {
		w.unclear = w.unclear || w.leaf == encode
		w.sealed, w.leaf, w.encoder = true, asItIs, nil
	}
	return 0, false, false
}

// delimiter passes a delimiter, and begins what is behind it.
func (w *Writer) delimiter(dst, line []byte, depth int, last bool) []byte {
	if w.inside { // the part has no body
		dst = w.passHeader(dst, w.header)
	}
	w.header = w.header[:0]
	w.stack, w.leaf, w.encoder = w.stack[:depth+1], asItIs, nil
	w.inside, w.message = !last, false
	if last {
		w.stack = w.stack[:depth]
	}
	w.mid = false
	if line[len(line)-1] != '\n' { // the blanks behind it go on
		w.mid, w.sealed, w.inside = true, true, false
	}
	return append(dst, line...)
}

// body deals with a line of a body, or with a part of one.
func (w *Writer) body(dst, line []byte, first bool) []byte {
	text := line
	if first && line[0] == '.' {
		text = line[1:]
	}
	switch {
	case w.leaf == encode:
		w.changed = true
		w.encoder.Write(text) // a bytes.Buffer takes everything
		for made := range bytes.Lines(w.encoded.Bytes()) {
			dst = w.quote(dst, made)
		}
		w.encoded.Reset()
		return dst
	case w.leaf == quoted && w.plan.Break > 0 && (len(text) > w.plan.Break+2 || !first || w.mid):
		w.changed = true
		return w.breakQuoted(dst, text, first)
	case w.leaf == quoted && first && w.plan.Dots && text[0] == '.':
		w.changed = true
		return w.quote(dst, text)
	case w.leaf == prefixed && first && text[0] == '.':
		w.changed = true
		dst = append(dst, ' ')
		w.note(text, false)
		return append(dst, text...)
	case w.leaf == base64ed && w.plan.Break > 0 && (len(text) > w.plan.Break+2 || !first || w.mid):
		w.changed = true
		return w.breakBase64(dst, text, first)
	}
	w.note(line, first)
	return append(dst, line...)
}

// note looks at what goes out as it came.
func (w *Writer) note(text []byte, first bool) {
	w.dots = w.dots || first && text[0] == '.'
	if !w.eight {
		w.eight = !isASCII(text)
	}
}

// noteHeader is note for a header.
func (w *Writer) noteHeader(header []byte) {
	for line := range bytes.Lines(header) {
		w.note(line, true)
	}
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
