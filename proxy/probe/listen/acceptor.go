package listen

import "smtpshim/proxy/tlspolicy"

// Acceptor makes the side of TLS for a Listener: with certificates that we sign ourselves,
// for names and addresses, kept in a directory, and with every version and suite that
// there is, so that it shows which are the best that a client knows.
func Acceptor(dir string, names ...string) (*tlspolicy.Acceptor, error) {
	sources, err := tlspolicy.SelfSigned(dir, names...)
	if err != nil {
		return nil, err
	}
	store, err := tlspolicy.NewStore(sources...)
	if err != nil {
		return nil, err
	}
	return tlspolicy.NewAcceptor(tlspolicy.ClientLeg{Store: store, Protocol: tlspolicy.Protocol{
		Allow: []tlspolicy.Allowance{{Weaknesses: tlspolicy.OfProtocol()}},
	}})
}
