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

// asMessage parses a message, whole or cut off, with or without the line that begins it
// in a mailbox; nil if the text is none.
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

// reportIn is the text with which a message reports: its parts of text and of status
// (RFC 3464), decoded, without the message that it returns (RFC 6522). HTML counts where
// there is nothing else. rest is what follows on what m has of its body.
func reportIn(m *mail.Message, rest io.Reader) []byte {
	var r report
	r.read(m.Header.Get, io.LimitReader(io.MultiReader(m.Body, rest), maxMessage), false, 0)
	if r.plain.Len() == 0 {
		return r.html.Bytes()
	}
	return r.plain.Bytes()
}

// A report is what was found in the parts of a message, at most maxReport octets of either.
type report struct{ plain, html bytes.Buffer }

const (
	maxReport  = 1 << 20
	maxMessage = 16 << 20 // what is behind it of a message is not read
)

// maxDepth is how deep parts within parts are read.
const maxDepth = 10

// read reads a part with these fields, of a multipart/report or not.
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
			if err != nil { // the last, or the rest is missing
				return
			}
			r.read(p.Header.Get, p, reported || kind == "multipart/report", depth+1)
		}
	case kind == "message/rfc822" || kind == "message/global":
		if reported {
			return // that is what is returned
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

// writeText writes the text of HTML, with a line for each tag and comment.
func writeText(b *bytes.Buffer, body io.Reader) {
	tokens, code := html.NewTokenizer(body), false // code: of a script, or a style
	for {
		switch tokens.Next() {
		case html.ErrorToken: // the end, or the rest is missing
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

// returned is the line behind which a bounce without parts has the message that it
// returns: qmail's, Exim's, Sendmail's and Exchange's.
var returned = regexp.MustCompile(`(?im)^[ \t]*-*[ \t]*(?:below this line is (?:a copy of the message|the original bounce)|` +
	`this is a copy of (?:the|your) message|(?:original|unsent) message follows|message header follows|original message headers:)`)

// inUTF8 is text in UTF-8, where its charset is one of 8 bits that is known.
func inUTF8(charset string, body io.Reader) io.Reader {
	if m := charsets()[bareCharset(charset)]; m != nil {
		return m.NewDecoder().Reader(body)
	}
	return body
}

// charsets are those of 8 bits, by their bare names. A hostile message has many parts, so
// they are gathered once.
var charsets = sync.OnceValue(func() map[string]*charmap.Charmap {
	known := map[string]*charmap.Charmap{}
	for _, e := range charmap.All {
		if m, is := e.(*charmap.Charmap); is {
			known[bareCharset(m.String())] = m
		}
	}
	known["latin1"] = charmap.Windows1252 // which has characters where ISO-8859-1 has controls, and is often meant
	known["iso88591"] = charmap.Windows1252
	return known
})

// bareCharset is the name of a charset without what its spellings differ in.
func bareCharset(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// decoded undoes a Content-Transfer-Encoding (RFC 2045, 6).
func decoded(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}
