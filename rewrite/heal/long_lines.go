package heal

import (
	"bytes"
	"fmt"

	"smtpshim/rewrite"
	"smtpshim/rewrite/mimetext"
)

// shortestLine is the least length, in octets, that the option may set. A line of
// quoted-printable has 76 octets, and lines of up to 78 need not be broken (RFC 5322,
// 2.1.1).
const shortestLine = 78

func longLines() rewrite.Rule {
	return rewrite.Rule{
		Name:  "long-lines",
		Heals: "servers that refuse or cut the lines of a message that are over 998 octets long",
		Doc: "The rule folds such lines, those of the header at white space (RFC 5322, 2.2.3), and others with CRLF and a blank, as a " +
			"header line is folded; or it refuses the message with 554 at its end. With `mode = \"encode\"`, text of 7 or 8 bits becomes " +
			"quoted-printable; all of it does, because the header has already passed when the long line comes. Lines of quoted-printable " +
			"and base64 are broken as these encodings allow. If another line of the body is too long, for example in a signed part, the " +
			"message is refused. The option `length` is for servers that accept only shorter lines: 254 for Secure Message Guard. The " +
			"key `long_lines` puts the rule in force.",
		Symptoms: []string{"554 Input line to submit longer than 254 characters", "500 5.0.0 Line too long", "501 Syntax error - line too long", "message has lines too long for transport"},
		Source:   "RFC 5321, 4.5.3.1.6; RFC 5322, 2.2.3; RFC 2045, 6.7; KB Q180414; Exim specification, message_linelength_limit; OpenSMTPD/OpenSMTPD#1134; MailCleaner/MailCleaner#480; Kitura/Swift-SMTP#106",
		Entries:  []string{"L10", "L67", "L118"},
		Options: []rewrite.Option{
			{Name: "mode", Default: "fold", Values: []string{"fold", "refuse", "encode"},
				Doc: "\"fold\": the lines are broken; \"refuse\": the message is refused at its end; \"encode\": text becomes quoted-printable"},
			{Name: "length", Default: int64(998), Most: 998, Doc: "the octets that a line may have, without CRLF; at least 78"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			length := int(o.Number("length"))
			if length < shortestLine {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "length", Err: fmt.Errorf("%d is less than %d octets", length, shortestLine)}
			}
			a := rewrite.Actions{Offer: hideChunking}
			switch o.Text("mode") {
			case "refuse":
				a.Message = refuseLongLines(length)
			case "encode":
				a.Message = encodeLongLines(length)
				a.Commands, a.Command = rewrite.SetOf(rewrite.VerbMAIL), takeSIZEOut
			default:
				a.Message = foldLines(length)
			}
			return a, nil
		},
	}
}

func foldLines(length int) func(*rewrite.Text) rewrite.Filter {
	return func(*rewrite.Text) rewrite.Filter {
		header, lines := headerFolder{most: length}, rewrite.Lines{Max: length}
		return rewrite.Filter{
			Text: func(m *rewrite.Text, dst, src []byte) []byte {
				var out []byte
				if m.Body() {
					out = lines.Fold(dst, src)
				} else {
					out = header.fold(dst, src)
				}
				if header.folded || lines.Long() > 0 {
					m.Applied()
				}
				return out
			},
			End: func(*rewrite.Text) []byte { return header.line },
		}
	}
}

func refuseLongLines(length int) func(*rewrite.Text) rewrite.Filter {
	return func(*rewrite.Text) rewrite.Filter {
		lines := rewrite.Lines{Max: length}
		return rewrite.Filter{Text: func(m *rewrite.Text, _, src []byte) []byte {
			lines.Measure(src)
			refuseLong(m, &lines, length)
			return src
		}}
	}
}

func refuseLong(m *rewrite.Text, lines *rewrite.Lines, length int) {
	if lines.Long() > 0 {
		m.Refuse(rewrite.Reply{Code: 554, Lines: []string{fmt.Sprintf("5.6.0 the message has a line of more than %d octets", length)}})
	}
}

