package play

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// A player passes to a dialogue what both sides of a file say, each in its order, when
// the dialogue waits for it.
type player struct {
	d              *rewrite.Dialogue
	file           []transcript.Line
	client, server []input // what the sides have not said yet
	place          int     // the index in file of the last line said
	pipelines      string  // "groups": the client waits for as few replies as RFC 2920 allows; "everything": for none
	said           string  // the client's last line
	behind         bool    // the server has said more after this reply
	connections    int
	ended          bool         // serverEnds has been called
	unasked        map[int]bool // indexes of replies that nothing asked for
	texts          Texts
	to             listening
}

// A listening is told how a play proceeds.
type listening interface {
	// fed is called with what one side has said, or nil for both, and the dialogue's
	// output for that.
	fed(client, server, toServer, toClient []string)
	event(what string)        // an event that the dialogue reports to its tracer too
	lost(what string)         // an event that the dialogue does not report
	passed(l transcript.Line) // a line that passes unread
	goesOn() bool             // false ends the play
	replies(said []string)    // called before the dialogue gets the server's reply
	says(line string) bool    // called before the dialogue gets the client's line; false if the client would not say it
}

// An input is a line of a file that one side says, with its index there.
type input struct {
	place int
	line  transcript.Line
}

// newPlayer begins the dialogue of a file.
func newPlayer(f *transcript.File, policy *rewrite.Policy, l rewrite.Listener, to listening) *player {
	p := &player{d: rewrite.New(policy, Client(f), l), file: f.Dialogue, pipelines: f.Settings["pipelines"], to: to}
	p.d.Connected(netip.AddrPortFrom(Client(f), 49152), destination(f))
	p.unasked = unasked(f.Dialogue)
	for i, l := range f.Dialogue {
		in := input{i, l}
		switch {
		case l.Mark == transcript.Added:
		case l.Side == transcript.Client, isOfMessage(l):
			p.client = append(p.client, in)
		case l.Side == transcript.Server, l.Text == serverLost, l.Text == serverAgain, l.Text == tlsFailed:
			p.server = append(p.server, in)
		}
	}
	return p
}

// speaksUnasked reports whether the server is next in the file although the dialogue
// waits for a line or a message of the client: it sends an unasked reply, hangs up, or
// replies before the end of a message.
func (p *player) speaksUnasked(next rewrite.Next) bool {
	if len(p.server) == 0 {
		return false
	}
	if next == rewrite.AwaitMessage && len(p.client) > 0 && p.client[0].place > p.place &&
		slices.Contains(p.file[p.place:p.client[0].place], transcript.Line{Text: answersEarly}) {
		return true
	}
	return p.serverFirst() && (p.d.Outstanding() > 0 || p.unasked[p.server[0].place])
}

// unasked returns the indexes of replies for which no command is outstanding. In a
// recording, a command that a rule sends first precedes the client's command, although
// the client has sent that before.
func unasked(lines []transcript.Line) map[int]bool {
	places, owed := map[int]bool{}, 1 // the greeting
	for i, l := range lines {
		switch {
		case l.Text == serverAgain && l.Side == 0:
			owed = 1
		case l.Text == serverLost && l.Side == 0:
			places[i], owed = owed <= 0, 0
		case isOfMessage(l) && strings.HasPrefix(l.Text, "message "):
			owed++
		case l.Side == transcript.Client && l.Mark != transcript.Removed:
			owed++
		case l.Side == transcript.Server && l.Mark != transcript.Added:
			if owed <= 0 {
				places[i] = true
			}
			if !goesOn(l.Text) {
				owed = max(0, owed-1)
			}
		}
	}
	return places
}

// The events that the server causes.
const (
	serverLost  = "server lost"
	serverAgain = "server again"
	tlsFailed   = "server TLS failed"

	answersEarly = "server answers before the message has ended" // its reply follows the message
)

// isOfMessage reports whether a line stands for a message or a chunk.
func isOfMessage(l transcript.Line) bool {
	return l.IsMessage() || l.Side == 0 && strings.HasPrefix(l.Text, "chunk ") && strings.HasSuffix(l.Text, " bytes")
}

// play plays the file as far as it can.
func (p *player) play(begins string) {
	if begins != "" {
		p.open(begins)
	}
	for p.to.goesOn() && p.step() {
	}
}

// open plays the beginning of a client's connection. Some rule must act on it.
func (p *player) open(begins string) {
	switch begins {
	case "tls":
		if p.d.Open([]byte{22, 3, 1}, false); p.d.BeginsTLS() {
			p.to.event("client TLS")
		}
	case "in clear":
		if p.d.Open(nil, false) > 0 {
			p.d.Open(nil, true)
		}
	}
}

// left returns the lines that neither side could say.
func (p *player) left() (lines []transcript.Line) {
	for _, in := range append(p.client, p.server...) {
		if in.line.Text != serverAgain || in.line.Side != 0 {
			lines = append(lines, in.line)
		}
	}
	return lines
}

