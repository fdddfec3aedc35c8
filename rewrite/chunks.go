package rewrite

import "fmt"

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
	size, _, ok := parseChunk(line)
	if !ok {
		d.end("client-protocol", badChunk)
		return
	}
	d.chunk.refused = true
	d.answer(VerbBDAT, text)
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
	converts := d.server.offers&OffersCHUNKING == 0
	why := d.refusesChunk(size)
	if d.sent.n > 0 {
		d.grouping = false
		return false
	}
	d.heard(VerbBDAT)
	switch {
	case !ok:
		d.trace('C', VerbBDAT, raw, nil, 0)
		d.server.gone = true
		d.end("client-protocol", badChunk)
		return true
	case why != "":
		if !d.chunk.refused {
			d.listener.Limited(sizeLimit)
		}
		d.trace('C', VerbBDAT, raw, nil, 0)
		d.swallowChunk(line, why)
		return true
	case converts:
		d.convertChunk(line, size, last)
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
	d.grouping = false
	d.trace('C', VerbBDAT, raw, raw, 0)
	if size > 0 {
		d.chunkSize, d.next = size, AwaitChunk
		d.event(fmt.Sprintf("chunk %d bytes", size))
	}
	return true
}

// convertChunk has a chunk sent as part of a message by DATA, which the first
// one begins.
func (d *Dialogue) convertChunk(line []byte, size int64, last bool) {
	t := &d.turn
	t.reset(d, VerbBDAT, line)
	place, _ := d.chunkRule()
	t.applied.add(place)
	t.firstBy = t.applied
	d.chunk.last, d.chunkSize = last, size
	d.chunk.octets += size
	if d.chunk.open {
		d.trace('C', VerbBDAT, append(line[:len(line):len(line)], crlf...), nil, t.applied)
		d.convert()
		return
	}
	t.held = true
	d.say("DATA", stageData)
}

// convert moves the octets of a chunk on as text.
func (d *Dialogue) convert() {
	d.turn.held = false
	d.chunk.open = true
	d.seen.idle = 0
	d.next = AwaitChunkText
	d.event(fmt.Sprintf("chunk %d bytes", d.chunkSize))
}

// dataReply is the server's answer to the DATA that the first chunk begins.
func (d *Dialogue) dataReply(code int, raw []byte) {
	if code == 354 {
		d.swallow(raw)
		d.convert()
		return
	}
	d.turn.held = false
	d.chunk.refused = true
	d.give(VerbBDAT, raw, Reply{})
	if d.next != End {
		d.discard(d.chunkSize)
	}
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
	d.departed(d.turn.applied)
	if !d.chunk.last {
		// RFC 3030, 2: it says only that the octets have come; whether there is a
		// message is for the last one to say.
		d.answer(VerbBDAT, fmt.Sprintf("250 2.0.0 %d octets received", d.chunkSize))
		return
	}
	d.chunk = chunkState{}
	d.seen.messages++
	d.sent.push(VerbMessage)
	d.grouping = false
}

// RefuseChunk gives up a message that goes on as DATA, and tells the client why.
// The server never gets its end. The octets of this chunk have been dropped.
func (d *Dialogue) RefuseChunk(text string) {
	d.endTransaction()
	d.refuse("message-refused", spentText, weSaid+text)
	d.answer(VerbBDAT, text)
}

// EarlyChunkReply is the server's answer to a message that goes on as DATA and
// has not ended. It is false, and nothing has happened, if that is no refusal.
func (d *Dialogue) EarlyChunkReply(raw []byte) bool {
	if code, err := replyCode(raw); err != nil || code < 400 {
		return false
	}
	d.refuse("server-lost", spentText, earlyReason)
	d.give(VerbMessage, raw, Reply{})
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
		d.refuse("client-protocol", spentText, "the client gave up a message between its chunks")
		d.answer(v, "250 2.0.0 ok")
	default:
		d.answer(v, "503 5.5.1 a message is being sent by BDAT")
	}
}

func bdatToData() Rule {
	return Rule{
		Name:  "bdat-to-data",
		Heals: "servers without CHUNKING, for clients that send by BDAT alone or better so",
		Doc: "The client is offered CHUNKING (never BINARYMIME), and its chunks go to the server as one message by DATA, with " +
			"dots stuffed and stray line ends mended. Each chunk but the last is answered by us as received; the last by the " +
			"server. RSET between chunks costs the connection to the server. It is in no set: a client that can do BDAT can do DATA.",
		Source: "RFC 3030; KB821733",
		setup:  func(options) (actions, *ConfigError) { return actions{chunks: true}, nil },
	}
}

// A Stuffer makes text for DATA of octets that came by BDAT: it doubles dots at
// the start of lines (RFC 5321, 4.5.2) and mends stray line ends as Message
// does. The zero Stuffer stands before the first octet.
type Stuffer struct {
	inLine bool
	cr     bool // the octet before was a CR, of which nothing is known yet
	mended int64
}

// Mended counts the bare CRs, bare LFs and NULs that were replaced so far.
func (s *Stuffer) Mended() int64 { return s.mended }

// Append appends what src becomes to dst.
func (s *Stuffer) Append(dst, src []byte) []byte {
	for _, c := range src {
		if s.cr {
			s.cr = false
			if c == '\n' {
				dst, s.inLine = append(dst, "\r\n"...), false
				continue
			}
			dst, s.inLine = append(dst, ' '), true
			s.mended++
		}
		switch {
		case c == '\r':
			s.cr = true
			continue
		case c == '\n':
			dst, s.inLine = append(dst, "\r\n"...), false
			s.mended++
			continue
		case c == '.' && !s.inLine:
			dst = append(dst, '.')
		case c == 0:
			c = ' '
			s.mended++
		}
		dst, s.inLine = append(dst, c), true
	}
	return dst
}

// End appends the end of the message, and of its last line if that has none.
func (s *Stuffer) End(dst []byte) []byte {
	if s.cr {
		dst, s.inLine = append(dst, ' '), true
		s.mended++
	}
	if s.inLine {
		dst = append(dst, crlf...)
	}
	return append(dst, ".\r\n"...)
}
