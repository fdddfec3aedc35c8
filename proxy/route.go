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

// A Route is where we listen, the servers behind it, and what is done between.
// The zero value of every field but Name, Listen and Servers is usable.
type Route struct {
	Name    string         // unique; the label in metrics and log
	Listen  []string       // host:port, or unix: and the path of a socket
	Servers []string       // host:port, or unix: and the path of a socket; tried until one greets
	Rules   *rewrite.Rules // nil: none

	// Observed rules are computed and told of, and never act: see [rewrite.Policy].
	Observed *rewrite.Rules // nil: none

	Balance    servers.Balance // which server is tried first
	Health     Health          // the zero value: servers are not looked after
	ListenMode fs.FileMode     // who may connect to sockets of Listen; zero: DefaultListenMode

	// Transparent listeners take connections to addresses that are not of this
	// machine, as TPROXY hands them over. That needs CAP_NET_ADMIN.
	Transparent bool
	// Destinations are the networks to which OriginalDestination may lead.
	Destinations []netip.Prefix
	Source       Source // the address that servers are dialled from

	// Clients are the networks whose clients are served; the others get 554 in place of
	// the greeting. Nil: everybody is. See [session.mayCome] for whom it holds.
	Clients []netip.Prefix

	ClientTLS ClientTLS
	ServerTLS ServerTLS

	EarlyCommands EarlyCommands

	// ProxyFrom are the networks whose connections must begin with a PROXY
	// header of either version; from elsewhere none is taken.
	ProxyFrom []netip.Prefix
	// ProxySend is the header that connections to servers begin with. It has the
	// client's addresses, as a header of its balancer's told them.
	ProxySend header.Version

	// XCLIENTSend says whether servers are told by XCLIENT who the client is;
	// STARTTLS is then never passed on to them. XCLIENTFrom are the networks that
	// may say it to us; it is hidden from everybody else.
	XCLIENTSend rewrite.SendXCLIENT
	XCLIENTFrom []netip.Prefix

	// Logins log in at the servers in the place of clients. Nothing of a login is said
	// to a server outside TLS.
	Logins rewrite.Logins // nil: none

	Limits   Limits
	Timeouts Timeouts

	Observer Observer // nil: nobody listens

	// Dialogue returns who listens to the session that begins; nil if nobody does, and
	// the session costs nothing more. Ended is told how a session was that nobody has
	// listened to. Either may be nil. Both are called as the methods of Observer are.
	Dialogue func(b Beginning) DialogueListener
	Ended    func(b Beginning, e Ending)
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

	// Verified says that nothing is said to a server inside TLS whose certificate
	// is not verified. What is to travel inside verified TLS only, as REQUIRETLS
	// is, is offered to clients under it alone.
	Verified bool

	// ClearLogin says whether a client in clear may log in by what the server offers
	// only inside TLS.
	ClearLogin rewrite.ClearLogin
}

// An Acceptor does the handshake with a client, as a *tlspolicy.Acceptor does.
type Acceptor interface {
	Handshake(ctx context.Context, conn net.Conn, client netip.Addr) (*tls.Conn, error)
}

// A Dialer does the handshake with a server, of which it is given the host, as a
// *tlspolicy.Dialer does.
type Dialer interface {
	Handshake(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error)
}

// A classicDialer is a Dialer that can also send a hello without ML-KEM, for servers
// that do not get beyond one with it: then the error of Handshake has an
// *tlspolicy.Error that says so. A *tlspolicy.Dialer is one.
type classicDialer interface {
	HandshakeClassic(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error)
}

// A refresher is an Acceptor or a Dialer that looks at files now and then, as those of
// tlspolicy do. Refresh is called before a handshake if it is stale, where nobody else
// waits for it.
type refresher interface {
	Stale() bool
	Refresh()
}

// refresh has an Acceptor or a Dialer look at its files, if it has to.
func (s *session) refresh(files any) {
	if r, ok := files.(refresher); ok && r.Stale() {
		defer s.offLoop()()
		r.Refresh()
	}
}

// DefaultListenMode is the mode of a socket if ListenMode is zero: the owner and the group
// may connect.
const DefaultListenMode fs.FileMode = 0o660

// Limits bound what one peer can make us hold. Zero means the default: see
// [DefaultLimits].
type Limits struct {
	Sessions           int // at once on this route
	SessionsPerAddress int // at once from one IPv4 address or IPv6 /64; 50, but no limit for loopback
	CommandLine        int // octets of a command line with its CRLF
	ReplyLine          int // octets of a reply line with its CRLF; after 334 as for SASLLine
	ReplyLines         int // lines of one reply
	SASLLine           int // octets of a line of an AUTH exchange with its CRLF
	Errors             int // commands of one session that were no commands, before 421
	Idle               int // commands in a row outside of a transaction, before 421
	Recipients         int // of one transaction
	Messages           int // of one session
	SessionsPerMinute  int // begun from one address or /64; 600, but no limit for loopback

	MessageSize int64 // octets of one message; zero: whatever the server takes
	// MessageRate is octets a second at which a message must come after its first
	// minute. Zero: 64 while more than half of Sessions are taken, else whatever
	// Timeouts.Data lets pass.
	MessageRate int
}

// Timeouts bound every wait (RFC 5321, 4.5.3.2). Zero means the default: see [DefaultTimeouts].
type Timeouts struct {
	Connect  time.Duration // to each server
	Greeting time.Duration // the server's 220
	TLS      time.Duration // each handshake
	Header   time.Duration // the PROXY header
	Command  time.Duration // the client's next line
	Reply    time.Duration // the server's answer
	Data     time.Duration // each block of a message
	DataEnd  time.Duration // the answer to its end
	Session  time.Duration // the whole session, while the client is waited for
}
