package listen

import "smtpshim/proxy/tlspolicy"

// Acceptor returns an acceptor of TLS for a Listener. Its certificates are self-signed,
// for names, which are host names and addresses, and stored in the directory dir. It
// allows all versions and suites, so that it shows the best that a client supports.
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
