package rewrite

import (
	"fmt"
	"strings"

	"smtpshim/rewrite/oneof"
)

// ClientTLS says who ends TLS with the client.
type ClientTLS uint8

const (
	// ClientTLSPass means that the server ends TLS: STARTTLS is sent on, and we read
	// nothing inside TLS. If we use TLS with the server, the client is offered none.
	ClientTLSPass ClientTLS = iota

	ClientTLSHide     // nobody: the client is never offered TLS
	ClientTLSOffer    // we do: we offer STARTTLS
	ClientTLSRequire  // we do: STARTTLS is required before any verb outside BeforeHello
	ClientTLSImplicit // we do: the connection begins with TLS
)

// ServerTLS says when we encrypt the connection to the server.
type ServerTLS uint8

const (
	ServerTLSOff           ServerTLS = iota // never
	ServerTLSOpportunistic                  // if possible, otherwise in clear (RFC 7435)
	ServerTLSRequire                        // always, by STARTTLS, or no mail is sent
	ServerTLSImplicit                       // always: the connection begins with TLS
)

// ClearLogin says whether a client in clear may use logins that the server offers only
// inside a TLS that we have begun.
type ClearLogin uint8

const (
	// ClearLoginDefault is ClearLoginRefuse under ServerTLSOpportunistic, and otherwise
	// ClearLoginAllow. Without a proxy, a client in clear is offered only what the server
	// offers in clear, and opportunistic TLS must not change that. If TLS with the server
	// is required, the client could not use the server at all without the proxy.
	ClearLoginDefault ClearLogin = iota
	ClearLoginAllow
	ClearLoginRefuse
)

var (
	clearLoginNames = [...]string{"", "allow", "refuse"}

	clientTLSNames = [...]string{"pass", "hide", "offer", "require", "implicit"}
	serverTLSNames = [...]string{"off", "opportunistic", "require", "implicit"}
)

func (m ClientTLS) String() string { return clientTLSNames[m] }
func (m ServerTLS) String() string { return serverTLSNames[m] }

// Refuses reports whether, on a route whose ServerTLS is server, a client in clear must
// not use logins that the server offers only inside TLS.
func (m ClearLogin) Refuses(server ServerTLS) bool {
	return m == ClearLoginRefuse || m == ClearLoginDefault && server == ServerTLSOpportunistic
}

func (m ClearLogin) String() string { return clearLoginNames[m] }

// UnmarshalText sets m to the mode whose String is text. Any other text is an error.
func (m *ClearLogin) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), clearLoginNames[:])
	*m = ClearLogin(i)
	return err
}

// UnmarshalText sets m to the mode whose String is text. Any other text is an error.
func (m *ClientTLS) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), clientTLSNames[:])
	*m = ClientTLS(i)
	return likelyMode(err, string(text), map[string]string{
		"starttls": `"offer" offers STARTTLS to clients, and "require" also makes them use it`,
		"none":     `"hide" does not offer STARTTLS to clients`,
	})
}

// UnmarshalText sets m to the mode whose String is text. Any other text is an error.
func (m *ServerTLS) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), serverTLSNames[:])
	*m = ServerTLS(i)
	return likelyMode(err, string(text), map[string]string{
		"starttls": `"require" uses STARTTLS or sends no mail, and "opportunistic" uses it if the server offers it`,
		"none":     `"off" never begins TLS with the server`,
	})
}

// likelyMode adds to err which modes are meant by text, a name from other programs. hints
// has them for STARTTLS and for no TLS.
func likelyMode(err error, text string, hints map[string]string) error {
	if err == nil {
		return nil
	}
	hint := hints[strings.ToLower(text)]
	switch strings.ToLower(text) {
	case "smtps", "ssl", "wrapper":
		hint = `"implicit" is for connections that begin with TLS`
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}
