package rewrite

import "smtpshim/rewrite/oneof"

// ClientTLS says what becomes of TLS between the client and us.
type ClientTLS uint8

const (
	ClientTLSPass     ClientTLS = iota // STARTTLS is between client and server; after it we read nothing
	ClientTLSHide                      // the client is never offered it
	ClientTLSOffer                     // we offer it and end it
	ClientTLSRequire                   // and do nothing without it
	ClientTLSImplicit                  // the connection begins with it
)

// ServerTLS says what becomes of TLS between us and the server.
type ServerTLS uint8

const (
	ServerTLSOff           ServerTLS = iota // never by us
	ServerTLSOpportunistic                  // wherever the server offers it (RFC 7435)
	ServerTLSRequire                        // or no mail
	ServerTLSImplicit                       // the connection begins with it
)

// ClearLogin says whether a client in clear may log in by what the server offers only
// inside TLS that was begun here.
type ClearLogin uint8

const (
	// ClearLoginDefault is ClearLoginRefuse under ServerTLSOpportunistic, and otherwise
	// ClearLoginAllow. Without a proxy a server shows a client in clear what it offers in
	// clear; opportunistic TLS is to leave that as it is. Where TLS with the server is
	// required, the client could not use the server at all without the proxy.
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

// Refuses reports whether such logins are refused where TLS with the server is this.
func (m ClearLogin) Refuses(server ServerTLS) bool {
	return m == ClearLoginRefuse || m == ClearLoginDefault && server == ServerTLSOpportunistic
}

func (m ClearLogin) String() string { return clearLoginNames[m] }

// UnmarshalText accepts the names that String gives.
func (m *ClearLogin) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), clearLoginNames[:])
	*m = ClearLogin(i)
	return err
}

// UnmarshalText accepts the names that String gives.
func (m *ClientTLS) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), clientTLSNames[:])
	*m = ClientTLS(i)
	return err
}

// UnmarshalText accepts the names that String gives.
func (m *ServerTLS) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), serverTLSNames[:])
	*m = ServerTLS(i)
	return err
}
