package mimetext

import (
	"bytes"
	"mime"
	"mime/quotedprintable"
	"strings"
)

// A field is a header field, with its folds (RFC 5322, 2.2).
type field struct {
	name, value string // name in lower case; value without folds and surrounding blanks
	from, to    int    // the field is header[from:to]
}

// fields parses a header. ok is false if a line is neither a field nor the continuation
// of one; some readers take such a line for the beginning of the body.
func fields(header []byte) (all []field, ok bool) {
	at := 0
	ok = true
	for line := range bytes.Lines(header) {
		name, _, is := bytes.Cut(line, []byte(":"))
		name = bytes.TrimRight(name, " \t")
		switch {
		case line[0] == ' ' || line[0] == '\t':
			ok = ok && len(all) > 0
			if len(all) > 0 {
				all[len(all)-1].to += len(line)
			}
		case is && len(name) > 0 && !bytes.ContainsAny(name, " \t"):
			all = append(all, field{name: strings.ToLower(string(name)), from: at, to: at + len(line)})
		default:
			ok = false
		}
		at += len(line)
	}
	for i := range all {
		f := &all[i]
		_, value, _ := strings.Cut(string(header[f.from:f.to]), ":")
		f.value = strings.TrimSpace(strings.ReplaceAll(value, "\r\n", ""))
	}
	return all, ok
}

// An entity is what the header of a message or body part declares (RFC 2045, 2.4).
type entity struct {
	media    string // such as "text/plain"
	params   map[string]string
	encoding string // in lower case; "": none is given
	typed    bool   // there is a Content-Type field
	versioned,
	signed, // the header has a signature by DKIM or the like
	unclear bool
}

func (w *Writer) entity(all []field) entity {
	e := entity{media: "text/plain"}
	if n := len(w.stack); !w.message && n > 0 && w.stack[n-1].digest {
		e.media = "message/rfc822"
	}
	encodings := 0
	for _, f := range all {
		switch f.name {
		case "mime-version":
			e.versioned = true
		case "dkim-signature", "domainkey-signature", "arc-message-signature":
			e.signed = true
		case "content-transfer-encoding":
			e.encoding = strings.ToLower(f.value)
			e.unclear = e.unclear || encodings > 0
			encodings++
		case "content-type":
			e.unclear = e.unclear || e.typed
			e.typed = true
			var err error
			if e.media, e.params, err = mime.ParseMediaType(f.value); err != nil {
				e.unclear = true
			}
		}
	}
	return e
}

// contains reports whether the entity contains others. Such an entity may be labelled
// 7bit, 8bit or binary only (RFC 2045, 6.4).
func (e *entity) contains() bool {
	return strings.HasPrefix(e.media, "multipart/") || e.media == "message/rfc822"
}

// seals reports whether nothing in the entity may be changed.
func (e *entity) seals() bool {
	return e.unclear || e.media == "multipart/signed" || e.media == "multipart/encrypted" || strings.HasPrefix(e.media, "application/pkcs7-")
}

// plain reports whether the text of the entity is not encoded.
func (e *entity) plain() bool {
	return e.encoding == "" || e.encoding == "7bit" || e.encoding == "8bit"
}

// decide parses a complete header, decides what is done to the body, and returns the
// header to write.
func (w *Writer) decide() []byte {
	all, ok := fields(w.header)
	e := w.entity(all)
	e.unclear = e.unclear || !ok
	wasTop, message := w.top, w.message
	w.top, w.inside, w.message, w.leaf = false, false, false, asItIs
	seals := e.seals() || message && e.signed && !w.plan.BreakSignatures ||
		e.contains() && (!e.plain() && e.encoding != "binary" || len(w.stack) >= maxDepth)
	if !wasTop && !seals {
		w.noteHeader(w.header)
	}
	if seals {
		w.seal(wasTop)
		return w.header
	}
	switch {
	case e.media == "message/rfc822":
		w.inside, w.message = true, true
	case strings.HasPrefix(e.media, "multipart/"):
		boundary := e.params["boundary"]
		if boundary == "" || strings.TrimRight(boundary, " \t") != boundary || len(boundary) > maxLine/2 {
			w.seal(wasTop)
			return w.header
		}
		w.stack = append(w.stack, enclosing{"--" + boundary, e.media == "multipart/digest"})
	case e.encoding == "quoted-printable":
		w.leaf = quoted
	case e.encoding == "base64":
		w.leaf = base64ed
	}
	return w.relabel(all, e, message)
}

// seal leaves the entity unchanged. An entity in a multipart ends at the next delimiter
// of the multipart, any other at the end of the message.
func (w *Writer) seal(top bool) {
	if !top {
		w.noteHeader(w.header)
	}
	if len(w.stack) == 0 {
		w.sealed = true
	}
}

// relabel returns the header with the labels for the body as it will be written.
func (w *Writer) relabel(all []field, e entity, message bool) []byte {
	text := strings.HasPrefix(e.media, "text/")
	label := ""
	p := w.plan
	switch {
	case text && (p.Encode == LabelledTexts && e.encoding == "8bit" || p.Encode == EveryText && e.plain()):
		label = "quoted-printable"
		w.leaf = encode
		w.encoder = quotedprintable.NewWriter(&w.encoded)
		w.encoded.Reset()
	case e.contains() && p.Encode != NoTexts && e.encoding == "8bit":
		label = "7bit"
	case (text || e.contains()) && p.Label && (e.encoding == "" || e.encoding == "7bit"):
		label = "8bit"
	}
	if text && label != "quoted-printable" && e.plain() && p.Prefix {
		w.leaf = prefixed
	}
	if label == "" {
		return w.header
	}
	w.changed = true
	added, fieldOf := "", map[string]string{"content-transfer-encoding": "Content-Transfer-Encoding: " + label + "\r\n"}
	if charset := e.params["charset"]; text && w.plan.Charset != "" && (charset == "" || strings.EqualFold(charset, "us-ascii")) {
		params := map[string]string{"charset": w.plan.Charset}
		for name, value := range e.params {
			if name != "charset" {
				params[name] = value
			}
		}
		if made := mime.FormatMediaType(e.media, params); made != "" {
			fieldOf["content-type"] = "Content-Type: " + made + "\r\n"
		}
	}
	if message && !e.versioned {
		added = "MIME-Version: 1.0\r\n"
	}
	out, done := make([]byte, 0, len(w.header)+100), 0
	for _, f := range all {
		if made := fieldOf[f.name]; made != "" {
			out = append(append(out, w.header[done:f.from]...), made...)
			done = f.to
			delete(fieldOf, f.name)
		}
	}
	out = append(out, w.header[done:]...)
	return append(out, added+fieldOf["content-type"]+fieldOf["content-transfer-encoding"]...)
}
