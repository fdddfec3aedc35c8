package dialogues

import (
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// What JavaMail, now Jakarta Mail, prints with mail.debug: it marks only what it says about
// the dialogue, whose lines stand as they are. It leaves AUTH out unless mail.debug.auth is
// set (package com.sun.mail.smtp, SMTPTransport).
const (
	javaConnects = "DEBUG SMTP: trying to connect to host "
	javaEOF      = "DEBUG SMTP: EOF: "
	javaNote     = "DEBUG"
)

// parseJavaMail finds where JavaMail begins a session, or the server has hung up.
func parseJavaMail(line string) (said, bool) {
	switch {
	case strings.HasPrefix(line, javaConnects):
		return said{source: JavaMail, what: begins, inTLS: strings.HasSuffix(line, "isSSL true")}, true
	case strings.HasPrefix(line, javaEOF):
		return said{source: JavaMail, what: lost}, true
	}
	return said{}, false
}

// bare takes a line without a mark that belongs to a session of JavaMail's, the last that
// was added to. ok is false if it is none.
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

// prompted says that the server waits for a line of a SASL exchange.
func (s *session) prompted() bool {
	if !s.begun() {
		return false
	}
	last := s.d.Dialogue[len(s.d.Dialogue)-1]
	return last.Side == transcript.Server && strings.HasPrefix(last.Text, "334")
}
