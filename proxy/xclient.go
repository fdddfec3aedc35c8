package proxy

import (
	"context"
	"net/netip"

	"smtpshim/rewrite/vocabulary"
)

// admission counts the session for the client that an XCLIENT command names, and no longer
// for the client that sent the command. It tells the dialogue whether the named client is
// served.
func (s *session) admission() error {
	if !s.introducer.IsValid() {
		s.introducer = s.address
	}
	s.ends.Client, s.ends.Destination = s.dialogue.Ends()
	s.address = s.ends.Client.Addr()
	refusal := vocabulary.RejectionClients
	if s.isListed() {
		refusal = s.proxy.relocate(s)
	}
	if refusal != "" {
		if s.route.Observer != nil {
			s.route.Observer.Refused(refusal)
		}
		s.log.Log(context.Background(), severity(refusal), "client refused by us", "route", s.route.Name, "session", s.id, s.caller(), "xclient", s.introducer, "reason", string(refusal))
	}
	s.dialogue.Admitted(refusal)
	return nil
}

// relocate counts a session for the network of its present address, and no longer for that of
// the previous one. It returns why the session is refused, if it is.
func (p *Proxy) relocate(s *session) (refusal vocabulary.Rejection) {
	p.dislocate(s)
	return p.locate(s)
}

// dislocate no longer counts a session for its network. The session still counts for its
// route.
func (p *Proxy) dislocate(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.census[s.route.Name]
	c.leave(s.network)
	c.all++
	s.network = netip.Prefix{}
}
