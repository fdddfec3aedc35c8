package proxy

import (
	"bytes"
	"time"
)

// splitWait is how long a second reply is waited for behind the first one to a command
// that the server may take for several. Old servers answer each piece at once.
const splitWait = 500 * time.Millisecond

// onlyReply waits whether more follows the reply that is the first n octets of what is
// buffered, and gives that reply if nothing does, or the server's goodbye.
func (s *session) onlyReply(n int) ([]byte, error) {
	const goodbye = "421"
	deadline := s.now.Add(splitWait)
	for len(s.server.Buffered()) < n+len(goodbye) {
		if err := s.fill(s.server, deadline); err != nil {
			break // what is wrong, the next read says too
		}
	}
	b := s.server.Buffered()
	if more := b[n:]; len(more) > 0 && !bytes.HasPrefix(more, []byte(goodbye)) {
		return nil, errSplit
	}
	return b[:n], nil
}
