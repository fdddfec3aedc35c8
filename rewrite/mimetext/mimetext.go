// Package mimetext changes the transfer encoding of the parts of a message (RFC 2045)
// while the message passes. Dots at the beginning of lines are doubled in its input and
// output, as in SMTP (RFC 5321, 4.5.2). A Writer holds at most one header and one line
// in memory.
//
// Signed and encrypted content is not changed: multipart/signed, multipart/encrypted
// and application/pkcs7-*, with all that they contain. A message whose header has a
// signature of the body (DKIM, ARC) is changed only if Plan.BreakSignatures is set.
// Content that readers may interpret differently, such as a part with two Content-Type
// fields, is not changed either.
package mimetext

import (
	"bytes"
	"mime/quotedprintable"
)

const (
	maxHeader = 64 << 10 // octets of a header; a longer one is not changed, nor is what follows it
	maxDepth  = 32       // nesting depth of multiparts; deeper ones are not changed
	maxLine   = 1024     // octets of a line that are looked at together
	softLine  = 76       // octets of a line of an encoded part (RFC 2045, 6.7 and 6.8)
)

// Texts says which text parts become quoted-printable.
type Texts uint8

const (
	NoTexts       Texts = iota
	LabelledTexts       // parts whose Content-Transfer-Encoding is 8bit
	EveryText           // parts whose Content-Transfer-Encoding is missing, 7bit or 8bit
)

// A Plan says what a Writer changes. The zero Plan changes nothing.
type Plan struct {
	Encode Texts

	// Label sets Content-Transfer-Encoding to 8bit where it is missing or 7bit, in every
	// part that is text or contains other parts.
	Label bool

	// Charset becomes the charset of each text part that is encoded or labelled, if the
	// part has none or us-ascii. If Charset is "", charsets are not changed.
	Charset string

	// Dots encodes a dot at the beginning of a line of quoted-printable (RFC 2045, 6.7).
	Dots bool

	// Prefix inserts a blank before a dot at the beginning of a line of text that is not
	// encoded. This changes the text.
	Prefix bool

	// Break is the length, in octets, above which lines of quoted-printable and base64
	// are broken. It is at least 78, or 0 if no line is to be broken.
	Break int

	// BreakSignatures changes messages also if their header has a signature of the
	// body, such as DKIM-Signature, which the change makes invalid.
	BreakSignatures bool
}

// A Writer changes one message as a Plan says. Append takes the pieces of the message,
// and End ends it.
type Writer struct {
	plan    Plan
	line    []byte // octets of a line that has not ended
	mid     bool   // the beginning of that line has been written
	header  []byte // of the entity that begins, up to the last complete line
	inside  bool   // a header is being read
	top     bool   // it is the header of the whole message
	message bool   // it is the header of a message, not of a body part
	sealed  bool   // nothing is changed any more, to the end of the message
	stack   []enclosing
	leaf    treatment
	encoder *quotedprintable.Writer
	encoded bytes.Buffer
	changed bool
	eight   bool // an octet beyond ASCII of the body has been written
	dots    bool // a line that begins with a dot has been written
	unclear bool // readers may differ on whether an encoded part has ended
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
	encode             // encode as quoted-printable
	quoted             // the body is quoted-printable
	base64ed           // the body is base64
	prefixed           // insert a blank before a dot at the beginning of a line
)

// New returns a Writer that changes one message as plan says.
func New(plan Plan) *Writer { return &Writer{plan: plan, inside: true, top: true, message: true} }

// Changed reports whether Append has changed anything so far.
func (w *Writer) Changed() bool { return w.changed }

// EightBit reports whether the result so far has an octet beyond ASCII. The header of
// the message itself does not count.
func (w *Writer) EightBit() bool { return w.eight }

// Unclear reports whether the Writer has encoded a part whose end is unclear: some
// readers take a line in it for a boundary, and others do not. The caller must not send
// such a message on.
func (w *Writer) Unclear() bool { return w.unclear }

// LeadingDots reports whether the result so far has a line that begins with a dot.
func (w *Writer) LeadingDots() bool { return w.dots }

// Append appends src, changed as the plan says, to dst and returns the result. src is
// the next piece of the message in wire format: lines end with CRLF, and a dot at the
// beginning of a line is doubled. A piece may end within a line. Append may hold back
// octets for a later call.
func (w *Writer) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		n := bytes.IndexByte(src, '\n') + 1
		ends := n > 0
		if !ends {
			n = len(src)
		}
		if room := maxLine - len(w.line); n > room { // so that the result does not depend on how src is split
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

// End appends to dst what Append has held back, and returns the result. End is called
// once, when Append has got all of the message.
func (w *Writer) End(dst []byte) []byte {
	if w.inside { // there is no body
		dst = w.passHeader(dst, w.header)
	}
	if len(w.line) > 0 {
		dst = w.take(dst, w.line)
	}
	w.header, w.line, w.inside = nil, nil, false
	return dst
}

// take handles a line, or a part of a long line.
func (w *Writer) take(dst, line []byte) []byte {
	first, ends := !w.mid, line[len(line)-1] == '\n'
	w.mid = !ends
	if first && !w.sealed && len(w.stack) > 0 {
		if depth, last, ok := w.delimits(line); ok {
			return w.delimiter(dst, line, depth, last)
		}
		if w.sealed { // where parts end is no longer clear
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

// beginBody writes the empty line after a header.
func (w *Writer) beginBody(dst, line []byte) []byte {
	w.header = w.header[:0]
	return append(dst, line...)
}

// passHeader writes a header unchanged.
func (w *Writer) passHeader(dst, header []byte) []byte {
	if !w.top {
		w.noteHeader(header)
	}
	w.top = false
	return append(dst, header...)
}

// delimits reports whether a line is a delimiter of one of the multiparts, and of which.
// If readers may differ on that, the rest of the message is not changed: RFC 2046, 5.1.1,
// has them compare the beginning of the line only, whereas many compare all of it.
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

// delimiter writes a delimiter and prepares for what follows it.
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
	if line[len(line)-1] != '\n' { // the blanks after it are still to come
		w.mid, w.sealed, w.inside = true, true, false
	}
	return append(dst, line...)
}

// body handles a line of a body, or a part of a long line.
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

// note records properties of text that is written unchanged.
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