// step does what the dialogue waits for. It returns false at the end, or if the file does
// not have that.
func (p *player) step() bool {
	d := p.d
	next := d.Next(p.ahead() || len(p.client) > 0 && !p.serverFirst())
	if (next == rewrite.AwaitCommand || next == rewrite.AwaitSASL || next == rewrite.AwaitMessage) && p.speaksUnasked(next) {
		next = rewrite.AwaitReply
	}
	switch next {
	case rewrite.AwaitServer:
		return p.greeting()
	case rewrite.AwaitReply:
		return p.reply(func(raw []byte) { d.Reply(raw, p.ahead(), p.behind) })
	case rewrite.AwaitCommand:
		return p.line(func(raw []byte) bool { return d.Command(raw, p.ahead()) })
	case rewrite.AwaitSASL:
		return p.line(func(raw []byte) bool { d.SASL(raw); return true })
	case rewrite.AwaitMessage, rewrite.AwaitDiscard:
		return p.counted("message %d bytes", func(octets int64) {
			if next == rewrite.AwaitMessage {
				p.text()
			}
			d.MessageEnd(octets)
		})
	case rewrite.AwaitChunk, rewrite.AwaitChunkDiscard, rewrite.AwaitChunkText:
		return p.chunk()
	case rewrite.AwaitClientTLS:
		p.to.event("client TLS")
		d.ClientTLS()
	case rewrite.AwaitServerTLS:
		p.serverTLS()
	case rewrite.AwaitOctets:
		return p.octets()
	case rewrite.AwaitAdmission:
		d.Admitted("")
	case rewrite.Opaque:
		return p.opaque()
	case rewrite.AwaitWork, rewrite.End:
		return false
	}
	p.flush(nil, nil)
	return true
}

// greeting passes the server's next greeting, on the first connection or a later one.
func (p *player) greeting() bool {
	p.forgetAgain()
	return p.reply(func(raw []byte) {
		if p.connections++; p.connections > 1 {
			p.to.event(serverAgain)
		}
		p.d.Greeting(raw)
	})
}

// forgetAgain drops the event of a fresh connection.
func (p *player) forgetAgain() {
	for len(p.server) > 0 && p.server[0].line == (transcript.Line{Text: serverAgain}) {
		p.server = p.server[1:]
	}
}

// serverFirst reports whether the server is next in the file.
func (p *player) serverFirst() bool {
	for _, in := range p.server {
		if in.line.Text != serverAgain || in.line.Side != 0 {
			return len(p.client) == 0 || in.place < p.client[0].place
		}
	}
	return false
}

// ahead reports whether the client has already sent more.
func (p *player) ahead() bool {
	return len(p.client) > 0 && (p.pipelines == "everything" || p.pipelines == "groups" && inGroup(p.said))
}

// inGroup reports whether a group may continue after this command (RFC 2920, 3.1).
func inGroup(command string) bool {
	verb, _, _ := strings.Cut(command, " ")
	return verb == "MAIL" || verb == "RCPT" || verb == "RSET"
}

// reply passes the server's next reply, or its hanging up. Lines that follow the reply
// immediately count as received with it.
func (p *player) reply(give func(raw []byte)) bool {
	if len(p.server) == 0 {
		return p.serverEnds()
	}
	p.place = p.server[0].place
	if text := p.server[0].line.Text; p.server[0].line.Side == 0 && text != tlsFailed {
		if text == serverLost {
			p.server = p.server[1:]
		} // otherwise a fresh connection follows, with an event of its own
		p.to.lost(serverLost)
		p.d.Lost()
		p.flush(nil, nil)
		return true
	}
	said := p.together()
	if len(said) == 0 {
		return false
	}
	raw, lines := p.mend(said)
	if lines == 0 {
		raw, lines = firstReply(said)
	}
	if p.to.replies(said[:lines]); !p.to.goesOn() {
		return false
	}
	p.behind = lines < len(said)
	p.server = p.server[lines:]
	scan, err := rewrite.ScanReply(raw)
	switch {
	case len(raw) == 0: // the rules have dropped it
	case err != nil || scan.N != len(raw):
		p.d.Garbage()
	default:
		give(raw)
	}
	p.flush(nil, said[:lines])
	return true
}

// serverEnds makes the server do what it did in place of a reply, if the recording only
// shows what the client got: the server was silent, broke the protocol or hung up.
func (p *player) serverEnds() bool {
	if len(p.file) == 0 {
		return false
	}
	last := p.file[len(p.file)-1]
	if last.Side != transcript.Server || last.Mark != transcript.Added || !strings.HasPrefix(last.Text, "421 ") || p.ended {
		return false
	}
	p.ended, p.place = true, len(p.file)-1
	switch {
	case strings.Contains(last.Text, "broke the protocol"):
		p.d.Garbage()
	case strings.Contains(last.Text, "no answer"):
		p.d.Silent()
	default:
		p.d.Lost()
	}
	p.flush(nil, nil)
	return true
}

// firstReply returns the first reply in said, and its number of lines.
func firstReply(said []string) (raw []byte, lines int) {
	for _, text := range said {
		if lines++; len(text) < 4 || text[3] != '-' {
			break
		}
	}
	return []byte(strings.Join(said[:lines], "\r\n") + "\r\n"), lines
}

