package proxy

import (
	"net"
	"testing"

	"smtpshim/proxy/header"
)

// A port is given to somebody else once its connection is closed: a second
// connection of a session does not have the first one's taken for ours.
func TestAHopIsForgottenWithItsConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &Proxy{}
	p.prepare()
	defer p.end()
	s := &session{proxy: p, route: &running{Route: &Route{}}, destination: l.Addr().String()}
	meant := header.AddrPort(l.Addr())
	var made [2]hop
	for i := range made {
		conn, err := s.dial(t.Context(), s.destination)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		made[i] = hop{header.AddrPort(conn.LocalAddr()), meant}
		if i == 0 { // the client's own comes first, and stays
			s.hops = append([]hop{{from: meant, to: meant}}, s.hops...)
			p.hops[s.hops[0]] = s
		}
	}
	other := &session{proxy: p}
	if err := other.addHop(made[0]); err != nil {
		t.Error(err)
	}
	for _, t2 := range []hop{made[1], {from: meant, to: meant}} {
		if other.addHop(t2) == nil {
			t.Errorf("%v is not known for ours", t2)
		}
	}
}
