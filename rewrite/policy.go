package rewrite

import (
	"fmt"
	"strings"
)

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

var (
	clientTLSNames = [...]string{"pass", "hide", "offer", "require", "implicit"}
	serverTLSNames = [...]string{"off", "opportunistic", "require", "implicit"}
)

func (m ClientTLS) String() string { return clientTLSNames[m] }
func (m ServerTLS) String() string { return serverTLSNames[m] }

// UnmarshalText accepts the names that String gives.
func (m *ClientTLS) UnmarshalText(text []byte) error {
	i, err := nameIndex(string(text), clientTLSNames[:])
	*m = ClientTLS(i)
	return err
}

// UnmarshalText accepts the names that String gives.
func (m *ServerTLS) UnmarshalText(text []byte) error {
	i, err := nameIndex(string(text), serverTLSNames[:])
	*m = ServerTLS(i)
	return err
}

func nameIndex(name string, names []string) (int, error) {
	for i, n := range names {
		if n == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf(`%q is not one of "%s"`, name, strings.Join(names, `", "`))
}
