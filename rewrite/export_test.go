package rewrite

// What tests need that are not of this package, because they need the rules.
var (
	CutCRLF    = cutCRLF
	ParseChunk = parseChunk
	HasCode    = hasCode
	ReplyCode  = replyCode
	ParseReply = parseReply
	Uncarried  = uncarried
	Hellos     = hello
)

const (
	ClientTLSModes = len(clientTLSNames)
	ServerTLSModes = len(serverTLSNames)
	XCLIENTModes   = len(xclientNames)
	MaxOutstanding = maxGroup + 2
)

func (r Reply) AppendTo(b []byte) []byte { return r.appendTo(b) }

// Waits is what the dialogue waits for, whether or not a group may go on.
func (d *Dialogue) Waits() Next { return d.next }

// Told is the verb of the line that a held turn has said last.
func (d *Dialogue) Told() Verb {
	if !d.holds() {
		return VerbOther
	}
	return d.turn.spoken
}

// WholeReply is how many octets of a whole reply ScanReply finds.
func WholeReply(b []byte) (int, error) {
	s, err := ScanReply(b)
	return s.N, err
}

// KeptOfSent is the room, in octets, of the lines that are kept for their replies.
func KeptOfSent(d *Dialogue) int { return cap(d.sent.lines.text) }
