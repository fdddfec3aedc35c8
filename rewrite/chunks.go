package rewrite

import (
	"fmt"

	"smtpshim/rewrite/vocabulary"
)

// chunkState is what is true of a message that comes by BDAT.
type chunkState struct {
	octets  int64 // of its chunks so far
	refused bool  // one was; the others are, until RSET
	open    bool  // it goes on as DATA, and the server waits for more of it
	last    bool  // the chunk that is under way is the last one
}

const badChunk = "501 5.5.4 BDAT wants a number of octets, and LAST or nothing"

// swallowChunk refuses BDAT and has its octets dropped, so that they are never
// taken for commands (RFC 3030, 2). What we cannot count ends the session.
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

// refusesChunk says why a chunk may not go on; "" if it may.
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

// passChunk sends BDAT on with the chunk behind it. It goes alone, as DATA does:
// among replies to earlier commands, one that comes before the chunk has been
// sent would not be seen for what it is, and in the end be taken for the answer
// to the message.
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
		v = VerbMessage // its answer is that of the message
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

// ruledChunk has the rules see a BDAT. It is false where none of them answers
// it, or has its chunks sent by DATA. A message that goes on as DATA does so to
// its end, whatever the rules say: the server takes all it gets for its text.
func (d *Dialogue) ruledChunk(line, raw []byte, size int64, last bool) bool {
	t := d.newTurn(VerbBDAT, line)
	t.runCommand()
	t.held = false // only the first chunk by DATA is: below
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
	} else { // the first chunk begins it
		d.hold(t)
	}
	return true
}

// sayDATA begins a message whose chunks go on as DATA.
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

// convert moves the octets of a chunk on as text.
func (d *Dialogue) convert() {
	d.turn.held = false
	d.chunk.open = true
	d.seen.idle = 0
	d.next = AwaitChunkText
	d.event(fmt.Sprintf("chunk %d bytes", d.chunkSize))
}

// ChunkIsLast says whether the chunk that AwaitChunkText waits for ends the
// message.
func (d *Dialogue) ChunkIsLast() bool { return d.chunk.last }

// ChunkEnd says that the octets of a chunk have been moved or dropped.
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
		// RFC 3030, 2: it says only that the octets have come; whether there is a
		// message is for the last one to say.
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

// RefuseChunk gives up a message that goes on as DATA, and tells the client why.
// The server never gets its end. The octets of this chunk have been dropped.
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

// EarlyChunkReply is the server's answer to a message that goes on as DATA and
// has not ended. It is false, and nothing has happened, if that is no refusal.
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

// betweenChunks answers what is said while a message goes on as DATA: the
// server can hear nothing but the message.
func (d *Dialogue) betweenChunks(v Verb) {
	switch v {
	case VerbNOOP:
		d.answer(v, "250 2.0.0 ok")
	case VerbQUIT:
		d.server.gone = true
		d.Finish("221 2.0.0 closing connection")
	case VerbRSET: // what the server has of the message dies with its connection
		d.endText()
		d.endTransaction()
		d.answer(v, "250 2.0.0 ok")
		d.spend("", "")
	default:
		d.answer(v, "503 5.5.1 a message is being sent by BDAT")
	}
}
