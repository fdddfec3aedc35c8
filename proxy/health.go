package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
)

// Health configures the health checks of a route's servers. A check connects to a
// server, does the TLS handshake if the route has ServerTLSImplicit, waits for the
// greeting, and sends EHLO and QUIT. The check succeeds if the server greets with 2xx
// and replies to EHLO with 2xx, or with 5xx as servers without ESMTP do. A server that
// fails two checks in a row is tried only after all others, until a check succeeds.
type Health struct {
	// Interval is the time from the end of one check of a server to the next, give or
	// take a tenth. Zero: there are no checks.
	Interval time.Duration
	Timeout  time.Duration // of a whole check; zero: DefaultHealthTimeout
}

// DefaultHealthTimeout is the timeout of a check if Health.Timeout is zero.
const DefaultHealthTimeout = 10 * time.Second

func (h Health) timeout() time.Duration { return or(h.Timeout, DefaultHealthTimeout) }

// startChecks starts the checks of a route's servers. They go on until ctx ends.
func (p *Proxy) startChecks(ctx context.Context, r *running) {
	if r.Health.Interval == 0 {
		return
	}
	for _, t := range r.standings {
		p.checks.Go(func() { p.check(ctx, r, t) })
	}
}

// check checks a server repeatedly until ctx ends.
func (p *Proxy) check(ctx context.Context, r *running, t *servers.Server) {
	for {
		if d := wire.Contain(func() { p.checkOnce(ctx, r, t) }); d != nil {
			p.reportDefect(d, "checking a server", "route", r.Name, "server", t.Address())
			if r.Observer != nil {
				wire.Contain(r.Observer.Defect)
			}
		}
		wait := time.NewTimer(jittered(r.Health.Interval))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// checkOnce checks a server and records the result. It ignores a failure that says nothing
// about the server.
func (p *Proxy) checkOnce(ctx context.Context, r *running, t *servers.Server) {
	if err := p.examine(ctx, r, t.Address()); ctx.Err() == nil && !r.ours(err) {
		p.found(r, t, err)
	}
}

// jittered returns d, give or take a tenth at random, so that checks that start together
// do not stay together.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// found records the result of a check, and logs a change of the server's health.
func (p *Proxy) found(r *running, t *servers.Server, err error) {
	before, now := r.fleet.Checked(t, err)
	switch {
	case now && !before:
		p.logger().Warn("the server fails its checks and is tried last", "route", r.Name, "server", t.Address(), "err", printable(err.Error()))
	case before && !now:
		p.logger().Info("the server passes its checks again", "route", r.Name, "server", t.Address())
	}
}

// examine does one check. It tries again if the TLS handshake may have failed because of
// ML-KEM.
func (p *Proxy) examine(ctx context.Context, r *running, server string) error {
	by := time.Now().Add(r.Health.timeout())
	ctx, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	err := p.examineOnce(ctx, r, server, by)
	if err != nil && r.triesClassic(server, err) {
		err = p.examineOnce(ctx, r, server, by)
	}
	return err
}

func (p *Proxy) examineOnce(ctx context.Context, r *running, server string, by time.Time) error {
	// A check has no client whose address it could dial from.
	conn, err := p.dialAs(ctx, Source{Address: r.Source.Address}, netip.Addr{}, server)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // this ends any wait
	if err := header.Write(conn, r.ProxySend, header.Ends{}, by); err != nil {
		return err
	}
	if r.ServerTLS.Mode == rewrite.ServerTLSImplicit {
		if files, ok := r.dialer.(refresher); ok {
			files.Refresh()
		}
		shake, classic := r.handshake(server)
		secure, err := shake(ctx, conn, hostOf(server))
		if err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		if classic {
			r.classicWorks(server)
		}
		conn = secure
	}
	l := wire.NewLeg(conn)
	defer l.Close()
	code, err := hear(l, by)
	switch {
	case err != nil:
		return fmt.Errorf("waiting for the greeting: %w", err)
	case code[0] != '2':
		return fmt.Errorf("greeted with %s", code)
	}
	if code, err = say(l, "EHLO "+r.policy.Hostname, by); err != nil {
		return fmt.Errorf("waiting for the answer to EHLO: %w", err)
	}
	if code[0] != '2' && code[0] != '5' {
		return fmt.Errorf("EHLO answered with %s", code)
	}
	say(l, "QUIT", by)
	return nil
}

// say sends a command and returns the code of the reply.
func say(l *wire.Leg, command string, by time.Time) (code string, err error) {
	if err := l.Write([]byte(command+"\r\n"), time.Until(by)); err != nil {
		return "", err
	}
	return hear(l, by)
}

// hear waits for a whole reply and returns its code.
func hear(l *wire.Leg, by time.Time) (code string, err error) {
	for {
		b := l.Buffered()
		scan, err := rewrite.ScanReply(b)
		switch {
		case err != nil:
			return "", fmt.Errorf("%w: %w: %q", errBadReply, err, cut(b))
		case scan.N > 0:
			code = string(b[:3])
			l.Consume(scan.N)
			return code, nil
		case len(b) >= maxReply:
			return "", fmt.Errorf("%w: over %d octets", errBadReply, maxReply)
		}
		if err := l.Fill(by); err != nil {
			return "", err
		}
	}
}
