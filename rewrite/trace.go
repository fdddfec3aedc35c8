package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A tracer is the Tracer of one dialogue, with buffers that keep the calls cheap.
type tracer struct {
	Tracer
	said, got []string // reused for the next line or reply
	texts     strings.Builder
}

// textsAtOnce is the size, in octets, of a block of memory for lines. A dialogue with one
// message has about as many octets in its lines.
const textsAtOnce = 512

// keep returns a copy of a line.
func (t *tracer) keep(line []byte) string {
	if t.texts.Cap()-t.texts.Len() < len(line) { // growing would copy the content
		t.texts.Reset()
		t.texts.Grow(max(textsAtOnce, len(line)))
	}
	start := t.texts.Len()
	t.texts.Write(line)
	return t.texts.String()[start:]
}

// event tells the tracer of an event that is not a line.
func (d *Dialogue) event(what string) {
	if d.tracer != nil {
		d.tracer.Event(what)
	}
}

// departed counts the rules of s, when what they changed is on its way.
func (d *Dialogue) departed(s ruleSet) {
	s.each(func(i int) { d.listener.Applied(d.policy.Rules.rules[i].name) })
}

// trace tells the tracer of a line or reply and what became of it.
func (d *Dialogue) trace(side byte, v Verb, said, got []byte, by Causes) {
	if d.tracer == nil {
		return
	}
	t := d.tracer
	t.said = d.lines(t.said[:0], side, v, said)
	after := t.said
	if !bytes.Equal(said, got) {
		t.got = d.lines(t.got[:0], side, v, got)
		after = t.got
	}
	t.Exchanged(side, t.said, after, by)
}

// byRules returns the causes of a change to a line that is not a reply.
func (t *Turn) byRules(s ruleSet) Causes { return Causes{Rules: t.d.policy.Rules.nameSet(s)} }

// swallow tells the tracer of a reply that the client does not get.
func (d *Dialogue) swallow(raw []byte, cause string) {
	if d.tracer == nil {
		return
	}
	v := d.turn.spoken
	if sasl.Has(d.turn.verb) || d.turn.proving {
		v = VerbAUTH // a SASL line has no verb of its own
	}
	d.tracer.Exchanged('S', d.lines(nil, 'S', v, raw), nil, Causes{Rules: cause})
}

// lines appends the lines in b to lines, without secrets.
func (d *Dialogue) lines(lines []string, side byte, v Verb, b []byte) []string {
	for line := range bytes.Lines(b) {
		line = bytes.TrimSuffix(line, crlf)
		if side == 'S' {
			if d.mayEcho(v, line) {
				text := hidden(len(line) - 4)
				if d.secrets == nil || d.secrets.octets <= maxSecrets {
					text = PlainWords(line[4:])
				}
				line = append(line[:4:4], text...)
			}
			lines = append(lines, d.redactedReply(line))
		} else {
			lines = append(lines, d.redacted(v, line))
		}
	}
	return lines
}

// redacted returns a command line without credentials. A line that is no command may be a
// credential: of a client whose AUTH was refused, that lost track of the dialogue, or
// that spells AUTH in its own way.
func (d *Dialogue) redacted(v Verb, line []byte) string {
	switch {
	case sasl.Has(v):
		word := bytes.TrimLeft(line, blanks)
		verb, rest := word, []byte(nil)
		if i := bytes.IndexAny(word, blanks+"=:"); i >= 0 {
			verb, rest = word[:i+1], bytes.TrimLeft(word[i+1:], blanks)
		}
		mechanism, blob, _ := bytes.Cut(rest, []byte(" "))
		switch {
		case !isMechanism(mechanism):
			return string(verb) + hidden(len(rest))
		case len(blob) == 0:
			return d.tracer.keep(line)
		}
		return string(verb) + string(mechanism) + " " + hidden(len(blob))
	case v == VerbOther && (d.seen.suspect || looksLikeAUTH(line)):
		return hidden(len(line))
	case v == VerbOther: // such as PASS, from a POP client
		if word, rest, ok := bytes.Cut(line, []byte(" ")); ok {
			return string(word) + " " + hidden(len(rest))
		}
	}
	return d.tracer.keep(line)
}

func looksLikeAUTH(line []byte) bool {
	return containsFold(line, "AUTH") || containsFold(line, "X-EXPS")
}

// redactedReply returns a line of a reply without a SASL challenge.
func (d *Dialogue) redactedReply(line []byte) string {
	if bytes.HasPrefix(line, []byte("334")) && len(line) > len("334 VXNlcm5hbWU6") && !bytes.Contains(line[4:], []byte(" ")) {
		return string(line[:4]) + hidden(len(line)-4)
	}
	return d.tracer.keep(line)
}

// mechanisms are the names that may appear in a log. Any other word after AUTH may be a
// misplaced credential.
var mechanisms = []string{"NTLM", "NTLMSSP", "LOGIN", "PLAIN", "GSSAPI", "GSS-SPNEGO", "CRAM-MD5", "DIGEST-MD5",
	"EXTERNAL", "XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-1", "SCRAM-SHA-256"}

func isMechanism(word []byte) bool {
	return len(word) == 0 || slices.Contains(mechanisms, strings.ToUpper(string(word)))
}

func hidden(n int) string { return fmt.Sprintf("...(%d octets)", n) }

// mendedLine counts the rule that has mended a malformed line, and tells the tracer.
func (d *Dialogue) mendedLine(by ruleSet) {
	if by.empty() {
		return
	}
	d.departed(by)
	d.event("line mended by " + d.policy.Rules.nameSet(by))
}
