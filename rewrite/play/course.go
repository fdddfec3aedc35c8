package play

import (
	"fmt"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// A course compares a dialogue with what its recording had: what the server was told, and
// what the client heard.
type course struct {
	told    []string // to the server, that is not told yet
	heard   []int    // codes of replies that the client got, and has not got yet
	saying  string   // the verb of the client's last command
	refuses string   // the verb to which the server's reply is
	doubt   *doubt
	assumed Change
	unknown Change

	offered, shown string // the lines of the last reply to EHLO in the recording, and now
	hellos         [][]string
}

// A doubt is that the server is told something else than in the recording.
type doubt struct {
	replies   int    // that come before the one that is in doubt
	sameVerb  bool   // and only the rest differs
	told, was string // now, and in the recording
	line      int
}

// newCourse reads a recording.
func newCourse(lines []transcript.Line) *course {
	c := &course{}
	var reply []string
	for _, l := range lines {
		switch {
		case l.Side == transcript.Client && l.Mark != transcript.Removed:
			c.told = append(c.told, l.Text)
		case l.Side == transcript.Server && l.Mark != transcript.Removed:
			reply = append(reply, l.Text)
			if !goesOn(l.Text) {
				code, _ := codeOf(reply[len(reply)-1:])
				c.heard = append(c.heard, code)
				c.hellos = append(c.hellos, reply)
				reply = nil
			}
		}
	}
	return c
}

// goesOn says that a line of a reply is not its last.
func goesOn(line string) bool { return len(line) > 3 && line[3] == '-' }

// toServer takes what the server is told.
func (c *course) toServer(lines []string, p *player, at int) {
	for i, line := range lines {
		switch {
		case c.doubt != nil || c.unknown.Why != "":
			return
		case len(c.told) > 0 && same(c.told[0], line):
			c.told = c.told[1:]
			continue
		case c.skip(line, p, at):
			continue
		}
		c.doubt = &doubt{replies: max(0, p.d.Outstanding()-len(lines)+i), told: line, line: at}
		if len(c.told) > 0 {
			c.doubt.was = c.told[0]
			v := rewrite.ParseVerb([]byte(line))
			c.doubt.sameVerb = v != rewrite.VerbOther && v == rewrite.ParseVerb([]byte(c.told[0]))
			c.told = c.told[1:]
		}
	}
}

// mayBeLeftOut are commands after which a server goes on as if they had not been said.
var mayBeLeftOut = rewrite.SetOf(rewrite.VerbNOOP, rewrite.VerbHELP, rewrite.VerbVRFY, rewrite.VerbOther)

// skip leaves out commands, with their replies, that the server is not told now, if after
// them the recording has the line.
func (c *course) skip(line string, p *player, at int) bool {
	n := 0
	for n < len(c.told) && !same(c.told[n], line) {
		if !mayBeLeftOut.Has(rewrite.ParseVerb([]byte(c.told[n]))) {
			return false
		}
		n++
	}
	if n == len(c.told) || p.d.Outstanding() > 1 {
		return false
	}
	for range n {
		if lines, ok := p.dropReply(); !ok || lines == 0 {
			return false
		}
	}
	c.assume(at, fmt.Sprintf("the server is not told %s", c.told[0]))
	c.told = c.told[n+1:]
	return true
}

// dropReply leaves out the server's next reply.
func (p *player) dropReply() (lines int, ok bool) {
	for len(p.server) > 0 && p.server[0].line.Side == transcript.Server {
		lines++
		last := !goesOn(p.server[0].line.Text)
		p.server = p.server[1:]
		if last {
			return lines, true
		}
	}
	return lines, false
}

func (c *course) assume(line int, why string) {
	if c.assumed.Why == "" {
		c.assumed = Change{line, why}
	}
}

// reply looks at a reply of the server's before it is given: whether the recording has
// one to what the server was told.
func (c *course) reply(said []string, p *player) {
	c.refuses = p.d.Awaited().String()
	code, text := codeOf(said[len(said)-1:])
	switch doubt := c.doubt; {
	case doubt == nil:
	case doubt.replies > 0:
		doubt.replies--
	case doubt.sameVerb && code > 0 && code < 400:
		c.doubt = nil
		c.assume(doubt.line, fmt.Sprintf("the server is told %s, and was told %s", quoted(doubt.told), quoted(doubt.was)))
	case doubt.sameVerb:
		c.unknown = Change{doubt.line, fmt.Sprintf("the server is told %s; it refused %s with %d %s", quoted(doubt.told), quoted(doubt.was), code, quoted(text))}
	case doubt.was != "":
		c.unknown = Change{doubt.line, fmt.Sprintf("the server is told %s; in the recording it was told %s", quoted(doubt.told), quoted(doubt.was))}
	default:
		c.unknown = Change{doubt.line, fmt.Sprintf("the server is told %s; the recording does not have that", quoted(doubt.told))}
	}
}

// toClient takes what the client hears.
func (c *course) toClient(lines []string, p *player, at int) {
	var reply []string
	for _, line := range lines {
		if reply = append(reply, line); goesOn(line) {
			continue
		}
		code, _ := codeOf(reply[len(reply)-1:])
		if len(c.heard) == 0 {
			return
		}
		was, hello := c.heard[0], c.hellos[0]
		c.heard, c.hellos = c.heard[1:], c.hellos[1:]
		if c.saying == "EHLO" && code == 250 {
			c.offered, c.shown = strings.ToUpper(strings.Join(hello, "\n")), strings.ToUpper(strings.Join(reply, "\n"))
		}
		if kind(was) != kind(code) && len(p.client) > 0 && c.unknown.Why == "" {
			c.unknown = Change{at, fmt.Sprintf("the client hears %s; in the recording it heard %s", quoted(reply[0]), quoted(hello[0]))}
			return
		}
		reply = nil
	}
}

// kind is what a client's further way goes by: a session goes on after a refusal whether
// it is for good or for now.
func kind(code int) int { return min(code/100, 4) }

// needs are the keywords without which a client does not say a command.
var needs = map[rewrite.Verb]string{
	rewrite.VerbBDAT: "CHUNKING", rewrite.VerbSTARTTLS: "STARTTLS", rewrite.VerbAUTH: "AUTH", rewrite.VerbXCLIENT: "XCLIENT",
}

// says looks at the client's next line: whether it would say it. What it was offered in
// the recording, and is not offered now, it does not use.
func (c *course) says(line string, p *player) bool {
	if p.d.Next(true) == rewrite.AwaitSASL {
		return true
	}
	v := rewrite.ParseVerb([]byte(line))
	if keyword := needs[v]; keyword != "" && strings.Contains(c.offered, keyword) && !strings.Contains(c.shown, keyword) {
		at := p.client[0].place + 1
		c.unknown = Change{at, fmt.Sprintf("the client says %s, because it was offered %s; now it is not", v, keyword)}
		return false
	}
	c.saying = v.String()
	return true
}

// same says that what the server is told is what it was told in the recording, as far as
// that has it.
func same(was, told string) bool {
	if before, n := cutHidden(was); n >= 0 {
		return strings.HasPrefix(told, before)
	}
	return was == told
}

// quoted is what a peer said as it is printed, with credentials left out.
func quoted(text string) string {
	const most = 100
	if v := rewrite.ParseVerb([]byte(text)); v == rewrite.VerbAUTH || v == rewrite.VerbXAUTH || v == rewrite.VerbXEXPS || v == rewrite.VerbOther {
		if word, _, ok := strings.Cut(text, " "); ok && !startsWithCode(text) {
			text = word + " ..."
		}
	}
	if len(text) > most {
		text = text[:most] + "..."
	}
	return transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: text}.String()[len("C: "):]
}

func startsWithCode(text string) bool { code, _ := codeOf([]string{text}); return code > 0 }