// mend runs the rules that repair replies on what the server says at one time. It returns
// the repaired reply and the number of lines that it replaces, 0 if nothing was repaired.
func (p *player) mend(said []string) (raw []byte, lines int) {
	octets := []byte(strings.Join(said, "\r\n") + "\r\n")
	for quiet := int64(0); ; {
		n, made, ok, wait := p.d.Repair(octets, quiet)
		switch {
		case ok:
			return made, strings.Count(string(octets[:n]), "\r\n")
		case wait <= quiet || wait > 5000:
			return nil, 0
		}
		quiet = wait
	}
}

// mostTogether is the largest number of lines that count as said at one time.
const mostTogether = 512

// together returns what the server says at one time: lines between which the file has
// only lines that the server did not say.
func (p *player) together() (said []string) {
	for i, in := range p.server[:min(len(p.server), mostTogether)] {
		if in.line.Side != transcript.Server || i > 0 && !p.follows(p.server[i-1].place, in.place) {
			break
		}
		said = append(said, in.line.Text)
	}
	return said
}

// follows reports whether the line at index next was said at one time with the line at
// index place.
func (p *player) follows(place, next int) bool {
	for _, l := range p.file[place+1 : next] {
		if l.Side != transcript.Server || l.Mark != transcript.Added {
			return false
		}
	}
	return true
}

// line passes the client's next line.
func (p *player) line(give func(raw []byte) bool) bool {
	if len(p.client) == 0 {
		return p.serverEnds()
	}
	if isOfMessage(p.client[0].line) {
		return false
	}
	in, rest := p.client[0], p.client[1:]
	if text := in.line.Text; text != p.said && !p.to.says(text) {
		return false
	}
	p.client, p.said = rest, in.line.Text
	if in.place >= 0 {
		p.place = in.place
	}
	if !give([]byte(p.said + "\r\n")) {
		p.client = append([]input{{-1, in.line}}, rest...)
		return true
	}
	p.flush([]string{p.said}, nil)
	return true
}

// counted passes a message or chunk.
func (p *player) counted(format string, give func(int64)) bool {
	if len(p.client) == 0 {
		return false
	}
	var n int64
	if _, err := fmt.Sscanf(p.client[0].line.Text, format, &n); err != nil || !isOfMessage(p.client[0].line) {
		return false
	}
	p.place = p.client[0].place
	p.to.event(p.client[0].line.Text)
	p.client = p.client[1:]
	give(n)
	p.flush(nil, nil)
	return true
}

// text runs the rules on the text of the present message, if it is known.
func (p *player) text() {
	src := []byte(p.texts[p.place])
	if len(src) == 0 {
		return
	}
	for m := p.d.Text(); ; {
		_, n, end := m.Next(nil, src)
		if why := m.Refusal(); why != "" {
			p.d.RefuseMessage(why)
			return
		}
		if src = src[n:]; end || n == 0 {
			return
		}
	}
}

// chunk passes a chunk. A recording has no event for a chunk that was discarded.
func (p *player) chunk() bool {
	if len(p.client) > 0 && !isOfMessage(p.client[0].line) {
		p.d.ChunkEnd()
		p.flush(nil, nil)
		return true
	}
	return p.counted("chunk %d bytes", func(int64) { p.d.ChunkEnd() })
}

func (p *player) serverTLS() {
	if len(p.server) > 0 && p.server[0].line == (transcript.Line{Text: tlsFailed}) {
		p.server = p.server[1:]
		p.to.lost(tlsFailed)
		p.d.ServerTLSFailed()
		return
	}
	p.to.event("server TLS")
	p.d.ServerTLS()
}

// octets passes the client's first octets after a SASL exchange.
func (p *player) octets() bool {
	if len(p.client) == 0 {
		return false
	}
	p.place = p.client[0].place
	text := p.client[0].line.Text
	p.d.Octets([]byte(text + "\r\n"))
	if p.d.Next(false) == rewrite.End { // the session has ended, so nothing comes of them
		p.client = p.client[1:]
		p.flush([]string{text}, nil)
	}
	p.flush(nil, nil)
	return true
}

// opaque passes the remaining lines, in the order of the file.
func (p *player) opaque() bool {
	p.to.event("opaque")
	for len(p.client)+len(p.server) > 0 {
		from := &p.client
		if len(p.client) == 0 || len(p.server) > 0 && p.server[0].place < p.client[0].place {
			from = &p.server
		}
		l := (*from)[0].line
		*from = (*from)[1:]
		l.Mark = transcript.Unchanged
		p.to.passed(l)
	}
	return false
}

// flush reports the dialogue's output for what one side has said.
func (p *player) flush(client, server []string) {
	toServer, toClient := linesOf(p.d.ToServer), linesOf(p.d.ToClient)
	p.d.ToServer, p.d.ToClient = nil, nil
	p.to.fed(client, server, toServer, toClient)
}

func linesOf(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\r\n"), "\r\n")
}
