package proxy

import "bytes"

// commandLimit returns how many octets a command line that begins with b may have. An AUTH
// command may be as long as a line of the exchange that it begins, because it may contain
// the client's initial response (RFC 4954, 4).
func (s *session) commandLimit(b []byte) int {
	limit := s.route.Limits.commandLine()
	if len(b) >= limit && isAUTH(spelt(bytes.TrimLeft(b, " \t\v\f"))) {
		return max(limit, s.route.Limits.saslLine())
	}
	return limit
}

// tooLong returns the error for the last command that was too long. It names the limit
// that the command exceeded.
func (s *session) tooLong() error {
	if isAUTH(s.long) {
		return errTooLongFor("an AUTH command", "limits.sasl_line", max(s.route.Limits.commandLine(), s.route.Limits.saslLine()))
	}
	return errTooLongFor("a command", "limits.command_line", s.route.Limits.commandLine())
}
