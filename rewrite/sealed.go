package rewrite

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// mayMask says whether a SASL exchange can end in a stream that we cannot read:
// NTLM that seals, as Exchange's "encryption" does (KB Q245565), and the
// mechanisms with security layers (RFC 4954, 4; RFC 4752, 3.3; RFC 2831, 2.3).
// Whether NTLM seals cannot be told from its messages: clients ask for sealing
// and never seal (ntlm-auth 1.4.0, impacket 0.10.0).
func mayMask(command []byte) bool {
	if ParseVerb(command) == VerbXAUTH {
		return true
	}
	mechanism, _, _ := strings.Cut(string(Argument(command)), " ")
	return slices.Contains([]string{"NTLM", "NTLMSSP", "GSSAPI", "GSS-SPNEGO", "DIGEST-MD5"}, strings.ToUpper(mechanism))
}

// blockHeader is the number of octets that give the length of a sealed block, the
// most significant first (RFC 4422, 3.7). A block has fewer than 2^24 octets (RFC
// 4752, 3.3; RFC 2831, 2.1.1), so the first octet is a NUL, which no line of text has.
const blockHeader = 4

// isSealed reports whether octets begin a block of a sealed stream.
func isSealed(octets []byte) bool {
	return len(octets) >= blockHeader && octets[0] == 0 && binary.BigEndian.Uint32(octets) > 0
}

// Octets are the first octets of the client's after a SASL exchange that may
// have begun to mask the stream: four or more, or a line that is shorter. What may be
// text is read as commands. A stream that cannot be read could have XCLIENT in it: no
// server that takes ours gets one.
func (d *Dialogue) Octets(b []byte) {
	d.next = AwaitCommand
	switch {
	case !isSealed(b):
	case d.policy.XCLIENT != XCLIENTNever:
		d.server.gone = true
		d.end(vocabulary.OutcomeClientProtocol, maskedText)
	default:
		d.next = Opaque
		d.seen.sealed = true
		d.event("opaque")
	}
}

// Sealed reports whether the session is Opaque because the client has begun a sealed
// stream. That is only its word: until the server has sent a block too, no more than
// the client's first block may pass, as SealedBlock has it. What the server answers is
// for ServerSealed to judge.
func (d *Dialogue) Sealed() bool { return d.seen.sealed }

// ServerSealed judges the server's first octets in a sealed stream. If they are text,
// it does not seal, and the session ends: what the client sends would be commands that
// nobody has read. more reports whether the stream may go on.
func (d *Dialogue) ServerSealed(octets []byte) (more bool) {
	if len(octets) > 0 && octets[0] == 0 {
		return true
	}
	d.unsealed()
	return false
}

// unsealed ends a session whose sealed stream is none.
func (d *Dialogue) unsealed() {
	d.server.gone = true
	d.end(vocabulary.OutcomeClientProtocol, "421 4.7.0 what began as a sealed stream is none")
}

// A SealedBlock follows the client's first block of a sealed stream.
type SealedBlock struct {
	d    *Dialogue
	left int64 // octets of it that have not come
	tail []byte
}

// SealedBlock begins with octets of which isSealed was true.
func (d *Dialogue) SealedBlock(octets []byte) *SealedBlock {
	return &SealedBlock{d: d, left: blockHeader + int64(binary.BigEndian.Uint32(octets))}
}

// Next returns how many of the octets may go to the server: those of the block. ok is
// false, and the session ends, if there is a command among them, which sealing would
// have made unreadable.
func (b *SealedBlock) Next(octets []byte) (n int, ok bool) {
	n = int(min(int64(len(octets)), b.left))
	b.left -= int64(n)
	b.tail = append(b.tail, octets[:n]...)
	whole := b.tail
	if b.left > 0 { // the last word may go on
		whole = bytes.TrimRightFunc(whole, isVerbRune)
	}
	if hasCommand(whole) {
		b.d.unsealed()
		return 0, false
	}
	b.tail = append(b.tail[:0], b.tail[max(0, len(b.tail)-maxVerb-1):]...)
	return n, true
}

// Done reports whether all of the block has come.
func (b *SealedBlock) Done() bool { return b.left == 0 }

// hasCommand reports whether a verb stands among octets as a word of its own.
func hasCommand(octets []byte) bool {
	for word := range bytes.FieldsFuncSeq(octets, func(c rune) bool { return !isVerbRune(c) }) {
		var room [maxVerb]byte
		if verbNamed(upper(room[:], string(word))) != VerbOther {
			return true
		}
	}
	return false
}

func isVerbRune(c rune) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '-' || '0' <= c && c <= '9'
}
