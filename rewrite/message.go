package rewrite

import "bytes"

// pieceSize is the number of octets that are scanned, and mended if need be, at one time.
// Such a piece stays in the processor's first cache while it is read three times.
const pieceSize = 16 << 10

// A Message reads what a client sends behind the 354. It finds the end of the message
// and mends line ends. The end is CRLF.CRLF, or .CRLF at the beginning, and nothing
// else (RFC 5321, 2.3.8 and 4.1.1.4). Some readers take other octets for a line end
// too. A Message replaces these, so that all readers see the same end:
//
//   - A bare LF becomes CRLF.
//   - CRs directly before CRLF are removed: CR CR LF is one line end, from a client
//     that converts line ends twice. More than 4,096 CRs in a row are not part of a
//     line end.
//   - Any other bare CR becomes a blank.
//   - A NUL becomes a blank. Removing it could join a dot to its line end.
//
// A dot at the start of a line stays as it is, even if the client should have doubled
// it. There are two exceptions:
//
//   - If LF or two CRs follow the dot, it is doubled. Otherwise mending could make a
//     line of one dot, which ends the message.
//   - Behind a bare LF, a single dot is doubled. Two dots stay as they are at first,
//     because the client may have doubled the dot (RFC 5321, 4.5.2). But a single dot
//     with text behind it shows that the client does not double dots. From then on, the
//     first dot of every line behind a bare LF is doubled.
//
// The zero Message is ready for the first octet of one message.
type Message struct {
	// LF says that a bare LF ends a line too, so that LF.LF ends the message. It is only
	// for clients that are known to mean that (KB Q152944). It is set before the first
	// call of Next.
	LF bool

	at     place
	single bool // a bare LF was followed by ".x": the client does not double dots
	crs    int  // CRs in a row that were read and not yet written; 0, or at least 2
	mended int64
	lfs    int64
}

// maxCRs is the length, in octets, of the longest run of CRs that may belong to a line
// end.
const maxCRs = 4096

// A place is the position of the next octet in its line.
type place uint8

const (
	lineStart place = iota // behind CRLF, or at the beginning
	madeStart              // behind a CRLF that replaces a bare LF
	inLine
)

// Next converts octets of the message. src begins with the first octet that earlier
// calls have not consumed. Next consumes n octets of src and returns out, the octets to
// send in their place. If end is true, the line of one dot that ends the message is the
// last in out, and src[n:] is what the client has sent behind the message.
//
// If nothing needs mending, out is src[:n], without an allocation. Otherwise out is
// made in dst[:0], which must not overlap src. Next then consumes at most cap(dst)/2
// octets, or 16 KiB if that is more, and out has at most 2*n + 4,096 octets.
//
// The caller calls Next again with src[n:] until end is true or n is 0. If n is 0, Next
// needs more octets: src is empty, or "\r", or at the start of a line "." or ".\r".
func (m *Message) Next(dst, src []byte) (out []byte, n int, end bool) {
	if m.crs > 0 {
		return m.mend(dst, src[:min(len(src), max(pieceSize, cap(dst)/2))])
	}
	for n < len(src) && !end {
		piece := src[n:min(n+pieceSize, len(src))]
		s := scanPiece(piece, m.at, true)
		if !s.clean { // not clean, or a guess was wrong
			s = scanPiece(piece, m.at, false)
		}
		if !s.clean {
			if n > 0 {
				break // send the clean pieces first
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

// Mended returns the number of bare CRs, bare LFs and NULs that were replaced or
// removed so far. If it is 0 and m.LF is false, the message is unchanged.
func (m *Message) Mended() int64 { return m.mended }

// LFs returns the number of bare LFs so far that ended a line because m.LF is true.
func (m *Message) LFs() int64 { return m.lfs }

// A span is the beginning of a piece: n octets, and the state behind them. If clean is
// false, the other fields are undefined.
type span struct {
	n     int
	at    place
	end   bool
	clean bool
}

// scanPiece scans p line by line, up to the end of the message or to octets that cannot
// be judged yet. With guess, when three lines had the same length, it looks for the next
// line end at that distance before it searches; in base64 no search is needed. A wrong
// guess may skip line ends and octets that need mending. Therefore the CRs and LFs are
// counted: if there are no more of either than line ends found, none was skipped and none
// is bare.
func scanPiece(p []byte, at place, guess bool) span {
	s := span{at: at}
	ends, guesses := 0, 0
	length, same := -1, 0 // length of the last line, and how many lines in a row had it
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
			if cr >= len(line)-1 { // no CR, or its LF has not come yet
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
	seen := p[:s.n] // ignore what follows the end of the message
	s.clean = bytes.Count(seen, []byte{'\n'}) == ends &&
		(guesses == 0 || bytes.Count(seen, []byte{'\r'}) == ends) &&
		bytes.IndexByte(seen, 0) < 0
	return s
}

// A dot is the meaning of a dot at the start of a line.
type dot uint8

const (
	dotText      dot = iota // text: a doubled dot, or one that the client should have doubled
	dotLast                 // the end of the message
	dotUnstuffed            // a dot that must be doubled
	dotUndecided            // unknown until more octets have come
	dotLastLF               // the end of the message for a client that ends lines with LF
)

// judgeDot returns the meaning of the dot that begins line. The line stands behind CRLF.
func judgeDot(line []byte) dot {
	switch {
	case len(line) == 1:
		return dotUndecided
	case line[1] == '\n': // with a mended line end, it would be the end of the message
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
	return dotText // a dot and a bare CR, which becomes a blank
}

// judge is judgeDot for a line at m.at. If m.LF is set, LF ends a line.
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

// indexFrom returns the index of the first c in p at or after n, or len(p) if there is
// none.
func indexFrom(p []byte, n int, c byte) int {
	if i := bytes.IndexByte(p[n:], c); i >= 0 {
		return n + i
	}
	return len(p)
}

// mend is Next for octets that may need mending. out is at most twice as long as p, plus
// a run of CRs.
func (m *Message) mend(dst, p []byte) (out []byte, n int, end bool) {
	out = dst[:0]
	lf, cr, nul := -1, -1, -1 // the next of each; most messages have no NUL, and CRs in every line or in none
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
			m.mended++ // one of the two CRs is removed, or both become blanks
			n++
		default:
			out, m.at = append(out, ' '), inLine
			m.mended++
		}
		n++
	}
	return out, n, false
}

// endRun consumes the octets of p that continue a run of CRs, and an LF that follows.
// Once the run is complete, endRun appends what replaces it.
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
