package rewrite

import (
	"fmt"

	"smtpshim/rewrite/vocabulary"
)

// chunkState is the state of a message that the client sends by BDAT.
type chunkState struct {
	octets  int64 // in all its chunks so far
	refused bool  // a chunk was refused; later ones are refused too, until RSET
	open    bool  // the chunks are sent on by DATA, and the server waits for more text
	last    bool  // the chunk in transit is the last one
}

const badChunk = "501 5.5.4 BDAT wants a number of octets, and LAST or nothing"

// swallowChunk refuses a BDAT and discards its octets, so that they are never read as
// commands (RFC 3030, 2). It ends the session if the size of the chunk cannot be read.
func (d *Dialogue) swallowChunk(line []byte, text string) {
	size, last, ok := parseChunk(line)
	if !ok {
		d.unreadable(badChunk)
		return
	}
	d.chunk.refused = true
	if last {
		d.answerEach(VerbBDAT, text)
	} else {
		d.answer(VerbBDAT, text)
	}
	d.discard(size)
}

func (d *Dialogue) discard(size int64) {
	if size > 0 {
		d.chunkSize, d.next = size, AwaitChunkDiscard
	}
}

// refusesChunk returns the reply that refuses a chunk of this size; "" if the chunk may
// be sent on.
func (d *Dialogue) refusesChunk(size int64) string {
	limit := d.policy.Limits.MessageSize
	switch {
	case d.chunk.refused:
		return "503 5.5.1 a chunk of this message was refused"
	case limit > 0 && d.chunk.octets+size > limit:
		return d.tooLarge()
	}
	return ""
}

// passChunk sends on a BDAT and its chunk. It does so only when no reply is outstanding,
// as for DATA. Otherwise an early reply to the chunk would be lost among the replies to
// earlier commands, and a later one would be taken for the reply to the message.
func (d *Dialogue) passChunk(line, raw []byte) (taken bool) {
	size, last, ok := parseChunk(line)
	why := d.refusesChunk(size)
	if d.sent.n > 0 {
		d.grouping = false
		return false
	}
	d.heard(VerbBDAT)
	switch {
	case !ok:
		d.trace('C', VerbBDAT, raw, nil, Causes{})
		d.unreadable(badChunk)
		return true
	case d.server.short:
		d.trace('C', VerbBDAT, raw, nil, Causes{})
		d.refuseShort()
		return true
	case why != "":
		if !d.chunk.refused {
			d.listener.Limited(vocabulary.LimitMessageSize)
		}
		d.trace('C', VerbBDAT, raw, nil, Causes{})
		d.swallowChunk(line, why)
		return true
	case d.policy.Rules.seesCommand(VerbBDAT, d.seen.helloOwed) && d.ruledChunk(line, raw, size, last):
		return true
	case d.server.known&offersCHUNKING == 0:
		d.trace('C', VerbBDAT, raw, nil, Causes{})
		d.swallowChunk(line, "502 5.5.1 BDAT was not offered")
		return true
	}
	v := VerbBDAT
	if last {
		v = VerbMessage // the reply to the last chunk is the reply to the message
		d.seen.messages++
	}
	d.seen.idle = 0
	d.chunk.octets += size
	d.ToServer = append(d.ToServer, raw...)
	d.sent.push(v)
	d.observed.sends()
	d.grouping = false
	d.trace('C', VerbBDAT, raw, raw, Causes{})
	if size > 0 {
		d.chunkSize, d.next = size, AwaitChunk
		d.event(fmt.Sprintf("chunk %d bytes", size))
	}
	return true
}

// ruledChunk runs the rules on a BDAT. It returns false if no rule answers the command or
// has its chunks sent by DATA. A message whose first chunk was sent by DATA is sent by
// DATA to its end, whatever the rules do later: the server reads all that it receives as
// text.
func (d *Dialogue) ruledChunk(line, raw []byte, size int64, last bool) bool {
	t := d.newTurn(VerbBDAT, line)
	t.runCommand()
	t.held = false // only the first chunk by DATA holds the turn; see below
	switch {
	case t.answered.Code != 0:
		d.trace('C', VerbBDAT, raw, nil, t.byRules(t.replyBy))
		d.chunk.refused = true
		t.giveAnswer()
		if d.next != End {
			d.discard(size)
		}
		return true
	case !t.asData && !d.chunk.open:
		return false
	}
	d.chunk.last, d.chunkSize = last, size
	d.chunk.octets += size
	if d.chunk.open {
		d.trace('C', VerbBDAT, raw, nil, t.byRules(t.lineBy))
		d.convert()
	} else { // this chunk begins the message
		d.hold(t)
	}
	return true
}

