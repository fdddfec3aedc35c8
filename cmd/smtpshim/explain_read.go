package main

import (
	"bufio"
	"bytes"
	"errors"
	"html"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	// maxLine is the length, in octets, of the longest line that is explained; a longer
	// line is cut off.
	maxLine = 16 << 10
	// maxHead is the number of octets of a text that are examined to see whether it is a
	// message. Its header must end there.
	maxHead = 1 << 20
)

// eachLine calls tell with the lines to explain, in order: those of a log, or, of a
// message, those of its own text and not of a message that it returns. "" stands for one
// or more empty lines. Memory is bounded for any input.
//
// Text in UTF-16 is decoded if it begins with a byte order mark, as logs of Windows do.
func eachLine(r io.Reader, tell func(string)) error {
	in := bufio.NewReaderSize(transform.NewReader(r, unicode.BOMOverride(transform.Nop)), maxHead)
	head, err := in.Peek(maxHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	m := asMessage(head)
	if m == nil {
		return foldedLines(in, tell)
	}
	head = bytes.Clone(head) // reading on overwrites head
	m = asMessage(head)
	if _, err := in.Discard(len(head)); err != nil {
		return err
	}
	some := false
	report := reportIn(m, in)
	err = foldedLines(bytes.NewReader(report), func(line string) {
		some = some || line != ""
		tell(line)
	})
	if err != nil || some {
		return err
	}
	return foldedLines(bytes.NewReader(head), tell)
}

// foldedLines calls tell with the lines of a text. A line that begins with a blank
// continues the one before it, as in the fields of a bounce (RFC 5322, 2.2.3), unless it
// begins with a mark, as in the output of swaks. A line that ends with = at the length of
// quoted-printable continues in the next one (RFC 2045, 6.7).
func foldedLines(r io.Reader, tell func(string)) error {
	in, held, soft := bufio.NewReaderSize(r, maxLine), []byte(nil), false
	flush := func() {
		if len(held) > 0 {
			line := string(held[:min(len(held), maxLine)])
			if soft {
				line = quotedOctets(line)
			}
			tell(printable(line))
		}
		held, soft = held[:0], false
	}
	hold := func(text string) {
		if len(held) < maxLine {
			held = append(held, text...)
		}
	}
	for {
		line, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		line = unquoted(line)
		text := strings.TrimSpace(line)
		switch {
		case text == "":
			flush()
			if err == nil {
				tell("")
			}
		case softBreak(held):
			held, soft = held[:len(held)-1], true
			hold(strings.TrimRight(line, " \t\r\n"))
		case len(held) > 0 && strings.ContainsRune(" \t", rune(line[0])) && !marked.MatchString(text):
			hold(" " + text)
		default:
			flush()
			hold(text)
		}
		if err != nil {
			flush()
			return nil
		}
	}
}

// readLine reads a line with its line end, of which it returns at most maxLine octets.
func readLine(in *bufio.Reader) (string, error) {
	part, err := in.ReadSlice('\n')
	line := string(part)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = in.ReadSlice('\n')
	}
	return line, err
}

// printable returns a line without octets that are not text.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= ' ' && r < 0x7f:
			return r
		case r == '\t':
			return ' '
		case r == utf8.RuneError, !strconv.IsPrint(r):
			return '?'
		}
		return r
	}, line)
}

// marked matches the beginning of a line of a dialogue.
var marked = regexp.MustCompile(`^(?:<[-~*=<]|[-~=>*]+>|>>>|<<<|\*\*\*|===|[CS][:+-] )`)

// unquoted removes the marks with which a mail reader quotes a line (RFC 3676, 4.5).
func unquoted(line string) string {
	if strings.IndexByte(line, '>') < 0 {
		return line
	}
	return line[len(quoteMarks.FindString(line)):]
}

var quoteMarks = regexp.MustCompile(`^(?:[ \t]*>)+ ?`)

