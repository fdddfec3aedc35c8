package rewrite

import (
	"bytes"
	"encoding/base64"
	"slices"
)

// secrets holds what the client has said in the present AUTH exchange. Some servers
// repeat in a refusal what they refuse; secrets finds such a repetition in a reply.
type secrets struct {
	octets int      // octets said so far
	whole  [][]byte // words, in upper case, that a reply must not contain
	parts  []uint64 // hashes of parts of words that a reply must not contain
	sorted bool     // parts is sorted
}

const (
	// maxSecrets is the largest number of octets kept of one exchange. It is more than
	// one line may have (RFC 4954, 4). In a longer exchange every reply counts as a
	// repetition.
	maxSecrets = 16 << 10
	// encodedPart and decodedPart are the shortest parts of a credential that are
	// recognised, in octets, because a server may repeat only a part: encodedPart in
	// base64, decodedPart after decoding. Decoded text needs a longer part, because it
	// has more in common with the words of a reply.
	encodedPart = 6
	decodedPart = 12
	// minDecoded is the length, in octets, of the shortest word in a decoded credential
	// that is looked for. Shorter words occur in every text.
	minDecoded = 3
)

// add records the argument of an AUTH command, or a SASL line.
func (s *secrets) add(text []byte) {
	if s.octets += len(text); s.octets > maxSecrets {
		s.whole, s.parts = nil, nil
		return
	}
	for word := range bytes.FieldsSeq(text) {
		if isMechanism(word) || string(word) == "*" || string(word) == "=" || sasl.Has(ParseVerb(word)) { // RFC 4954, 4
			continue // "auth" also begins "authentication failed"
		}
		s.keep(bytes.ToUpper(word), encodedPart)
		decoded, err := base64.RawStdEncoding.DecodeString(string(bytes.TrimRight(word, "=")))
		if err != nil {
			continue
		}
		for _, inner := range bytes.FieldsFunc(decoded, func(r rune) bool { return r < ' ' }) {
			if len(inner) >= minDecoded {
				s.keep(bytes.ToUpper(inner), decodedPart)
			}
		}
	}
}

// keep records a word, and of a long word each part of size octets. A decoded word with
// an @ is recorded only as a whole: it is an address, whose domain is not secret.
func (s *secrets) keep(word []byte, size int) {
	if len(word) <= size || size == decodedPart && bytes.IndexByte(word, '@') >= 0 {
		s.whole = append(s.whole, word)
		return
	}
	for ; len(word) >= size; word = word[1:] {
		s.parts = append(s.parts, hash(word[:size]))
	}
	s.sorted = false
}

// repeatedIn reports whether text contains a credential or a part of one, ignoring case.
func (s *secrets) repeatedIn(text []byte) bool {
	if s.octets > maxSecrets {
		return true
	}
	if !s.sorted {
		slices.Sort(s.parts)
		s.sorted = true
	}
	text = bytes.ToUpper(text)
	if slices.ContainsFunc(s.whole, func(word []byte) bool { return bytes.Contains(text, word) }) {
		return true
	}
	if len(s.parts) == 0 {
		return false
	}
	for ; len(text) >= encodedPart; text = text[1:] {
		if s.hasPart(text[:encodedPart]) || len(text) >= decodedPart && s.hasPart(text[:decodedPart]) {
			return true
		}
	}
	return false
}

func (s *secrets) hasPart(b []byte) bool {
	_, found := slices.BinarySearch(s.parts, hash(b))
	return found
}

// hash returns the FNV-1a hash of b.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// beginAUTH records the argument of a command that begins an AUTH exchange.
func (d *Dialogue) beginAUTH(v Verb, line []byte) {
	if !sasl.Has(v) {
		return
	}
	d.turn.attempts(line)
	d.secrets = &secrets{}
	line = bytes.TrimLeft(line, blanks)
	if i := bytes.IndexAny(line, blanks+"=:"); i >= 0 {
		d.secrets.add(line[i+1:])
	}
}

// mayEcho reports whether a line of a reply may repeat a credential. A line that is no
// command may be a credential whose AUTH was refused; it is not recorded, so its reply is
// judged by the code.
func (d *Dialogue) mayEcho(v Verb, line []byte) bool {
	switch {
	case len(line) <= 4:
		return false
	case sasl.Has(v) && d.secrets != nil:
		return d.secrets.repeatedIn(line[4:])
	}
	if v == VerbOther && line[0] >= '4' && d.MayRepeatCredentials() {
		return true
	}
	return line[0] == '5' && line[1] == '0' && (sasl.Has(v) || v == VerbOther)
}

// MayRepeatCredentials reports whether the client has sent a credential, or a line that
// may be one. If so, the server may repeat it in a reply to an unknown command, or in a
// reply that no command asked for.
func (d *Dialogue) MayRepeatCredentials() bool {
	return d.seen.suspect || d.seen.authenticated || d.secrets != nil
}

// tellable returns what a listener may be told of a reply: the text of its first line,
// without the code. The result is a slice of raw; nil if the text may contain a secret.
func (d *Dialogue) tellable(v Verb, raw []byte) []byte {
	line, _, _ := bytes.Cut(raw, crlf)
	if bytes.HasPrefix(line, []byte("334")) || d.mayEcho(v, line) {
		return nil
	}
	return line[min(len(line), 4):]
}
