package listen

import "smtpshim/proxy/tlspolicy"

// Acceptor returns a TLS acceptor for [Listener.TLS]. Its certificates are self-signed
// and stored in the directory dir. They are valid for names, which are host names and
// IP addresses. The acceptor allows all TLS versions and cipher suites of crypto/tls,
// so that a handshake shows the best that the client supports.
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
