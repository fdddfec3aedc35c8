package proxy

import (
	"net"
	"testing"

	"smtpshim/proxy/header"
)

// A port is given to somebody else once its connection is closed: a second
// connection of a session does not have the first one's taken for ours.
func TestATripIsForgottenWithItsConnection(t *testing.T) {
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
	var made [2]trip
	for i := range made {
		conn, err := s.dial(t.Context(), s.destination)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		made[i] = trip{header.AddrPort(conn.LocalAddr()), meant}
		if i == 0 { // the client's own comes first, and stays
			s.trips = append([]trip{{from: meant, to: meant}}, s.trips...)
			p.trips[s.trips[0]] = s
		}
	}
	other := &session{proxy: p}
	if err := other.travels(made[0]); err != nil {
		t.Error(err)
	}
	for _, t2 := range []trip{made[1], {from: meant, to: meant}} {
		if other.travels(t2) == nil {
			t.Errorf("%v is not known for ours", t2)
		}
	}
}
