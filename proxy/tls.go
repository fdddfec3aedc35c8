package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
)

// AcceptWith returns an Acceptor that uses config for all clients.
func AcceptWith(config *tls.Config) Acceptor { return acceptor{config} }

type acceptor struct{ config *tls.Config }

func (a acceptor) Handshake(ctx context.Context, conn net.Conn, _ netip.Addr) (*tls.Conn, error) {
	secure := tls.Server(conn, a.config)
	return secure, secure.HandshakeContext(ctx)
}

// DialWith returns a Dialer that uses a copy of config for all servers. If config has
// no ServerName, the host of each server takes its place. If config has no
// ClientSessionCache, the Dialer has one of its own.
func DialWith(config *tls.Config) Dialer {
	config = config.Clone()
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return dialer{config}
}

type dialer struct{ config *tls.Config }

func (d dialer) Handshake(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error) {
	config := d.config
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = server
	}
	secure := tls.Client(conn, config)
	return secure, secure.HandshakeContext(ctx)
}
