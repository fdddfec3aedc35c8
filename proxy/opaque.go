package proxy

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// opaque moves octets both ways until both sides have ended. One read is one
// write: receivers of sealed blocks break on joined ones (KB Q245565).
func (s *session) opaque() error {
	s.while = "passing on what cannot be read"
	if err := s.flush(); err != nil {
		return err
	}
	server, client := s.server, s.client
	if server == nil {
		return s.over("server-lost", nil)
	}
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	done := make(chan error, 1)
	go func() { done <- s.pump(client, server, &last) }()
	err := s.pump(server, client, &last)
	if err := errors.Join(err, <-done); err != nil {
		return s.over("opaque", err)
	}
	return s.over("opaque", nil)
}

// pump moves octets one way. It ends when the source does, or when nothing has
// moved either way for as long as an answer to a message may take.
func (s *session) pump(to, from *leg, last *atomic.Int64) error {
	defer to.closeWrite()
	allowed := s.route.Timeouts.dataEnd()
	for {
		if b := from.buffered(); len(b) > 0 {
			last.Store(time.Now().UnixNano())
			if err := to.write(b, allowed); err != nil {
				from.interrupt()
				return err
			}
			from.consume(len(b))
		}
		err := from.fill(time.Unix(0, last.Load()).Add(allowed))
		switch {
		case err == nil:
		case err == io.EOF:
			return nil
		case isTimeout(err) && time.Since(time.Unix(0, last.Load())) < allowed && !s.closing.Load():
			// the other way was busy
		default:
			s.closing.Store(true)
			to.interrupt()
			return err
		}
	}
}
