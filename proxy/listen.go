package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"smtpshim/rewrite"
)

// A listener accepts clients on one address, for whatever route it has now.
type listener struct {
	proxy    *Proxy
	listener net.Listener
	route    atomic.Pointer[running]
}

func (p *Proxy) listen(address string) (*listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return &listener{proxy: p, listener: l}, nil
}

func (l *listener) close() { l.listener.Close() }

// run accepts until the listener is closed. It survives what passes, such as
// running out of descriptors.
func (l *listener) run() {
	pause, told := time.Duration(0), time.Time{}
	for {
		conn, err := l.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			l.proxy.crew.do(func() { l.proxy.open(conn, l.route.Load()) })
		case errors.Is(err, net.ErrClosed):
			return
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if time.Since(told) >= time.Second { // failures and successes may take turns for long
				l.proxy.logger().Error("accepting a connection", "listen", l.listener.Addr().String(), "err", err, "again_in", pause)
				told = time.Now()
			}
			time.Sleep(pause)
		}
	}
}

// open makes a session of a connection: whether there is room, who is there,
// TLS if the connection begins with it. Then the session goes on.
func (p *Proxy) open(conn net.Conn, route *running) {
	now := time.Now()
	s := &session{proxy: p, route: route, began: now, now: now, while: "beginning"}
	s.address = addrPort(conn.RemoteAddr()).Addr()
	s.client = newLeg(conn)
	if refusal := p.admit(s); refusal != "" {
		p.refuse(s, refusal, nil)
		return
	}
	if refusal, err := s.identify(conn); refusal != "" {
		p.refuse(s, refusal, err)
		p.leave(s)
		return
	}
	s.begin()
	if route.ClientTLS.Mode == rewrite.ClientTLSImplicit {
		if err := s.openTLS(); err != nil {
			s.finish()
			return
		}
	}
	if err := s.connect(); err != nil {
		s.finish()
		return
	}
	s.run()
}

// identify finds out who the client is, and whether there is room for one more
// from there.
func (s *session) identify(conn net.Conn) (refusal string, err error) {
	if covers(s.route.ProxyFrom, s.address) {
		claimed, err := readHeader(conn, s.route.Timeouts.header())
		s.now = time.Now()
		if err != nil {
			return "proxy-header", err
		}
		s.address = claimed.Addr()
	}
	return s.proxy.locate(s), nil
}

// refuse answers a connection that gets no session, and closes it. One that
// lies about who it is gets no answer.
func (p *Proxy) refuse(s *session, reason string, err error) {
	if s.route.Observer != nil {
		s.route.Observer.Refused(reason)
	}
	attrs := []any{"route", s.route.Name, "client", s.address, "reason", reason}
	if err != nil {
		attrs = append(attrs, "err", err)
	}
	p.logger().Warn("connection refused by us", attrs...)
	switch reason {
	case "proxy-header":
	case "draining":
		s.client.write([]byte(drainingText+"\r\n"), refusalWait)
	default:
		s.client.write([]byte("421 4.7.0 too many sessions, try again later\r\n"), refusalWait)
	}
	s.client.close()
}

// refusalWait is for a client that does not even read its refusal.
const refusalWait = 5 * time.Second

// ownName is what we call ourselves in replies of our own.
func ownName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
