package mimetext

import "bytes"

const hexDigits = "0123456789ABCDEF"

// quote appends a line of quoted-printable, or the beginning of one. It encodes the first
// character of the line if that could be misread: as a delimiter, which the text may have
// contained inside a line, or, with Plan.Dots, as the end of the message.
func (w *Writer) quote(dst, line []byte) []byte {
	for {
		c := line[0]
		if !bytes.HasPrefix(line, []byte("--")) && (c != '.' || !w.plan.Dots) {
			break
		}
		line = line[1:]
		dst = append(dst, '=', hexDigits[c>>4], hexDigits[c&15])
		if len(line) <= softLine-len("=2E")+len("\r\n") && line[len(line)-1] == '\n' {
			return append(dst, line...)
		}
		dst = append(dst, "=\r\n"...)
	}
	if line[0] == '.' {
		dst, w.dots = append(dst, '.'), true
	}
	w.note(line, false)
	return append(dst, line...)
}

// breakQuoted appends text of a line of quoted-printable that is too long, with soft line
// breaks (RFC 2045, 6.7). w.encoded holds the present output line so far.
func (w *Writer) breakQuoted(dst, text []byte, first bool) []byte {
	if first {
		w.encoded.Reset()
	}
	for _, c := range text {
		// Never break inside =XX: break before the = if it would not fit.
		if n := w.encoded.Len(); c != '\r' && c != '\n' && (n >= softLine-1 || c == '=' && n >= softLine-3) {
			dst = w.quote(dst, append(w.encoded.Bytes(), "=\r\n"...))
			w.encoded.Reset()
		}
		w.encoded.WriteByte(c)
	}
	if text[len(text)-1] == '\n' {
		dst = w.quote(dst, w.encoded.Bytes())
		w.encoded.Reset()
	}
	return dst
}

// breakBase64 appends text of a line of base64 that is too long as several lines. Line
// ends are not part of the encoded data (RFC 2045, 6.8).
func (w *Writer) breakBase64(dst, text []byte, first bool) []byte {
	if first {
		w.encoded.Reset()
	}
	flush := func() {
		line := w.encoded.Bytes()
		if line[0] == '.' { // not a character of base64, so readers ignore it
			dst, w.dots = append(dst, '.'), true
		}
		w.note(line, false)
		dst = append(dst, line...)
		w.encoded.Reset()
	}
	for _, c := range text {
		if c != '\r' && c != '\n' && w.encoded.Len() >= softLine {
			w.encoded.WriteString("\r\n")
			flush()
		}
		w.encoded.WriteByte(c)
	}
	if text[len(text)-1] == '\n' {
		flush()
	}
	return dst
}
