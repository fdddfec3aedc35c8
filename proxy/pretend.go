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

// pretends says whether the client has begun with a header of version 2, which
// is not taken from it. One of version 1 is a command, and refused as such.
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

// namesHeader adds to why a server did not greet that it may wait for the PROXY header
// with which the client has begun, and how that would pass.
func (s *session) namesHeader(err error) error {
	if first := string(s.client.Peek(time.Time{})); first != "PRO" && first != header.Signature[:3] {
		return err
	}
	return fmt.Errorf("%w; the client begins as with a PROXY header: proxy_protocol.accept_from would accept it, and proxy_protocol.send would pass it to the server", err)
}

// unmask ends the session of a client that pretends.
func (s *session) unmask() error {
	if s.route.Observer != nil {
		s.route.Observer.Refused(vocabulary.RejectionPROXYHeader)
	}
	s.dialogue.Finish("421 4.7.0 no PROXY header is taken from here")
	s.flushClient()
	return s.over(vocabulary.OutcomeClientProtocol, errPretends)
}
