package rewrite

// A Stuffer converts octets that came by BDAT to text for DATA: it doubles dots at the
// start of lines (RFC 5321, 4.5.2) and mends stray line ends as Message does. The zero
// Stuffer is ready for the first octet.
type Stuffer struct {
	inLine bool
	crs    int // CRs in a row just before, of which nothing has been appended
	mended int64
}

// Mended returns the number of bare CRs, bare LFs and NULs replaced or left out so far.
func (s *Stuffer) Mended() int64 { return s.mended }

// Append appends src, converted to text for DATA, to dst and returns the result. src is
// the next piece of what came by BDAT. Append may hold back CRs for a later call.
func (s *Stuffer) Append(dst, src []byte) []byte {
	for _, c := range src {
		if s.crs > 0 {
			if c == '\n' { // all of them end this line
				s.mended += int64(s.crs - 1)
				dst, s.inLine, s.crs = append(dst, "\r\n"...), false, 0
				continue
			}
			if c != '\r' || s.crs == maxCRs {
				dst = s.blanks(dst)
			}
		}
		switch {
		case c == '\r':
			s.crs++
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

// blanks appends a blank for each CR that no LF has followed.
func (s *Stuffer) blanks(dst []byte) []byte {
	s.mended += int64(s.crs)
	for ; s.crs > 0; s.crs-- {
		dst = append(dst, ' ')
	}
	s.inLine = true
	return dst
}

// End appends to dst the end of the message, the line of one dot, and returns the result.
// If the last line of the message has no end, End adds one first.
func (s *Stuffer) End(dst []byte) []byte {
	if s.crs > 0 {
		dst = s.blanks(dst)
	}
	if s.inLine {
		dst = append(dst, crlf...)
	}
	return append(dst, ".\r\n"...)
}
