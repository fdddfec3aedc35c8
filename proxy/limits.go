package proxy

import (
	"net/netip"
	"time"
)

// or gives a limit, or its default where it is zero.
func or[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func (l Limits) sessions() int           { return or(l.Sessions, 1000) }
func (l Limits) sessionsPerAddress() int { return or(l.SessionsPerAddress, 50) }
func (l Limits) commandLine() int        { return or(l.CommandLine, 4096) }
func (l Limits) replyLine() int          { return or(l.ReplyLine, 4096) }
func (l Limits) replyLines() int         { return or(l.ReplyLines, 256) }
func (l Limits) errors() int             { return or(l.Errors, 20) }

func (t Timeouts) connect() time.Duration  { return or(t.Connect, 30*time.Second) }
func (t Timeouts) greeting() time.Duration { return or(t.Greeting, 5*time.Minute) }
func (t Timeouts) tls() time.Duration      { return or(t.TLS, 30*time.Second) }
func (t Timeouts) header() time.Duration   { return or(t.Header, 5*time.Second) }
func (t Timeouts) command() time.Duration  { return or(t.Command, 5*time.Minute) }
func (t Timeouts) reply() time.Duration    { return or(t.Reply, 5*time.Minute) }
func (t Timeouts) data() time.Duration     { return or(t.Data, 3*time.Minute) }
func (t Timeouts) dataEnd() time.Duration  { return or(t.DataEnd, 10*time.Minute) }

// census counts the sessions of one route. It is guarded by its Proxy's lock.
type census struct {
	all  int
	from map[netip.Prefix]int
}

// leave counts a session out. Its network is the zero Prefix if it was never
// counted in for one.
func (c *census) leave(network netip.Prefix) {
	c.all--
	if c.from[network]--; c.from[network] <= 0 {
		delete(c.from, network)
	}
}

// networkOf is what one client can be thought to have: an IPv4 address, or an
// IPv6 network of 64 bits.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}
