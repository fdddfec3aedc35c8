package proxy

import (
	"math"
	"net/netip"
	"time"

	"smtpshim/rewrite"
)

// or gives a limit, or its default where it is zero.
func or[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func (l Limits) sessions() int    { return or(l.Sessions, 1000) }
func (l Limits) commandLine() int { return or(l.CommandLine, 4096) }
func (l Limits) replyLine() int   { return or(l.ReplyLine, 4096) }
func (l Limits) replyLines() int  { return or(l.ReplyLines, 256) }
func (l Limits) saslLine() int    { return or(l.SASLLine, 12288) } // RFC 4954, 4
func (l Limits) errors() int      { return or(l.Errors, 20) }
func (l Limits) idle() int        { return or(l.Idle, 10_000) }
func (l Limits) recipients() int  { return or(l.Recipients, 1000) }
func (l Limits) messages() int    { return or(l.Messages, 1000) }

// sessionsFrom are the limits for one network: at once, and begun in a minute.
// This machine itself has none by default: a balancer on it speaks for many. Who
// has no address, but came by a socket of this machine, has none at all.
func (l Limits) sessionsFrom(network netip.Prefix) (atOnce, inMinute int) {
	if !network.IsValid() {
		return math.MaxInt, math.MaxInt
	}
	if network.Addr().IsLoopback() {
		return or(l.SessionsPerAddress, math.MaxInt), or(l.SessionsPerMinute, math.MaxInt)
	}
	return or(l.SessionsPerAddress, 50), or(l.SessionsPerMinute, 600)
}

// forDialogue are the limits that the dialogue keeps.
func (l Limits) forDialogue() rewrite.Limits {
	return rewrite.Limits{
		Errors: l.errors(), Idle: l.idle(), Recipients: l.recipients(), Messages: l.messages(), MessageSize: l.MessageSize,
		ReplyLine: l.replyLine(),
	}
}

func (t Timeouts) connect() time.Duration  { return or(t.Connect, 30*time.Second) }
func (t Timeouts) greeting() time.Duration { return or(t.Greeting, 5*time.Minute) }
func (t Timeouts) tls() time.Duration      { return or(t.TLS, 30*time.Second) }
func (t Timeouts) header() time.Duration   { return or(t.Header, 5*time.Second) }
func (t Timeouts) command() time.Duration  { return or(t.Command, 5*time.Minute) }
func (t Timeouts) reply() time.Duration    { return or(t.Reply, 5*time.Minute) }
func (t Timeouts) data() time.Duration     { return or(t.Data, 3*time.Minute) }
func (t Timeouts) dataEnd() time.Duration  { return or(t.DataEnd, 10*time.Minute) }
func (t Timeouts) session() time.Duration  { return or(t.Session, 6*time.Hour) }

// census counts the sessions of one route. It is guarded by its Proxy's lock.
type census struct {
	all  int
	from map[netip.Prefix]int

	minute int64                // since 1970
	begun  map[netip.Prefix]int // sessions in it
}

// begins counts a session that begins now, and says how many have in this
// minute from that network.
func (c *census) begins(network netip.Prefix, now time.Time) int {
	if minute := now.Unix() / 60; minute != c.minute || c.begun == nil {
		c.minute, c.begun = minute, map[netip.Prefix]int{}
	}
	if _, known := c.begun[network]; known || len(c.begun) < maxCounted {
		c.begun[network]++
	}
	return c.begun[network]
}

// maxCounted bounds the networks that are counted in one minute.
const maxCounted = 100_000

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
