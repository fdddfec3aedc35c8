package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/charmap"
)

// asMessage parses a message, complete or truncated, with or without the line that
// precedes it in a mailbox file; nil if data is not a message.
func asMessage(data []byte) *mail.Message {
	if bytes.HasPrefix(data, []byte("From ")) {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil || m.Header.Get("From") == "" {
		return nil
	}
	for _, field := range []string{"Received", "Date", "Message-Id", "Content-Type", "Subject"} {
		if m.Header.Get(field) != "" {
			return m
		}
	}
	return nil
}

// reportIn returns the text of a bounce: its parts of text and of delivery status (RFC
// 3464), decoded, without the returned message (RFC 6522). HTML is used only if there is
// nothing else. rest is the rest of the body after what m has.
func reportIn(m *mail.Message, rest io.Reader) []byte {
	var r report
	r.read(m.Header.Get, io.LimitReader(io.MultiReader(m.Body, rest), maxMessage), false, 0)
	if r.plain.Len() == 0 {
		return r.html.Bytes()
	}
	return r.plain.Bytes()
}

// A report collects the text of a message's parts, at most maxReport octets of either
// kind.
type report struct{ plain, html bytes.Buffer }

const (
	maxReport  = 1 << 20
	maxMessage = 16 << 20 // octets of a message that are read
)

// maxDepth is the depth to which nested parts are read.
const maxDepth = 10

// read reads a part with these fields. reported says that it belongs to a
// multipart/report.
func (r *report) read(field func(string) string, body io.Reader, reported bool, depth int) {
	kind, params, err := mime.ParseMediaType(field("Content-Type"))
	if err != nil {
		kind = "text/plain" // RFC 2045, 5.2
	}
	body = decoded(field("Content-Transfer-Encoding"), body)
	if strings.HasPrefix(kind, "text/") {
		body = inUTF8(params["charset"], body)
	}
	switch {
	case depth == maxDepth:
	case strings.HasPrefix(kind, "multipart/"):
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if err != nil { // the end, or the message is truncated
				return
			}
			r.read(p.Header.Get, p, reported || kind == "multipart/report", depth+1)
		}
	case kind == "message/rfc822" || kind == "message/global":
		if reported {
			return // this is the returned message
		}
		if m, err := mail.ReadMessage(bufio.NewReader(body)); err == nil {
			r.read(m.Header.Get, m.Body, false, depth+1)
		}
	case kind == "text/html":
		writeText(&r.html, io.LimitReader(body, int64(max(0, maxReport-r.html.Len()))))
	case kind == "text/plain" || slices.Contains(statusReports, kind):
		text, _ := io.ReadAll(io.LimitReader(body, int64(max(0, maxReport-r.plain.Len()))))
		if at := returned.FindIndex(text); at != nil {
			text = text[:at[0]]
		}
		r.plain.Write(append(text, '\n'))
	}
}

var statusReports = []string{"message/delivery-status", "message/global-delivery-status", "message/feedback-report"}

// writeText writes the text in HTML. Each tag and comment begins a new line.
func writeText(b *bytes.Buffer, body io.Reader) {
	tokens, code := html.NewTokenizer(body), false // code: inside a script or style
	for {
		switch tokens.Next() {
		case html.ErrorToken: // the end, or the message is truncated
			b.WriteByte('\n')
			return
		case html.TextToken:
			if !code {
				b.Write(tokens.Text())
			}
		case html.StartTagToken:
			name, _ := tokens.TagName()
			code = string(name) == "style" || string(name) == "script"
			b.WriteByte('\n')
		default:
			code = false
			b.WriteByte('\n')
		}
	}
}

// returned matches the line after which a bounce without parts has the returned message:
// those of qmail, Exim, Sendmail and Exchange.
var returned = regexp.MustCompile(`(?im)^[ \t]*-*[ \t]*(?:below this line is (?:a copy of the message|the original bounce)|` +
	`this is a copy of (?:the|your) message|(?:original|unsent) message follows|message header follows|original message headers:)`)

// inUTF8 converts text to UTF-8 if its charset is a known 8-bit one.
func inUTF8(charset string, body io.Reader) io.Reader {
	if m := charsets()[bareCharset(charset)]; m != nil {
		return m.NewDecoder().Reader(body)
	}
	return body
}

// charsets are the 8-bit charsets, by their bare names. They are collected once, because
// a hostile message may have many parts.
var charsets = sync.OnceValue(func() map[string]*charmap.Charmap {
	known := map[string]*charmap.Charmap{}
	for _, e := range charmap.All {
		if m, is := e.(*charmap.Charmap); is {
			known[bareCharset(m.String())] = m
		}
	}
	known["latin1"] = charmap.Windows1252 // a superset of ISO-8859-1 that is often meant
	known["iso88591"] = charmap.Windows1252
	return known
})

// bareCharset returns the name of a charset without differences in spelling.
func bareCharset(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// decoded decodes a Content-Transfer-Encoding (RFC 2045, 6).
func decoded(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}