func encodeLongLines(length int) func(*rewrite.Text) rewrite.Filter {
	return func(*rewrite.Text) rewrite.Filter {
		header, body := headerFolder{most: length}, rewrite.Lines{Max: length}
		encoder := reencoded(mimetext.Plan{Encode: mimetext.EveryText, Break: length}, func(*rewrite.Text, *mimetext.Writer) {})
		inBody, midLine := false, false
		// The encoder returns the part of the header that it has held back together with
		// the first of the body.
		judge := func(m *rewrite.Text, out []byte) []byte {
			from := 0
			if !inBody && len(out) > 0 {
				from, inBody = headerLength(out, midLine)
				midLine = !bytes.HasSuffix(out, []byte("\n"))
			}
			body.Measure(out[from:])
			refuseLong(m, &body, length)
			if from == 0 {
				return out
			}
			made := append(header.fold(nil, out[:from]), out[from:]...)
			if header.folded {
				m.Applied()
			}
			return made
		}
		return rewrite.Filter{
			Text: func(m *rewrite.Text, dst, src []byte) []byte { return judge(m, encoder.Text(m, dst, src)) },
			End:  func(m *rewrite.Text) []byte { return append(judge(m, encoder.End(m)), header.line...) },
		}
	}
}

// headerLength returns how many octets of text are header, including the empty line after
// it. all reports whether that line is in text.
func headerLength(text []byte, midLine bool) (n int, all bool) {
	if !midLine && bytes.HasPrefix(text, []byte("\r\n")) {
		return len("\r\n"), true
	}
	if i := bytes.Index(text, []byte("\r\n\r\n")); i >= 0 {
		return i + 4, true
	}
	return len(text), false
}

// A headerFolder folds the lines of a header that are too long. It breaks a line before
// the last white space within the length, or at the length if there is none, and inserts
// CRLF and a blank.
type headerFolder struct {
	most   int    // longest line in octets, without its CRLF
	line   []byte // the present line so far
	folded bool   // some line was folded
	broken bool   // the present line was folded
}

// fold appends the folded lines of src to dst[:0]. It keeps a line that has not ended.
func (f *headerFolder) fold(dst, src []byte) []byte {
	out := dst[:0]
	for len(src) > 0 {
		n := bytes.IndexByte(src, '\n') + 1
		ends := n > 0
		if !ends {
			n = len(src)
		}
		n = min(n, f.most+len("\r\n")) // to bound the memory of the line
		f.line = append(f.line, src[:n]...)
		src = src[n:]
		ends = f.line[len(f.line)-1] == '\n'
		for f.length() > f.most {
			out = f.breakLine(out)
		}
		if ends {
			if !f.broken || len(bytes.Trim(f.line, " \t\r\n")) > 0 { // do not leave a line of blanks
				out = append(out, f.line...)
			}
			f.line, f.broken = f.line[:0], false
		}
	}
	return out
}

// length returns the length of the line so far, without its CRLF and without the dot that
// DATA adds.
func (f *headerFolder) length() int {
	n := len(bytes.TrimRight(f.line, "\r\n"))
	if n > 0 && f.line[0] == '.' {
		n--
	}
	return n
}

// breakLine appends the beginning of the line, with CRLF. The rest of the line begins
// with white space.
func (f *headerFolder) breakLine(out []byte) []byte {
	f.folded, f.broken = true, true
	end := f.most
	if f.line[0] == '.' {
		end++
	}
	text := len(f.line) - len(bytes.TrimLeft(f.line, " \t"))
	if at := bytes.LastIndexAny(f.line[:end+1], " \t"); at > text {
		out = append(append(out, f.line[:at]...), "\r\n"...)
		f.line = append(f.line[:0], f.line[at:]...)
		return out
	}
	end = runeStart(f.line, end)
	out = append(append(out, f.line[:end]...), "\r\n"...)
	f.line = append(append(f.line[:0:0], ' '), f.line[end:]...)
	return out
}