// sayDATA sends DATA for a message whose chunks are sent on by DATA.
func (t *Turn) sayDATA() {
	d := t.d
	e := t.sayTheirs("DATA")
	switch {
	case e.kind == lost:
		d.end(vocabulary.OutcomeServerLost, lostText)
	case e.code == 354:
		d.swallow(e.raw, t.lineCause())
		d.convert()
	default:
		t.held = false
		d.chunk.refused = true
		d.give(VerbBDAT, e.raw, Reply{})
		if d.next != End {
			d.discard(d.chunkSize)
		}
	}
}

// convert makes the dialogue wait for the octets of a chunk, to be sent on as text.
func (d *Dialogue) convert() {
	d.turn.held = false
	d.chunk.open = true
	d.seen.idle = 0
	d.next = AwaitChunkText
	d.event(fmt.Sprintf("chunk %d bytes", d.chunkSize))
}

// ChunkIsLast reports whether the chunk that AwaitChunkText waits for is the last of
// its message. After the last chunk the caller sends the server the result of
// [Text.StuffEnd] and calls ChunkEnd. It does neither if the message was refused or the
// server was lost.
func (d *Dialogue) ChunkIsLast() bool { return d.chunk.last }

// ChunkEnd tells the dialogue that all ChunkSize octets of the present chunk have come,
// and were sent on or discarded. The caller does not call it if RefuseChunk,
// EarlyChunkReply, Reply or Lost has already given the client the reply to the chunk.
func (d *Dialogue) ChunkEnd() {
	was := d.next
	d.next = AwaitCommand
	if was != AwaitChunkText {
		return
	}
	if d.turn != nil {
		d.departed(d.turn.applied)
	}
	d.Text().stuffed = nil
	if !d.chunk.last {
		// This reply says only that the octets were received. The reply to the last chunk
		// says whether the message was accepted (RFC 3030, 2).
		d.answer(VerbBDAT, fmt.Sprintf("250 2.0.0 %d octets received", d.chunkSize))
		return
	}
	d.endText()
	d.chunk = chunkState{}
	d.seen.messages++
	d.sent.push(VerbMessage)
	d.observed.sendsMessage()
	d.grouping = false
}

// RefuseChunk refuses a message that comes by BDAT and is sent on by DATA. The caller
// calls it in place of ChunkEnd, after all octets of the present chunk have come. The
// client gets text, a reply without CRLF, as the reply to the chunk. The server never
// receives the end of the message, and the connection to it is given up.
func (d *Dialogue) RefuseChunk(text string) {
	d.endText()
	if d.chunk.last {
		d.answerEach(VerbBDAT, text)
	} else {
		d.answer(VerbBDAT, text)
	}
	d.endTransaction()
	d.spend(vocabulary.OutcomeMessageRefused, weSaid+text)
}

// EarlyChunkReply takes raw, a reply that the server sends before the end of a message
// that comes by BDAT and is sent on by DATA. If raw is a refusal (4xx or 5xx), the
// client gets it as the reply to its chunk, the connection to the server is given up,
// and the result is true. The session with the client goes on; if raw is a 421, Parting
// is true from then on. If raw is not a refusal, nothing happens and the result is
// false.
func (d *Dialogue) EarlyChunkReply(raw []byte) bool {
	if code, err := replyCode(raw); err != nil || code < 400 {
		return false
	}
	d.endText()
	each := 1
	if d.chunk.last {
		each = d.recipients.told()
	}
	for range each {
		d.give(VerbMessage, raw, Reply{})
	}
	d.spend(vocabulary.OutcomeServerLost, earlyReason)
	return true
}

// betweenChunks answers a command between two chunks of a message that is sent on by
// DATA. Such a command cannot be sent to the server, which would read it as text.
func (d *Dialogue) betweenChunks(v Verb) {
	switch v {
	case VerbNOOP:
		d.answer(v, "250 2.0.0 ok")
	case VerbQUIT:
		d.server.gone = true
		d.Finish("221 2.0.0 closing connection")
	case VerbRSET: // closing the connection discards the text that the server has received
		d.endText()
		d.endTransaction()
		d.answer(v, "250 2.0.0 ok")
		d.spend("", "")
	default:
		d.answer(v, "503 5.5.1 a message is being sent by BDAT")
	}
}
