package proxy

import "bytes"

// commandLimit is how many octets a command may have that begins so. An AUTH command
// may have as many as a line of the exchange that it begins: its initial response is
// one (RFC 4954, 4).
func (s *session) commandLimit(b []byte) int {
	limit := s.route.Limits.commandLine()
	if len(b) >= limit && isAUTH(spelt(bytes.TrimLeft(b, " \t\v\f"))) {
		return max(limit, s.route.Limits.saslLine())
	}
	return limit
}

// tooLong says of the last command that was too long which limit it has met.
func (s *session) tooLong() error {
	if isAUTH(s.long) {
		return errTooLongFor("an AUTH command", "limits.sasl_line", max(s.route.Limits.commandLine(), s.route.Limits.saslLine()))
	}
	return errTooLongFor("a command", "limits.command_line", s.route.Limits.commandLine())
}
