package rewrite

// A Stuffer converts octets that came by BDAT to text for DATA: it doubles dots at the
// start of lines (RFC 5321, 4.5.2) and mends stray line ends as Message does. The zero
// Stuffer is ready for the first octet.
type Stuffer struct {
	inLine bool
	cr     bool // the octet before was a CR, which may begin a CRLF
	mended int64
}

// Mended returns the number of bare CRs, bare LFs and NULs replaced so far.
func (s *Stuffer) Mended() int64 { return s.mended }

// Append appends the converted src to dst.
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

// End appends the end of the message, after the end of its last line if that is missing.
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
