package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/rewrite/vocabulary"
)

var errPretends = errors.New("the client begins with a PROXY header, and none is accepted from its address")

// pretends reports whether the client has begun with a PROXY header of version 2, which we do
// not accept from it. A header of version 1 is refused like an unknown command.
func (s *session) pretends(line []byte) bool {
	if s.claimed < 0 {
		return false
	}
	rest := []byte(header.Signature[s.claimed:])
	switch {
	case bytes.HasPrefix(s.client.Buffered(), rest):
		return true
	case bytes.HasPrefix(rest, line):
		s.claimed += int32(len(line))
	default:
		s.claimed = -1
	}
	return false
}

// namesHeader adds a hint to the error of a server that did not greet, if the client has begun
// with a PROXY header: the server may be waiting for that header. The hint says how to accept
// the header and pass it on.
func (s *session) namesHeader(err error) error {
	if first := string(s.client.Peek(time.Time{})); first != "PRO" && first != header.Signature[:3] {
		return err
	}
	return fmt.Errorf("%w; the client begins as with a PROXY header: proxy_protocol.accept_from would accept it, and proxy_protocol.send would pass it to the server", err)
}

// unmask ends the session of a client for which pretends is true.
func (s *session) unmask() error {
	if s.route.Observer != nil {
		s.route.Observer.Refused(vocabulary.RejectionPROXYHeader)
	}
	s.dialogue.Finish("421 4.7.0 no PROXY header is taken from here")
	s.flushClient()
	return s.over(vocabulary.OutcomeClientProtocol, errPretends)
}
