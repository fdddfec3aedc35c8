package rewrite

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
