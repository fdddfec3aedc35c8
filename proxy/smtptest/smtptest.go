// Package smtptest provides peers to test a mail proxy with: servers and clients with
// the faults of the products that they stand for, and a peer that plays a list of
// lines.
//
// A stand-in is a row of a table, see [Servers] and [Clients]. Each line that a row
// sends has its evidence: where it is attested, or "assumed" and why. A row is a value:
// change the fields of a copy to get a variant. Start a server on a listener, and let a
// client deliver a message to it, with or without something in between.
//
// The Doc of a row and its comment in the source say what is known of its product, and
// what is not. Clients answer a challenge with NTLMv1. Servers accept NTLMv1 and
// NTLMv2. Sealing, which encrypts all that follows an NTLM login, is an imitation
// without cryptography.
//
// Only CRLF ends a line, in commands, replies and messages. The connections must buffer
// what is written, as TCP does. Over [net.Pipe], two peers that write at the same time,
// after a TLS handshake or around a slow reply to DATA, block each other until the
// deadline.
package smtptest

import "strings"

// A Text is a line that a product sends, and where it is attested.
type Text struct {
	// Line is the line without CRLF. Names in braces are replaced when it is sent:
	//   - in replies {host}, the server's name, {client}, the client's address, and
	//     {hello}, the client's name in EHLO or HELO
	//   - in Replies.Mail {from}, in Replies.MailSize {from} and {size}, in
	//     Replies.Rcpt {to}, and in Replies.Accepted {id}, which the server makes
	//   - in the commands EHLO and HELO {hello}, in MAIL {from} and {size}, in RCPT
	//     {to}, and in AUTH and XAUTH {type-1}, the first NTLM message
	Line string
	// Evidence is where the line is attested, such as "KB Q164060", or "assumed: "
	// and why.
	Evidence string
}

// Assumed reports whether the line is assumed, because no source gives it in this form:
// t.Evidence begins with "assumed: ".
func (t Text) Assumed() bool { return strings.HasPrefix(t.Evidence, "assumed: ") }

// fill replaces the names in braces. pairs are names and values in turn.
func (t Text) fill(pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(t.Line)
}

// A Message is an envelope and the text between DATA and the final dot.
type Message struct {
	From string   // without <>; empty for the null reverse-path
	To   []string // without <>
	// Body has no doubled dots and no final dot. A client adds a CRLF if there is
	// none at the end. A server keeps what it has received, unless Server.CutsAtDot
	// is set.
	Body []byte
}

// A Line is one line of a dialogue, or an event such as TLS.
type Line struct {
	Side string // "C", "S", or "~" for an event
	Text string // without CRLF
}

// String returns the line as in a transcript, such as "C: QUIT" or "~ TLS".
func (l Line) String() string {
	if l.Side == "~" {
		return "~ " + l.Text
	}
	return l.Side + ": " + l.Text
}

// A Dialogue is what both sides said on one connection, as one side recorded it: in the
// order in which that side wrote and read the lines. A message is not recorded: an
// event such as "~ message 1024 bytes" stands for it.
type Dialogue []Line

// String returns the lines of the dialogue as in a transcript, with an LF after each.
func (d Dialogue) String() string {
	var b strings.Builder
	for _, l := range d {
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Said returns the text of all lines of one side, "C" or "S", without CRLF.
func (d Dialogue) Said(side string) []string {
	var lines []string
	for _, l := range d {
		if l.Side == side {
			lines = append(lines, l.Text)
		}
	}
	return lines
}
