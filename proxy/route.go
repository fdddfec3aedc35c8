package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"smtpshim/rewrite"
)

// A Route is where we listen, the servers behind it, and what is done between.
// The zero value of every field but Name, Listen and Servers is usable.
type Route struct {
	Name    string         // unique; the label in metrics and log
	Listen  []string       // host:port
	Servers []string       // host:port, tried in order until one greets
	Rules   *rewrite.Rules // nil: none

	ClientTLS ClientTLS
	ServerTLS ServerTLS

	// ProxyFrom are the networks whose connections must begin with a PROXY
	// header (version 1); from elsewhere none is looked for.
	ProxyFrom []netip.Prefix

	Limits   Limits
	Timeouts Timeouts

	Observer Observer // nil: nobody listens
}

// ClientTLS is TLS between the client and us.
type ClientTLS struct {
	Mode     rewrite.ClientTLS
	Acceptor Acceptor // for offer, require and implicit
}

// ServerTLS is TLS between us and the server.
type ServerTLS struct {
	Mode   rewrite.ServerTLS
	Dialer Dialer // nil: TLS 1.2 or later, and the certificate verified where TLS is required
}

// An Acceptor does the handshake with a client, as a *tlspolicy.Acceptor does.
type Acceptor interface {
	Handshake(ctx context.Context, conn net.Conn, client netip.Addr) (*tls.Conn, error)
}

// A Dialer does the handshake with a server, named host:port as in Servers, as
// a *tlspolicy.Dialer does.
type Dialer interface {
	Handshake(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error)
}

// Limits bound what one peer can make us hold. Zero means the default.
type Limits struct {
	Sessions           int // at once on this route; 1000
	SessionsPerAddress int // at once from one IPv4 address or IPv6 /64; 50
	CommandLine        int // octets of a command line with its CRLF; 4096, SASL lines 12288 in any case
	ReplyLine          int // octets of a reply line with its CRLF; 4096, after 334 12288 in any case
	ReplyLines         int // lines of one reply; 256
	Errors             int // commands of one session that were no commands, before 421; 20
}

// Timeouts bound every wait (RFC 5321, 4.5.3.2). Zero means the default.
type Timeouts struct {
	Connect  time.Duration // to each server; 30s
	Greeting time.Duration // the server's 220; 5m
	TLS      time.Duration // each handshake; 30s
	Header   time.Duration // the PROXY header; 5s
	Command  time.Duration // the client's next line; 5m
	Reply    time.Duration // the server's answer; 5m
	Data     time.Duration // each block of a message; 3m
	DataEnd  time.Duration // the answer to its end; 10m
}