// softBreak reports whether a line is quoted-printable text that continues in the next
// one.
func softBreak(line []byte) bool {
	return len(line) > 60 && bytes.HasSuffix(line, []byte("=")) && !bytes.HasSuffix(line, []byte("==")) && bytes.IndexByte(line, ' ') >= 0
}

// quotedOctets decodes =XX if it stands for an ASCII character.
func quotedOctets(line string) string {
	return quotedOctet.ReplaceAllStringFunc(line, func(q string) string {
		var n byte
		for _, c := range []byte(q[1:]) {
			if n <<= 4; c >= 'A' {
				n |= c - 'A' + 10
			} else {
				n |= c - '0'
			}
		}
		return string(rune(n))
	})
}

var quotedOctet = regexp.MustCompile(`=[2-7][0-9A-F]`)

// plain returns a line as a server said it, without what programs add to a reply. It is
// used for comparison; users see the original line.
func plain(line string) string {
	if strings.Contains(line, `\`) {
		line = escapes.Replace(line)
	}
	if strings.Contains(line, "&") {
		line = html.UnescapeString(line)
	}
	if strings.Contains(line, "'") || strings.Contains(line, `"`) {
		line = pythonReply.ReplaceAllString(line, "$1 ")
	}
	if strings.Contains(line, "code") {
		line = loggedReply.ReplaceAllString(line, "$1 ")
	}
	if strings.Contains(line, "+") {
		line = unplus(line)
	}
	if strings.Contains(line, "-") {
		line = unrepeated(line)
	}
	return line
}

// codesIn returns the indexes of what looks like the code of a refusal.
func codesIn(line string) iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := 0; at+3 <= len(line); at++ {
			if c := line[at]; (c == '4' || c == '5') && isDigit(line[at+1]) && isDigit(line[at+2]) && (at == 0 || !isLetterOrDigit(line[at-1])) &&
				(at+3 == len(line) || !isLetterOrDigit(line[at+3])) && !yield(at) {
				return
			}
		}
	}
}

func isLetterOrDigit(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

// escapes decodes the escapes of JSON (RFC 8259, 7) that occur in texts of replies.
var escapes = strings.NewReplacer(`\r`, " ", `\n`, " ", `\t`, " ", `\"`, `"`, `\/`, "/", `\u003c`, "<", `\u003e`, ">", `\u0026`, "&", `\u0027`, "'")

// pythonReply matches a reply as Python prints it: its code, and its text as bytes.
var pythonReply = regexp.MustCompile(`\b([2-5][0-9]{2}), b?['"]`)

// loggedReply matches a reply in a line of our log, as text or JSON: its code and its
// text.
var loggedReply = regexp.MustCompile(`\bcode(?:=|":)([2-5][0-9]{2})(?: |,")text(?:=|":)"?`)

// unplus replaces the plus signs in a line of a W3C log by blanks
// (www.w3.org/TR/WD-logfile).
func unplus(line string) string {
	if plussed.MatchString(line) {
		return strings.ReplaceAll(line, "+", " ")
	}
	return line
}

var plussed = regexp.MustCompile(`\b[245][0-9]{2}[+-][0-9A-Za-z#.]+\+`)

// unrepeated joins a reply of several lines that is on one line. It keeps the first code
// and enhanced status code, and removes the repeated ones.
func unrepeated(line string) string {
	at := -1
	for place := range codesIn(line) {
		if strings.HasPrefix(line[place+3:], "-") {
			at = place
			break
		}
	}
	if at < 0 {
		return line
	}
	code := line[at : at+3]
	at += 4
	var b strings.Builder
	b.WriteString(line[:at])
	rest, begin := line[at:], at
	for _, p := range repeats.FindAllStringSubmatchIndex(rest, -1) {
		if rest[p[2]:p[3]] == code {
			b.WriteString(line[at:begin+p[0]] + " ")
			at = begin + p[1]
		}
	}
	return b.String() + line[at:]
}

var repeats = regexp.MustCompile(` ([45][0-9]{2})[- ](?:[45]\.[0-9]{1,3}\.[0-9]{1,3} +)?`)
