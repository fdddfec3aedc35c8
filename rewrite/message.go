package rewrite

import "bytes"

// pieceSize bounds what is judged, and if need be mended, at one time: small
// enough to stay in the processor's first cache while it is looked at thrice.
const pieceSize = 16 << 10

// A Message follows one message from behind the 354 to its end while it
// streams by. The end is CRLF.CRLF, or .CRLF before anything else, and nothing
// else (RFC 5321, 2.3.8 and 4.1.1.4). Whatever some reader takes for a line end
// though it is none is mended, so that all of them see the end where it is:
//
//   - a bare LF becomes CRLF. Where a dot follows it, see below;
//   - CRs directly before CRLF go: CR CR LF is one line end, written by a client that
//     converts line ends twice. A run of over maxCRs CRs is not one. Where a line of
//     one dot is left, the dot is doubled;
//   - any other bare CR becomes a blank;
//   - a NUL becomes a blank. Deleting it could join a dot to its line end.
//
// All other octets stay as they are, dots that the client left single among them.
//
// Some clients that end lines with LF double the dot that follows (RFC 5321, 4.5.2),
// others do not, and both expect it to arrive as in the original. A line of ".x"
// behind a bare LF shows that the client does not; a line of ".." shows that it does,
// unless there was a line of ".x" before. So a single dot behind a bare LF is doubled,
// and two dots stay as they are until a single one has been seen.
//
// The zero Message stands before the first octet. It is good for one message.
type Message struct {
	// LF takes LF for a line end too, and so LF.LF for an end: only for clients
	// that are known to mean it (KB Q152944).
	LF bool

	at     place
	single bool // a bare LF was followed by ".x": the client does not double dots there
	crs    int  // CRs in a row that are done with and of which nothing has gone out; 0, or at least 2
	mended int64
	lfs    int64
}

// maxCRs is the longest run of CRs, in octets, that may belong to a line end.
const maxCRs = 4096

// A place is where the next octet stands.
type place uint8

const (
	lineStart place = iota // behind CRLF, or first of all
	madeStart              // behind a CRLF that was a bare LF
	inLine
)

// Next passes on what it can of src, which begins with the first octet of the
// message that was not done with before. It returns how many octets of src are
// done with now, what goes out in their place, and whether the message ends
// with them; out then ends with the line of one dot, and src[n:] is the
// client's next command.
//
// What needs no mending comes back as out = src[:n], without an allocation;
// the rest is made in dst[:0], which must not overlap src: as much as it has room
// for, or 32 KiB, and up to maxCRs octets more. Next is to be called again with src[n:] until the end, or until n is 0:
// then it takes more octets to tell, and src is at most two long ("\r" or, at
// the start of a line, "." or ".\r").
func (m *Message) Next(dst, src []byte) (out []byte, n int, end bool) {
	if m.crs > 0 {
		return m.mend(dst, src[:min(len(src), max(pieceSize, cap(dst)/2))])
	}
	for n < len(src) && !end {
		piece := src[n:min(n+pieceSize, len(src))]
		s := scanPiece(piece, m.at, true)
		if !s.clean { // or the guesses were wrong
			s = scanPiece(piece, m.at, false)
		}
		if !s.clean {
			if n > 0 {
				break // first what is clean
			}
			return m.mend(dst, src[:min(len(src), max(pieceSize, cap(dst)/2))])
		}
		if s.n == 0 {
			break
		}
		n, m.at, end = n+s.n, s.at, s.end
	}
	return src[:n], n, end
}

// Mended counts the bare CRs, bare LFs and NULs that were replaced or left out so far. At 0
// the message is as the client sent it.
func (m *Message) Mended() int64 { return m.mended }

// LFs counts the line ends so far that were LF alone and were taken for what
// the client means, which is with LF only.
func (m *Message) LFs() int64 { return m.lfs }

// A span is the beginning of a piece: n octets, and where they lead. Unless it
// is clean the other fields mean nothing.
type span struct {
	n     int
	at    place
	end   bool
	clean bool
}

// scanPiece goes over p from line end to line end, as far as the end of the message
// or until it takes more octets to tell. With guess, when three lines had the
// same length, it looks for the end of the next one at that distance before it
// searches, which is all it takes in base64. A guess may skip line ends and
// whatever is wrong between them; therefore CRs and LFs are counted: if there
// are no more of either than line ends found, none was skipped and none is bare.
func scanPiece(p []byte, at place, guess bool) span {
	s := span{at: at}
	ends, guesses := 0, 0
	length, same := -1, 0 // of the line before; how often it came in a row
	for s.n < len(p) {
		line := p[s.n:]
		if line[0] == '.' && s.at != inLine {
			d := judgeDot(line)
			if d == dotUnstuffed || s.at == madeStart {
				return span{}
			}
			if d == dotUndecided {
				break
			}
			if d == dotLast {
				s.n, s.at, s.end = s.n+len(".\r\n"), lineStart, true
				ends++
				break
			}
		}
		var cr int
		if guess && same >= 2 && length < len(line)-1 && line[length] == '\r' && line[length+1] == '\n' {
			cr = length
			guesses++
		} else {
			cr = bytes.IndexByte(line, '\r')
			if cr < 0 {
				cr = len(line)
			}
			if cr >= len(line)-1 { // no CR, or its LF has yet to come
				if cr > 0 {
					s.n, s.at = s.n+cr, inLine
				}
				break
			}
			if line[cr+1] != '\n' {
				return span{}
			}
			if cr == length {
				same++
			} else {
				length, same = cr, 0
			}
		}
		s.n, s.at = s.n+cr+2, lineStart
		ends++
	}
	seen := p[:s.n] // what comes behind the end is none of our business
	s.clean = bytes.Count(seen, []byte{'\n'}) == ends &&
		(guesses == 0 || bytes.Count(seen, []byte{'\r'}) == ends) &&
		bytes.IndexByte(seen, 0) < 0
	return s
}

