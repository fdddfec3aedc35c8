package dialogues

import (
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// The lines that JavaMail, now Jakarta Mail, prints with mail.debug. It marks only its
// own remarks about the dialogue and prints the lines of the dialogue unmarked. It omits
// AUTH unless mail.debug.auth is set (package com.sun.mail.smtp, SMTPTransport).
const (
	javaConnects = "DEBUG SMTP: trying to connect to host "
	javaEOF      = "DEBUG SMTP: EOF: "
	javaNote     = "DEBUG"
)

// parseJavaMail finds the remarks that a session of JavaMail begins or that the server
// has hung up.
func parseJavaMail(line string) (said, bool) {
	switch {
	case strings.HasPrefix(line, javaConnects):
		return said{source: JavaMail, what: begins, inTLS: strings.HasSuffix(line, "isSSL true")}, true
	case strings.HasPrefix(line, javaEOF):
		return said{source: JavaMail, what: lost}, true
	}
	return said{}, false
}

// bare handles an unmarked line that may belong to a session of JavaMail, the last one
// that was added to. ok is false if the line does not belong to one.
func (l *log) bare(line string) (t said, ok bool) {
	if l.order.Len() == 0 {
		return t, false
	}
	o := l.order.Back().Value.(*opened)
	if o.d.Source != JavaMail || strings.HasPrefix(line, javaConnects) {
		return t, false
	}
	t = said{source: JavaMail, side: transcript.Client, text: line}
	switch {
	case o.inText:
		return t, true
	case strings.HasPrefix(line, javaNote):
		return t, false
	case isReply(line):
		t.side = transcript.Server
		return t, true
	case line == "":
		return t, false
	}
	return t, rewrite.ParseVerb([]byte(line)) != rewrite.VerbOther || o.prompted()
}

// prompted reports whether the server waits for a line of a SASL exchange.
func (s *session) prompted() bool {
	if !s.begun() {
		return false
	}
	last := s.d.Dialogue[len(s.d.Dialogue)-1]
	return last.Side == transcript.Server && strings.HasPrefix(last.Text, "334")
}
