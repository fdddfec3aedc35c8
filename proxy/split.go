package proxy

import (
	"bytes"
	"time"
)

// splitWait is how long to wait for a second reply to a command that the server may read as
// several commands. Old servers reply to each piece at once.
const splitWait = 500 * time.Millisecond

// onlyReply returns the reply in the first n octets that are buffered, if no other reply
// follows it within splitWait. A 421 may follow it.
func (s *session) onlyReply(n int) ([]byte, error) {
	const goodbye = "421"
	deadline := s.now.Add(splitWait)
	for len(s.server.Buffered()) < n+len(goodbye) {
		if err := s.fill(s.server, deadline); err != nil {
			break // the next read returns the error too
		}
	}
	b := s.server.Buffered()
	if more := b[n:]; len(more) > 0 && !bytes.HasPrefix(more, []byte(goodbye)) {
		return nil, errSplit
	}
	return b[:n], nil
}
