package proxy

import (
	"fmt"
	"os"

	"smtpshim/proxy/wire"
)

// Sockets are copies of what the proxy listens on, and of what it was handed, by
// the names that the routes have for them: what another process wants as
// Inherited to listen there too. The caller closes them.
func (p *Proxy) Sockets() (_ map[string][]*os.File, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sockets := map[string][]*os.File{}
	defer func() {
		if err != nil {
			CloseSockets(sockets)
		}
	}()
	add := func(address string, socket any) error {
		file, err := CopySocket(socket)
		if err != nil {
			return fmt.Errorf("copying the socket of %s: %w", address, err)
		}
		sockets[address] = append(sockets[address], file)
		return nil
	}
	for address, files := range p.Inherited {
		for _, file := range files {
			if err := add(address, file); err != nil {
				return nil, err
			}
		}
	}
	for address, l := range p.listeners {
		if _, ok := p.Inherited[address]; ok {
			continue
		}
		for _, socket := range l.Sockets {
			if err := add(address, socket); err != nil {
				return nil, err
			}
		}
	}
	return sockets, nil
}

// CopySocket is a second descriptor of a socket, a net.Listener or an *os.File.
// Unlike the copy that a listener makes of itself, it can be given to another
// process without making the first one block.
func CopySocket(socket any) (*os.File, error) {
	fd, err := wire.DuplicateSocket(socket)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// CloseSockets closes all of them.
func CloseSockets(sockets map[string][]*os.File) {
	for _, files := range sockets {
		for _, file := range files {
			file.Close()
		}
	}
}
