// Package smtptest has peers to test a mail proxy with: servers and clients as
// wrong as the products they stand for, and a peer that plays a list of lines.
//
// A stand-in is a row of a table, see [Servers] and [Clients]. Each line that
// a row says carries its evidence: where it is attested, or "assumed" and why.
// A row is a value: change the fields of a copy to get a variant. Start a
// server on a listener, and let a client deliver a message to it, with or
// without something in between.
//
// What is known of each product stands beside the row, and what is not known
// is said there too. Clients answer a challenge by NTLMv1, and servers take
// NTLMv1 and NTLMv2; the sealing is an imitation, without cryptography.
//
// Only CRLF ends a line, in commands, replies and messages. The connections
// must buffer what is written, as TCP does: over [net.Pipe] two peers that
// both speak, after a TLS handshake or around a slow answer to DATA, wait for
// each other until the deadline.
package smtptest

import "strings"

// A Text is what a product says, and how we know.
type Text struct {
	// Line is without its CRLF. {host}, {client}, {hello}, {from}, {to},
	// {size} and {id} are filled in when it is said; {type-1} stands for a
	// first NTLM message.
	Line string
	// Evidence is the source, such as "KB Q164060", or "assumed: " and why.
	Evidence string
}

// Assumed reports whether no source gives the line in this form.
func (t Text) Assumed() bool { return strings.HasPrefix(t.Evidence, "assumed: ") }

// fill replaces the names in braces; pairs are name and value in turn.
func (t Text) fill(pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(t.Line)
}

// A Message is an envelope and what goes between DATA and the final dot.
type Message struct {
	From string   // without <>; empty for the null reverse-path
	To   []string // without <>
	// Body is without dot-stuffing and without the final dot. A client ends
	// it with CRLF if it does not; a server has it exactly as it came.
	Body []byte
}

// A Line is one line of a dialogue.
type Line struct {
	Side string // "C", "S", or "~" for what is not a line
	Text string // without CRLF
}

// String gives the line as a transcript has it: "C: QUIT", "~ TLS".
func (l Line) String() string {
	if l.Side == "~" {
		return "~ " + l.Text
	}
	return l.Side + ": " + l.Text
}

// A Dialogue is what both sides said, in the order in which one of them
// wrote and read it. A message is the one line "~ message 1024 bytes".
type Dialogue []Line

// String gives one line of text to each line said.
func (d Dialogue) String() string {
	var b strings.Builder
	for _, l := range d {
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Said gives the lines of one side, "C" or "S".
func (d Dialogue) Said(side string) []string {
	var lines []string
	for _, l := range d {
		if l.Side == side {
			lines = append(lines, l.Text)
		}
	}
	return lines
}
