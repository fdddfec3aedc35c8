package proxy

import (
	"fmt"
	"os"

	"smtpshim/proxy/wire"
)

// Sockets returns copies of the sockets that the proxy listens on and of those in
// Inherited. The keys are entries of Route.Listen, as in Inherited. Another process
// that sets the copies as its Inherited, and has routes with these entries, listens on
// the same sockets. The caller closes the copies with CloseSockets. If Sockets returns
// an error, there are no copies.
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

// CopySocket returns a second descriptor of socket, which is a net.Listener or an
// *os.File. The caller closes it. Unlike the file that a listener's File method returns,
// it can be given to another process without making the socket block in this one.
func CopySocket(socket any) (*os.File, error) {
	fd, err := wire.DuplicateSocket(socket)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// CloseSockets closes all files in sockets, the result of Proxy.Sockets.
func CloseSockets(sockets map[string][]*os.File) {
	for _, files := range sockets {
		for _, file := range files {
			file.Close()
		}
	}
}
