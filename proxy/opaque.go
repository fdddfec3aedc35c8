package proxy

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// opaque passes octets on in both directions, unread, until both sides have ended. It makes
// one write of each read: receivers of sealed blocks break on joined ones (KB Q245565).
func (s *session) opaque() error {
	s.while = "passing on opaque data"
	if err := s.flush(); err != nil {
		return err
	}
	server, client := s.server, s.client
	if server == nil {
		return s.over(vocabulary.OutcomeServerLost, nil)
	}
	s.mute = true
	client.Prepare() // here, because both directions would do it at the same time
	server.Prepare()
	defer s.offLoop()()
	if s.dialogue.Sealed() {
		if err := s.firstBlock(); err != nil {
			return err
		}
	}
	var last atomic.Int64
	last.Store(s.proxy.clock().UnixNano())
	var fromServer, fromClient error
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.guard(func() { fromServer = s.pump(client, server, &last) })
	}()
	s.guard(func() { fromClient = s.pump(server, client, &last) })
	<-done
	return s.over(vocabulary.OutcomeOpaque, errors.Join(fromClient, fromServer))
}

// pump passes octets on in one direction. It ends when from ends, or when nothing has moved in
// either direction for Timeouts.DataEnd.
func (s *session) pump(to, from *wire.Leg, last *atomic.Int64) error {
	defer to.CloseWrite()
	allowed := s.route.Timeouts.dataEnd()
	var b wire.Bulk
	defer b.End(from)
	for {
		if moved, err := b.Pass(to, from, allowed); err != nil {
			from.Interrupt()
			return err
		} else if moved {
			last.Store(s.proxy.clock().UnixNano())
		}
		err := from.Fill(time.Unix(0, last.Load()).Add(allowed))
		switch {
		case err == nil:
		case err == io.EOF:
			return nil
		case isTimeout(err) && s.proxy.clock().Sub(time.Unix(0, last.Load())) < allowed && !s.closing.Load():
			// the other direction was busy
		default:
			s.closing.Store(true)
			to.Interrupt()
			return err
		}
	}
}
