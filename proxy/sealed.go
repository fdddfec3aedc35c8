package proxy

import (
	"fmt"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// firstBlock passes on the client's first block of a sealed stream, and no more, until the
// server has replied with a sealed block too. Without that check, a client that sends four
// octets could pass anything unread. What the server has sent stays buffered.
func (s *session) firstBlock() error {
	server, client := s.server, s.client
	block := s.dialogue.SealedBlock(client.Buffered())
	deadline := s.proxy.clock().Add(s.route.Timeouts.dataEnd())
	w := wire.StartWatch(server, client.Interrupt)
	err := func() error {
		for {
			octets := client.Buffered()
			n, ok := block.Next(octets)
			if !ok {
				return errEnded
			}
			if err := server.Write(octets[:n], s.route.Timeouts.data()); err != nil {
				return err
			}
			if client.Consume(n); n < len(octets) || block.Done() {
				return nil
			}
			if err := client.Fill(deadline); err != nil {
				return err
			}
		}
	}()
	spoke, serverErr := w.Stop()
	switch {
	case err == errEnded:
		s.flushClient()
		return s.failure()
	case err != nil && !spoke && !isTimeout(err):
		return s.over(vocabulary.OutcomeClientLost, err)
	case spoke && serverErr != nil:
		return s.over(vocabulary.OutcomeServerLost, serverErr)
	case len(server.Buffered()) == 0:
		if err := server.Fill(deadline); err != nil {
			return s.over(vocabulary.OutcomeServerLost, fmt.Errorf("waiting for the answer to a sealed block: %w", err))
		}
	}
	if !s.dialogue.ServerSealed(server.Buffered()) {
		s.flushClient()
		return s.failure()
	}
	return nil
}
