package rewrite

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// mayMask reports whether the exchange of an AUTH command can end in a sealed stream,
// which we cannot read. This may follow NTLM, as with Exchange's "encryption" (KB
// Q245565), and mechanisms with security layers (RFC 4954, 4; RFC 4752, 3.3; RFC 2831,
// 2.3). The messages of NTLM do not show whether it seals: clients ask for sealing and
// never seal (ntlm-auth 1.4.0, impacket 0.10.0).
func mayMask(command []byte) bool {
	if ParseVerb(command) == VerbXAUTH {
		return true
	}
	mechanism, _, _ := strings.Cut(string(Argument(command)), " ")
	return slices.Contains([]string{"NTLM", "NTLMSSP", "GSSAPI", "GSS-SPNEGO", "DIGEST-MD5"}, strings.ToUpper(mechanism))
}

// blockHeader is the length, in octets, of the header of a sealed block. It gives the
// size of the block, most significant octet first (RFC 4422, 3.7). A block has fewer than
// 2^24 octets (RFC 4752, 3.3; RFC 2831, 2.1.1), so the first octet is a NUL, which no
// line of text contains.
const blockHeader = 4

// isSealed reports whether octets begin a block of a sealed stream.
func isSealed(octets []byte) bool {
	return len(octets) >= blockHeader && octets[0] == 0 && binary.BigEndian.Uint32(octets) > 0
}

// Octets takes octets, the first that the client has sent after a SASL exchange that
// may have begun a sealed stream. In a sealed stream, the SASL mechanism encrypts all
// that client and server send. The caller calls Octets while Next is AwaitOctets, with
// at least four octets or a shorter line.
//
// If octets begin a sealed block, the session becomes Opaque. But unless Policy.XCLIENT
// is XCLIENTNever, the session ends instead, because the client could hide an XCLIENT
// of its own in the stream. If octets are text, Next is AwaitCommand, and the caller
// reads them again as commands.
func (d *Dialogue) Octets(octets []byte) {
	d.next = AwaitCommand
	switch {
	case !isSealed(octets):
	case d.policy.XCLIENT != XCLIENTNever:
		d.server.gone = true
		d.end(vocabulary.OutcomeClientProtocol, maskedText)
	default:
		d.next = Opaque
		d.seen.sealed = true
		d.event("opaque")
	}
}

// Sealed reports whether the session is Opaque because the client seems to have begun a
// sealed stream: see [Dialogue.Octets]. The caller must not trust this yet. It sends on
// only the client's first block, by [Dialogue.SealedBlock], and passes the server's
// first octets to [Dialogue.ServerSealed]. Only if the server seals too may the rest
// pass unread.
func (d *Dialogue) Sealed() bool { return d.seen.sealed }

// ServerSealed takes octets, the first that the server has sent after the client has
// begun a sealed stream. more is true if they begin a sealed block, so that the stream
// may go on. If they are text, the server does not seal, and more is false. The session
// then ends, because the client's octets could be commands that we have not read.
func (d *Dialogue) ServerSealed(octets []byte) (more bool) {
	if len(octets) > 0 && octets[0] == 0 {
		return true
	}
	d.unsealed()
	return false
}

// unsealed ends a session whose stream turns out not to be sealed.
func (d *Dialogue) unsealed() {
	d.server.gone = true
	d.end(vocabulary.OutcomeClientProtocol, "421 4.7.0 what began as a sealed stream is none")
}

// A SealedBlock follows the client's first block of a sealed stream while it is sent
// on.
type SealedBlock struct {
	d    *Dialogue
	left int64 // octets of the block that have not come
	tail []byte
}

// SealedBlock returns a SealedBlock for the client's first block of a sealed stream. It
// is for sessions in which Sealed is true. octets begin with that block, and have at
// least its first four octets.
func (d *Dialogue) SealedBlock(octets []byte) *SealedBlock {
	return &SealedBlock{d: d, left: blockHeader + int64(binary.BigEndian.Uint32(octets))}
}

// Next takes octets, the next that the client has sent. The first n of them belong to
// the block and may be sent on. If the block has the verb of a command in it, it is not
// sealed: the session ends, and ok is false.
func (b *SealedBlock) Next(octets []byte) (n int, ok bool) {
	n = int(min(int64(len(octets)), b.left))
	b.left -= int64(n)
	b.tail = append(b.tail, octets[:n]...)
	whole := b.tail
	if b.left > 0 { // the last word may continue
		whole = bytes.TrimRightFunc(whole, isVerbRune)
	}
	if hasCommand(whole) {
		b.d.unsealed()
		return 0, false
	}
	b.tail = append(b.tail[:0], b.tail[max(0, len(b.tail)-maxVerb-1):]...)
	return n, true
}

// Done reports whether Next has taken the whole block.
func (b *SealedBlock) Done() bool { return b.left == 0 }

// hasCommand reports whether octets contain a verb as a whole word.
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