// A dot is what a dot at the start of a line turns out to be.
type dot uint8

const (
	dotText      dot = iota // stuffed, or the client forgot to; not ours to tell
	dotLast                 // the end of the message
	dotUnstuffed            // to be doubled
	dotUndecided            // until more octets have come
	dotLastLF               // the end of the message for a client that ends lines with LF
)

// judgeDot says what the dot is that line begins with, behind CRLF.
func judgeDot(line []byte) dot {
	switch {
	case len(line) == 1:
		return dotUndecided
	case line[1] == '\n': // it would be the last, once its line end is mended
		return dotUnstuffed
	case line[1] != '\r':
		return dotText
	case len(line) == 2:
		return dotUndecided
	case line[2] == '\n':
		return dotLast
	case line[2] == '\r': // likewise
		return dotUnstuffed
	}
	return dotText // . and a bare CR: soon a dot and a blank
}

// judge is judgeDot for the present place, and for a client that ends lines with LF
// if m.LF is set.
func (m *Message) judge(line []byte) dot {
	if m.LF || m.at == lineStart {
		d := judgeDot(line)
		if m.LF && (d == dotLast || d == dotUnstuffed && line[1] == '\n') {
			return dotLastLF
		}
		if d != dotText || m.at == lineStart {
			return d
		}
	}
	switch {
	case len(line) == 1:
		return dotUndecided
	case line[1] == '.' && !m.single:
		return dotText
	}
	if line[1] != '.' && line[1] != '\r' && line[1] != '\n' {
		m.single = true
	}
	return dotUnstuffed
}

// indexFrom is the place of c in p at or behind n, or the end.
func indexFrom(p []byte, n int, c byte) int {
	if i := bytes.IndexByte(p[n:], c); i >= 0 {
		return n + i
	}
	return len(p)
}

// mend is Next for a piece in which something is wrong. What it makes is at most
// twice as long.
func (m *Message) mend(dst, p []byte) (out []byte, n int, end bool) {
	out = dst[:0]
	lf, cr, nul := -1, -1, -1 // the next of each: most messages have no NUL at all, and CRs in every line or none
	for n < len(p) {
		if m.crs > 0 {
			var crs int
			crs, out = m.endRun(out, p[n:])
			n += crs
			continue
		}
		if p[n] == '.' && m.at != inLine {
			switch m.judge(p[n:]) {
			case dotLastLF:
				m.at = lineStart
				return append(out, ".\r\n"...), n + bytes.IndexByte(p[n:], '\n') + 1, true
			case dotUndecided:
				return out, n, false
			case dotLast:
				m.at = lineStart
				return append(out, ".\r\n"...), n + len(".\r\n"), true
			case dotUnstuffed:
				out = append(out, '.')
			}
			out, n, m.at = append(out, '.'), n+1, inLine
			continue
		}
		if lf < n {
			lf = indexFrom(p, n, '\n')
		}
		if cr < n {
			cr = indexFrom(p, n, '\r')
		}
		if nul < n {
			nul = indexFrom(p, n, 0)
		}
		if run := min(lf, cr, nul); run > n {
			out, n, m.at = append(out, p[n:run]...), run, inLine
			if n == len(p) {
				break
			}
		}
		switch c := p[n]; {
		case c == '\n':
			out, m.at = append(out, "\r\n"...), madeStart
			if m.LF {
				m.lfs++
			} else {
				m.mended++
			}
		case c == '\r' && n+1 == len(p):
			return out, n, false
		case c == '\r' && p[n+1] == '\n':
			out, m.at = append(out, "\r\n"...), lineStart
			n++
		case c == '\r' && p[n+1] == '\r':
			m.crs = 2
			m.mended++ // one of them goes, or both become blanks
			n++
		default:
			out, m.at = append(out, ' '), inLine
			m.mended++
		}
		n++
	}
	return out, n, false
}

// endRun takes the octets of p that go on with a run of CRs, with the LF that may
// follow, and appends what becomes of the run once that is known.
func (m *Message) endRun(dst, p []byte) (n int, out []byte) {
	for n < len(p) && p[n] == '\r' && m.crs < maxCRs {
		n++
		m.crs++
		m.mended++
	}
	switch {
	case n == len(p):
		return n, dst
	case p[n] == '\n':
		m.crs, m.at = 0, lineStart
		return n + 1, append(dst, "\r\n"...)
	}
	for range m.crs {
		dst = append(dst, ' ')
	}
	m.mended++
	m.crs, m.at = 0, inLine
	return n, dst
}
