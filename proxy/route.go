package proxy

import (
	"context"
	"crypto/tls"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/rewrite"
)

// A Route says where we listen, which servers are behind us, and what we do in between. The
// zero value of every field but Name, Listen and Servers is usable.
type Route struct {
	Name string // unique; the label in metrics and log

	// Listen has the addresses to listen on: host:port, unix: and the path of a socket,
	// or a key of Proxy.Inherited.
	Listen []string
	// Servers has the addresses of the servers: host:port, or unix: and the path of a
	// socket. A session tries them until one greets. Instead, OriginalDestination may
	// be the only entry.
	Servers []string

	Rules *rewrite.Rules // nil: none
	// Observed rules never act. What they would do is reported in Ending.Would, and to
	// Observer if that is a WouldObserver. Nil: there are none.
	Observed *rewrite.Rules

	Balance    servers.Balance // which server is tried first
	Health     Health          // the zero value: there are no health checks
	ListenMode fs.FileMode     // the mode of sockets in the file system; zero: DefaultListenMode

	// Transparent makes listeners accept connections to addresses that are not of this
	// machine, as TPROXY redirects them. That needs CAP_NET_ADMIN.
	Transparent bool
	// Destinations are the networks to which OriginalDestination may connect.
	Destinations []netip.Prefix
	Source       Source // the address from which servers are dialled

	// Clients are the networks whose clients are served. Other clients get 554 in place
	// of the greeting. If Clients is empty, all are served. These are always served:
	// clients in XCLIENTFrom, clients of a Unix domain socket, and a balancer that
	// connects for itself, whose PROXY header has no client address.
	Clients []netip.Prefix

	ClientTLS ClientTLS
	ServerTLS ServerTLS

	EarlyCommands EarlyCommands

	// ProxyFrom are the networks whose connections must begin with a PROXY header of
	// either version. From other networks no PROXY header is accepted.
	ProxyFrom []netip.Prefix
	// ProxySend is the version of the PROXY header with which connections to servers begin.
	// The header has the client's addresses. If a balancer has sent us a PROXY header, they
	// are the addresses of that header.
	ProxySend header.Version

	// XCLIENTSend says whether servers are told by XCLIENT who the client is. If they are,
	// STARTTLS is never passed on to them.
	XCLIENTSend rewrite.SendXCLIENT
	// XCLIENTFrom are the networks whose clients may use XCLIENT. Other clients are not
	// offered it.
	XCLIENTFrom []netip.Prefix

	// Logins log in at the servers on behalf of clients. No part of such a login is sent to a
	// server outside TLS.
	Logins rewrite.Logins // nil: none

	Limits   Limits
	Timeouts Timeouts

	Observer Observer // may be nil

	// Dialogue returns the listener of the session that b describes. If Dialogue is nil
	// or returns nil, the session has no listener. As with the methods of Observer,
	// many goroutines call Dialogue at the same time, and it must not block.
	Dialogue func(b Beginning) DialogueListener
	// Ended reports the end of a session that has no DialogueListener. Ended may be
	// nil. Many goroutines call it at the same time, and it must not block.
	Ended func(b Beginning, e Ending)
}

// ClientTLS is TLS between the client and us.
type ClientTLS struct {
	Mode rewrite.ClientTLS
	// Acceptor must be set if Mode is ClientTLSOffer, ClientTLSRequire or
	// ClientTLSImplicit. Otherwise it may be nil.
	Acceptor Acceptor
}

// ServerTLS is TLS between us and the server.
type ServerTLS struct {
	Mode   rewrite.ServerTLS
	Dialer Dialer // nil: TLS 1.2 or later, and the certificate verified where TLS is required

	// Verified says that we send nothing inside TLS to a server whose certificate is not
	// verified. Only then are clients offered what requires verified TLS, such as
	// REQUIRETLS.
	Verified bool

	// ClearLogin says whether a client in clear may use logins that the server offers only
	// inside TLS.
	ClearLogin rewrite.ClearLogin
}

// An Acceptor does the TLS handshake with a client. A *tlspolicy.Acceptor is one.
type Acceptor interface {
	Handshake(ctx context.Context, conn net.Conn, client netip.Addr) (*tls.Conn, error)
}

// A Dialer does the TLS handshake with a server, given the server's host. A *tlspolicy.Dialer
// is one.
type Dialer interface {
	Handshake(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error)
}

// A classicDialer is a Dialer that can also send a TLS ClientHello without ML-KEM, for servers
// that fail at one with ML-KEM. If a server does, the error of Handshake wraps a
// *tlspolicy.Error that says so. A *tlspolicy.Dialer is a classicDialer.
type classicDialer interface {
	HandshakeClassic(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error)
}

// A refresher is an Acceptor or a Dialer that reads its files again when they may have
// changed, as those of tlspolicy do. If Stale returns true, Refresh is called before a
// handshake, off the loop.
type refresher interface {
	Stale() bool
	Refresh()
}

// refresh refreshes an Acceptor or a Dialer if it is stale.
func (s *session) refresh(files any) {
	if r, ok := files.(refresher); ok && r.Stale() {
		defer s.offLoop()()
		r.Refresh()
	}
}

// DefaultListenMode is the mode of a socket if ListenMode is zero: the owner and the group
// may connect.
const DefaultListenMode fs.FileMode = 0o660

// Limits bound what one peer can make us hold. Zero means the default, except where a field
// says otherwise: see [DefaultLimits].
type Limits struct {
	Sessions int // sessions of the route at once
	// SessionsPerAddress is how many sessions an IPv4 address or IPv6 /64 may have at
	// once. Zero: 50, but no limit for loopback addresses.
	SessionsPerAddress int
	CommandLine        int // octets of a command line with its CRLF
	// ReplyLine is how many octets a reply line with its CRLF may have. For a line of a
	// 334 reply the limit is SASLLine, if that is larger.
	ReplyLine  int
	ReplyLines int // lines of one reply
	SASLLine   int // octets of a line of an AUTH exchange with its CRLF
	// Errors is how many lines of a session may be no commands. The next such line gets
	// 421, and the session ends.
	Errors int
	// Idle is how many commands outside of a transaction may come before a message or
	// between two messages. The next such command gets 421, and the session ends.
	Idle       int
	Recipients int // recipients of one transaction
	Messages   int // messages of one session
	// SessionsPerMinute is how many sessions an IPv4 address or IPv6 /64 may begin in a
	// minute. Zero: 600, but no limit for loopback addresses.
	SessionsPerMinute int

	MessageSize int64 // octets of one message; zero: whatever the server accepts
	// MessageRate is the lowest rate of a message after its first minute, in octets a
	// second. Zero: 64 while more than half of Sessions are taken; otherwise only
	// Timeouts.Data applies.
	MessageRate int
}

// Timeouts bound every wait (RFC 5321, 4.5.3.2). Zero means the default: see [DefaultTimeouts].
type Timeouts struct {
	Connect  time.Duration // connecting to each server
	Greeting time.Duration // the server's greeting
	TLS      time.Duration // each handshake
	Header   time.Duration // the client's PROXY header
	Command  time.Duration // the client's next line
	Reply    time.Duration // the server's reply
	Data     time.Duration // each block of a message
	DataEnd  time.Duration // the reply to the end of a message
	Session  time.Duration // the whole session: no wait for the client lasts beyond it
}
