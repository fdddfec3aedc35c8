package proxy

import (
	"math"
	"net/netip"
	"time"

	"smtpshim/rewrite"
)

// or returns v, or the default def if v is zero.
func or[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// DefaultLimits returns the limits that zero fields of Limits stand for.
// SessionsPerAddress, SessionsPerMinute, MessageSize and MessageRate are zero in the
// result, because they have no fixed default.
func DefaultLimits() Limits { return defaultLimits }

var defaultLimits = Limits{
	Sessions:    1000,
	CommandLine: 4096,
	ReplyLine:   4096,
	ReplyLines:  256,
	SASLLine:    12288, // RFC 4954, 4
	Errors:      20,
	Idle:        10_000,
	Recipients:  1000,
	Messages:    1000,
}

func (l Limits) sessions() int    { return or(l.Sessions, defaultLimits.Sessions) }
func (l Limits) commandLine() int { return or(l.CommandLine, defaultLimits.CommandLine) }
func (l Limits) replyLine() int   { return or(l.ReplyLine, defaultLimits.ReplyLine) }
func (l Limits) replyLines() int  { return or(l.ReplyLines, defaultLimits.ReplyLines) }
func (l Limits) saslLine() int    { return or(l.SASLLine, defaultLimits.SASLLine) }
func (l Limits) errors() int      { return or(l.Errors, defaultLimits.Errors) }
func (l Limits) idle() int        { return or(l.Idle, defaultLimits.Idle) }
func (l Limits) recipients() int  { return or(l.Recipients, defaultLimits.Recipients) }
func (l Limits) messages() int    { return or(l.Messages, defaultLimits.Messages) }

// sessionsFrom returns how many sessions a network may have at once and how many it may
// begin in a minute. By default, loopback addresses have no limits, because a balancer on
// this machine connects for many clients. A client of a Unix domain socket has no address
// and never has these limits.
func (l Limits) sessionsFrom(network netip.Prefix) (atOnce, inMinute int) {
	if !network.IsValid() {
		return math.MaxInt, math.MaxInt
	}
	if network.Addr().IsLoopback() {
		return or(l.SessionsPerAddress, math.MaxInt), or(l.SessionsPerMinute, math.MaxInt)
	}
	return or(l.SessionsPerAddress, 50), or(l.SessionsPerMinute, 600)
}

// forDialogue returns the limits that the dialogue enforces.
func (l Limits) forDialogue() rewrite.Limits {
	return rewrite.Limits{
		Errors: l.errors(), Idle: l.idle(), Recipients: l.recipients(), Messages: l.messages(), MessageSize: l.MessageSize,
		ReplyLine: l.replyLine(),
	}
}

// DefaultTimeouts returns the timeouts that zero fields of Timeouts stand for.
func DefaultTimeouts() Timeouts { return defaultTimeouts }

var defaultTimeouts = Timeouts{
	Connect:  30 * time.Second,
	Greeting: 5 * time.Minute,
	TLS:      30 * time.Second,
	Header:   5 * time.Second,
	Command:  5 * time.Minute,
	Reply:    5 * time.Minute,
	Data:     3 * time.Minute,
	DataEnd:  10 * time.Minute,
	Session:  6 * time.Hour,
}

func (t Timeouts) connect() time.Duration  { return or(t.Connect, defaultTimeouts.Connect) }
func (t Timeouts) greeting() time.Duration { return or(t.Greeting, defaultTimeouts.Greeting) }
func (t Timeouts) tls() time.Duration      { return or(t.TLS, defaultTimeouts.TLS) }
func (t Timeouts) header() time.Duration   { return or(t.Header, defaultTimeouts.Header) }
func (t Timeouts) command() time.Duration  { return or(t.Command, defaultTimeouts.Command) }
func (t Timeouts) reply() time.Duration    { return or(t.Reply, defaultTimeouts.Reply) }
func (t Timeouts) data() time.Duration     { return or(t.Data, defaultTimeouts.Data) }
func (t Timeouts) dataEnd() time.Duration  { return or(t.DataEnd, defaultTimeouts.DataEnd) }
func (t Timeouts) session() time.Duration  { return or(t.Session, defaultTimeouts.Session) }

// census counts the sessions of one route. The mutex of its Proxy guards it.
type census struct {
	all  int
	from map[netip.Prefix]int

	minute int64                // the latest minute with a session, since 1970
	begun  map[netip.Prefix]int // the sessions begun in that minute
}

// begins counts a session that begins now. It returns how many sessions the network has
// begun in this minute.
func (c *census) begins(network netip.Prefix, now time.Time) int {
	if minute := now.Unix() / 60; minute != c.minute || c.begun == nil {
		c.minute, c.begun = minute, map[netip.Prefix]int{}
	}
	if _, known := c.begun[network]; known || len(c.begun) < maxCounted {
		c.begun[network]++
	}
	return c.begun[network]
}

// maxCounted limits the number of networks that are counted in one minute. For further
// networks, begins returns 0.
const maxCounted = 100_000

// leave ends the count of a session. network is the zero Prefix if the session was not
// counted for a network.
func (c *census) leave(network netip.Prefix) {
	c.all--
	if c.from[network]--; c.from[network] <= 0 {
		delete(c.from, network)
	}
}

// networkOf returns the network that one client is assumed to have: an IPv4 address, or an
// IPv6 network of 64 bits.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}
