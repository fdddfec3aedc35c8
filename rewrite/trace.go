package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A tracer is the Tracer of one dialogue, with what keeps telling it cheap.
type tracer struct {
	Tracer
	said, got []string // for the next line or reply
	texts     strings.Builder
}

// textsAtOnce is how many octets of lines share a piece of memory: a dialogue with
// one message has about as many.
const textsAtOnce = 512

// keep is a copy of a line that stays as it is.
func (t *tracer) keep(line []byte) string {
	if t.texts.Cap()-t.texts.Len() < len(line) { // to grow would copy what is there
		t.texts.Reset()
		t.texts.Grow(max(textsAtOnce, len(line)))
	}
	start := t.texts.Len()
	t.texts.Write(line)
	return t.texts.String()[start:]
}

// event tells the tracer of something that is no line.
func (d *Dialogue) event(what string) {
	if d.tracer != nil {
		d.tracer.Event(what)
	}
}

// departed counts what the rules did, once it is on its way.
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

// byRules are the causes of a line that is not a reply.
func (t *Turn) byRules(s ruleSet) Causes { return Causes{Rules: t.d.policy.Rules.nameSet(s)} }

// swallow tells the tracer of a reply that the client never gets.
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

// lines appends octets, taken apart for the tracer, without what is secret in them.
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

// redacted is a command line without credentials. What is no command may be a
// credential whose AUTH was refused, or whose client lost its place, or spelt
// its verb in a way of its own.
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
	case v == VerbOther: // PASS, as somebody's POP client says it
		if word, rest, ok := bytes.Cut(line, []byte(" ")); ok {
			return string(word) + " " + hidden(len(rest))
		}
	}
	return d.tracer.keep(line)
}

func looksLikeAUTH(line []byte) bool {
	return containsFold(line, "AUTH") || containsFold(line, "X-EXPS")
}

// redactedReply is a line of a reply without a SASL challenge.
func (d *Dialogue) redactedReply(line []byte) string {
	if bytes.HasPrefix(line, []byte("334")) && len(line) > len("334 VXNlcm5hbWU6") && !bytes.Contains(line[4:], []byte(" ")) {
		return string(line[:4]) + hidden(len(line)-4)
	}
	return d.tracer.keep(line)
}

// mechanisms are the names that may stand in a log: any other word behind AUTH
// may be a credential in the wrong place.
var mechanisms = []string{"NTLM", "NTLMSSP", "LOGIN", "PLAIN", "GSSAPI", "GSS-SPNEGO", "CRAM-MD5", "DIGEST-MD5",
	"EXTERNAL", "XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-1", "SCRAM-SHA-256"}

func isMechanism(word []byte) bool {
	return len(word) == 0 || slices.Contains(mechanisms, strings.ToUpper(string(word)))
}

func hidden(n int) string { return fmt.Sprintf("...(%d octets)", n) }

// mendedLine counts the rule that has made a line of what was none, and tells the
// tracer, to whom the line is as it was mended.
func (d *Dialogue) mendedLine(by ruleSet) {
	if by.empty() {
		return
	}
	d.departed(by)
	d.event("line mended by " + d.policy.Rules.nameSet(by))
}
