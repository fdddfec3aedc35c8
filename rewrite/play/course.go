package play

import (
	"fmt"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// A course compares a dialogue with its recording: what the server was told, and what the
// client got.
type course struct {
	told    []string   // what the server was told in the recording, and not yet now
	heard   [][]string // replies that the client got in the recording, and not yet now
	saying  string     // the verb of the client's last command
	login   bool       // the client may have said a credential, which replies may repeat
	refuses string     // the verb that the server's reply answers
	doubt   *doubt
	assumed Change
	unknown Change

	offered, shown string // the lines of the last EHLO reply, in the recording and now
}

// A doubt is a line to the server that is not in the recording.
type doubt struct {
	replies   int    // replies that come before the reply to that line
	sameVerb  bool   // only its argument differs
	told, was string // the line now, and in the recording
	line      int
}

// newCourse returns the course of a recording.
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
				c.heard = append(c.heard, reply)
				reply = nil
			}
		}
	}
	return c
}

// goesOn reports whether a line of a reply announces another.
func goesOn(line string) bool { return len(line) > 3 && line[3] == '-' }

// toServer takes lines that the server is told.
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

// mayBeLeftOut is the set of commands that do not change the state of a server.
var mayBeLeftOut = rewrite.SetOf(rewrite.VerbNOOP, rewrite.VerbHELP, rewrite.VerbVRFY, rewrite.VerbOther)

// mostSkipped is the largest number of commands in a row that are left out.
const mostSkipped = 100

// skip leaves out commands of the recording that the server is not told now, with their
// replies, if line follows them in the recording. It reports whether it did.
func (c *course) skip(line string, p *player, at int) bool {
	n := 0
	for n < len(c.told) && !same(c.told[n], line) {
		if n == mostSkipped || !mayBeLeftOut.Has(rewrite.ParseVerb([]byte(c.told[n]))) {
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
	c.assume(at, "the server does not get "+command(c.told[0]))
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

// reply examines a reply of the server before the dialogue gets it: whether the recording
// has a reply to what the server was told.
func (c *course) reply(said []string, p *player) {
	c.refuses = p.d.Awaited().String()
	last := said[len(said)-1]
	code, _ := codeOf(last)
	switch doubt := c.doubt; {
	case doubt == nil:
	case doubt.replies > 0:
		doubt.replies--
	case doubt.sameVerb && code > 0 && code < 400:
		c.doubt = nil
		c.assume(doubt.line, fmt.Sprintf("the server gets %s, and got %s", command(doubt.told), command(doubt.was)))
	case doubt.sameVerb:
		c.unknown = Change{doubt.line, fmt.Sprintf("the server gets %s; it refused %s with %s", command(doubt.told), command(doubt.was), c.quoted(last))}
	case doubt.was != "":
		c.unknown = Change{doubt.line, fmt.Sprintf("the server gets %s; in the recording it got %s", command(doubt.told), command(doubt.was))}
	default:
		c.unknown = Change{doubt.line, fmt.Sprintf("the server gets %s; the recording does not have that", command(doubt.told))}
	}
}

// toClient takes lines that the client gets.
func (c *course) toClient(lines []string, p *player, at int) {
	var reply []string
	for _, line := range lines {
		if reply = append(reply, line); goesOn(line) {
			continue
		}
		if len(c.heard) == 0 {
			return
		}
		was := c.heard[0]
		c.heard = c.heard[1:]
		if code, _ := codeOf(line); c.saying == "EHLO" && code == 250 {
			c.offered, c.shown = strings.ToUpper(strings.Join(was, "\n")), strings.ToUpper(strings.Join(reply, "\n"))
		}
		if kind(was[len(was)-1]) != kind(line) && len(p.client) > 0 && c.unknown.Why == "" {
			c.unknown = Change{at, fmt.Sprintf("the client gets %s; in the recording it got %s", c.quoted(reply[0]), c.quoted(was[0]))}
			return
		}
		reply = nil
	}
}

// kind returns the part of a reply's last line that decides how a client continues. A
// permanent and a temporary refusal are the same in that.
func kind(line string) int {
	code, _ := codeOf(line)
	return min(code/100, 4)
}

// needs maps commands to the keyword without which a client does not use them.
var needs = map[rewrite.Verb]string{
	rewrite.VerbBDAT: "CHUNKING", rewrite.VerbSTARTTLS: "STARTTLS", rewrite.VerbAUTH: "AUTH", rewrite.VerbXCLIENT: "XCLIENT",
}

// says reports whether the client would say its next line: it does not use what it was
// offered in the recording and is not offered now.
func (c *course) says(line string, p *player) bool {
	if p.d.Next(true) == rewrite.AwaitSASL {
		return true
	}
	v := rewrite.ParseVerb([]byte(line))
	if keyword := needs[v]; keyword != "" && strings.Contains(c.offered, keyword) && !strings.Contains(c.shown, keyword) {
		at := p.client[0].place + 1
		c.unknown = Change{at, fmt.Sprintf("the client sends %s, because it was offered %s; now it is not", v, keyword)}
		return false
	}
	c.saying = v.String()
	c.login = c.login || mayHoldCredentials.Has(v)
	return true
}

// same reports whether the server is told what it was told in the recording, as far as
// the recording shows that.
func same(was, told string) bool {
	if before, n := cutHidden(was); n >= 0 {
		return strings.HasPrefix(told, before)
	}
	return was == told
}

// mayHoldCredentials is the set of commands that are not printed unchanged: AUTH, and
// lines that are no commands, such as those of a SASL exchange.
var mayHoldCredentials = rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS, rewrite.VerbOther)

// command returns a command without credentials, for printing.
func command(text string) string {
	switch v := rewrite.ParseVerb([]byte(text)); {
	case v == rewrite.VerbOther:
		return fmt.Sprintf("...(%d octets)", len(text))
	case mayHoldCredentials.Has(v):
		return v.String() + " ..."
	}
	return short(text)
}

// quoted returns a line of a reply without credentials, for printing.
func (c *course) quoted(line string) string {
	if c.login && len(line) > 4 {
		line = line[:4] + rewrite.PlainWords([]byte(line[4:]))
	}
	return short(line)
}

// printed returns a line of a recording for printing.
func (c *course) printed(l transcript.Line) string {
	switch l.Side {
	case transcript.Client:
		return "C: " + command(l.Text)
	case transcript.Server:
		return "S: " + c.quoted(l.Text)
	}
	return l.String()
}

// short returns text of a peer, escaped, and shortened if it is long.
func short(text string) string {
	const most = 100
	if len(text) > most {
		text = text[:most] + "..."
	}
	return transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: text}.String()[len("C: "):]
}
