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
	// socket. A session tries them until one greets with 2xx. If none does, the client
	// gets the last greeting that came, such as 554, or 421 if none came. In place of
	// addresses, OriginalDestination may be the only entry.
	Servers []string

	Rules *rewrite.Rules // nil: none
	// Observed rules never act. What they would do is reported in Ending.Would, and to
	// Observer if that is a WouldObserver. Nil: there are none.
	Observed *rewrite.Rules

	Balance    servers.Balance // which server is tried first
	Health     Health          // the zero value: there are no health checks
	ListenMode fs.FileMode     // of Unix domain sockets; zero: DefaultListenMode

	// Transparent makes listeners accept connections to addresses that are not of this
	// machine, as TPROXY redirects them. That needs Linux and CAP_NET_ADMIN.
	Transparent bool
	// Destinations are the networks to which clients may be connected if Servers is
	// OriginalDestination. If Destinations is empty, every client is refused.
	Destinations []netip.Prefix
	Source       Source // the address from which servers are dialled

	// Clients are the networks whose clients are served. Other clients get 554 in place
	// of the greeting; with ClientTLSImplicit their connection is closed. If Clients is
	// empty, all are served. These are always served: clients in XCLIENTFrom, clients of a Unix
	// domain socket, and a balancer that connects for itself, whose PROXY header has no
	// client address.
	Clients []netip.Prefix

	ClientTLS ClientTLS
	ServerTLS ServerTLS

	EarlyCommands EarlyCommands

	// ProxyFrom are the networks whose connections must begin with a PROXY header of
	// either version. From other networks no PROXY header is accepted.
	ProxyFrom []netip.Prefix
	// ProxySend is the version of the PROXY header with which connections to servers
	// begin. The header has the addresses of the client's connection. If a balancer has
	// sent us a PROXY header, they are those in that header. If the client has sent
	// XCLIENT, they are those that XCLIENT named.
	ProxySend header.Version

	// XCLIENTSend says whether servers are told by XCLIENT who the client is. Unless it
	// is XCLIENTNever, a client's STARTTLS is never passed on to the server.
	XCLIENTSend rewrite.SendXCLIENT
	// XCLIENTFrom are the networks whose clients may use XCLIENT. Other clients are not
	// offered it.
	XCLIENTFrom []netip.Prefix

	// Logins log in at the servers on behalf of clients. They do so only inside TLS,
	// and only if ServerTLS.Verified is true. Otherwise the AUTH or MAIL of such a
	// client gets 454.
	Logins rewrite.Logins // nil: none

	Limits   Limits
	Timeouts Timeouts

	Observer Observer // may be nil

	// Dialogue returns the listener of the session that b describes. If Dialogue is nil
	// or returns nil, the session has no listener. As with the methods of Observer,
	// many goroutines call Dialogue at the same time, and it must not block.
	Dialogue func(b Beginning) DialogueListener
	// Ended is called at the end of each session that has no DialogueListener. Ended
	// may be nil. Many goroutines call it at the same time, and it must not block.
	Ended func(b Beginning, e Ending)
}

// ClientTLS configures the TLS between clients and us.
type ClientTLS struct {
	Mode rewrite.ClientTLS
	// Acceptor must be set if Mode is ClientTLSOffer, ClientTLSRequire or
	// ClientTLSImplicit. Otherwise it may be nil.
	Acceptor Acceptor
}

// ServerTLS configures the TLS between us and servers.
type ServerTLS struct {
	Mode rewrite.ServerTLS
	// Dialer does the handshakes. If it is nil, they need TLS 1.2 or later, and the
	// certificate is verified unless Mode is ServerTLSOpportunistic.
	Dialer Dialer

	// Verified says that Dialer fails for a server whose certificate is not verified.
	// The caller sets it: Dialer is not asked. If Verified is false, clients are not
	// offered what requires verified TLS, such as REQUIRETLS, and Logins do not log in.
	Verified bool

	// ClearLogin says whether a client in clear may use AUTH mechanisms that the server
	// offers only inside TLS.
	ClearLogin rewrite.ClearLogin
}

// An Acceptor does the TLS handshake with a client at the other end of conn. client is
// the client's address, invalid if it is not known. The caller limits the time by a
// deadline of conn. A *tlspolicy.Acceptor is an Acceptor.
type Acceptor interface {
	Handshake(ctx context.Context, conn net.Conn, client netip.Addr) (*tls.Conn, error)
}

// A Dialer does the TLS handshake with a server at the other end of conn. server is the
// server's host as in Route.Servers, without the port; "" for a Unix domain socket. The
// caller limits the time by a deadline of conn or of ctx. A *tlspolicy.Dialer is a
// Dialer.
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

// DefaultListenMode is the mode of a Unix domain socket if Route.ListenMode is zero:
// the owner and the group may connect.
const DefaultListenMode fs.FileMode = 0o660

// Limits bound what clients and servers can cost us. If a field is zero, its default
// applies. That is the value that [DefaultLimits] returns for the field, unless the
// field says otherwise.
type Limits struct {
	Sessions int // sessions of the route at once
	// SessionsPerAddress is how many sessions an IPv4 address or IPv6 /64 may have at
	// once. Zero: 50, but no limit for loopback addresses.
	SessionsPerAddress int
	// CommandLine is how many octets a command line with its CRLF may have. For an AUTH
	// command the limit is SASLLine, if that is larger.
	CommandLine int
	// ReplyLine is how many octets a reply line with its CRLF may have. For a line of a
	// 334 reply the limit is SASLLine, if that is larger.
	ReplyLine  int
	ReplyLines int // lines of one reply
	// SASLLine is how many octets a line of an AUTH exchange with its CRLF may have. If
	// CommandLine is larger, it is the limit for the client's lines. If ReplyLine is
	// larger, it is the limit for the lines of 334 replies.
	SASLLine int
	// Errors is how many lines of a session may be malformed or longer than
	// CommandLine. The next such line gets 421, and the session ends.
	Errors int
	// Idle is how many commands outside of a transaction may come before a message or
	// between two messages. MAIL and QUIT do not count. The next such command gets 421,
	// and the session ends.
	Idle       int
	Recipients int // recipients of one transaction; further ones get 452
	Messages   int // messages of one session; the next MAIL gets 421
	// SessionsPerMinute is how many sessions an IPv4 address or IPv6 /64 may begin in a
	// minute. Zero: 600, but no limit for loopback addresses.
	SessionsPerMinute int

	MessageSize int64 // octets of one message; zero: whatever the server accepts
	// MessageRate is the lowest average rate, in octets a second, of a message that
	// takes longer than a minute. A slower message gets 421. Zero: 64 while more than
	// half of Sessions are taken; otherwise only Timeouts.Data applies.
	MessageRate int
}

// Timeouts bound every wait (RFC 5321, 4.5.3.2). A field that is zero means its
// default, which [DefaultTimeouts] returns.
type Timeouts struct {
	Connect  time.Duration // connecting to each server
	Greeting time.Duration // the server's greeting
	TLS      time.Duration // each handshake
	Header   time.Duration // the client's PROXY header
	Command  time.Duration // the client's next line
	Reply    time.Duration // the server's reply
	// Data bounds the wait for the next octets of a message, and for a peer that does
	// not read what we write.
	Data time.Duration
	// DataEnd bounds the wait for the reply to the end of a message. It also bounds the
	// silence of a session that has become unreadable, as after a STARTTLS that we pass
	// on.
	DataEnd time.Duration
	// Session bounds the time since the session began. When this time is over, the
	// session ends as soon as it would have to wait for the client. A session that has
	// become unreadable has no such limit.
	Session time.Duration
}
