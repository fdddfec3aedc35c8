package rewrite

import (
	"bytes"
	"encoding/base64"
	"slices"
)

// secrets are what the client has said in an AUTH exchange that is under way. Some
// servers repeat in a refusal what they refuse; with secrets it is found out
// whether one does.
type secrets struct {
	octets int      // said so far
	whole  [][]byte // words that a reply may not have in it, folded
	parts  []uint64 // hashes of the parts of words that a reply may not have in it either
	sorted bool     // parts are
}

const (
	// maxSecrets bounds what is kept of one exchange, in octets: more than one line
	// may have (RFC 4954, 4). Beyond it every reply counts as an echo.
	maxSecrets = 16 << 10
	// A server may cut short what it repeats. A part of a credential in base64 is
	// recognized from encodedPart octets on; one of what it decodes to from
	// decodedPart on, because it shares more with the words of a reply.
	encodedPart = 6
	decodedPart = 12
	// minDecoded is the shortest word within a decoded credential that is looked
	// for, in octets. Shorter ones are in every text.
	minDecoded = 3
)

// add takes the argument of an AUTH command, or a SASL line.
func (s *secrets) add(text []byte) {
	if s.octets += len(text); s.octets > maxSecrets {
		s.whole, s.parts = nil, nil
		return
	}
	for word := range bytes.FieldsSeq(text) {
		if isMechanism(word) || string(word) == "*" || string(word) == "=" || sasl.Has(ParseVerb(word)) { // RFC 4954, 4
			continue // a verb is the beginning of "authentication failed", too
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

// keep has a word found again; of a long one each part of size octets. A word with
// an @ in it is somebody's address, and shares its domain with much that is no secret.
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

// repeatedIn reports whether text has a credential in it, or a part of one, in
// upper or lower case.
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

// hash is FNV-1a.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// beginAUTH remembers the argument of a command that begins an AUTH exchange.
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

// mayEcho reports whether a line of a reply may repeat a credential. What is no
// command may be one whose AUTH was refused, and is not kept to compare.
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

// MayRepeatCredentials reports whether the client has said what may be a credential,
// so that a reply to what is no command, or to nothing, may repeat it.
func (d *Dialogue) MayRepeatCredentials() bool {
	return d.seen.suspect || d.seen.authenticated || d.secrets != nil
}

// tellable is the text of a reply's first line behind its code, for the listener:
// a slice of raw, nil where it may hold a secret.
func (d *Dialogue) tellable(v Verb, raw []byte) []byte {
	line, _, _ := bytes.Cut(raw, crlf)
	if bytes.HasPrefix(line, []byte("334")) || d.mayEcho(v, line) {
		return nil
	}
	return line[min(len(line), 4):]
}
