package wire

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
)

// Whatever comes behind them, records that are there are one piece of a message.
func TestRecordsOfAMessageThatAreThereAreReadAtOnce(t *testing.T) {
	certificate, pool, err := smtptest.Certificate("mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	ours := &tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true} // which nobody would read
	theirs := &tls.Config{RootCAs: pool, ServerName: "mail.example.com"}
	for name, c := range map[string]struct {
		large bool
		cut   bool // the connection, without a word
		err   error
	}{
		"and then the end":          {large: true, err: io.EOF},
		"and then a cut":            {large: true, cut: true, err: io.EOF},
		"but not without a message": {err: io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := connected(t)
			text := bytes.Repeat([]byte("0123456789"), 6000)
			sent := make(chan error, 1)
			go func() { sent <- sendSecure(far, theirs, text, c.cut) }()
			secure := tls.Server(ForTLS(near), ours)
			if err := secure.Handshake(); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil { // into the socket's buffer
				t.Fatal(err)
			}
			l := NewLeg(secure)
			l.Large = c.large
			deadline := time.Now().Add(20 * time.Second)
			if err := l.Fill(deadline); err != nil {
				t.Fatal(err)
			}
			if whole := l.w == len(text); whole != c.large {
				t.Errorf("read %d octets of %d at once", l.w, len(text))
			}
			err := error(nil)
			for err == nil {
				err = l.Fill(deadline)
			}
			if err != c.err || !bytes.Equal(l.Buffered(), text) {
				t.Errorf("%v behind %d octets; want %v behind the %d that were sent", err, len(l.Buffered()), c.err, len(text))
			}
		})
	}
}

// sendSecure shakes hands, sends all and closes, or cuts.
func sendSecure(conn net.Conn, config *tls.Config, text []byte, cut bool) error {
	secure := tls.Client(conn, config)
	if _, err := secure.Write(text); err != nil {
		return err
	}
	if cut {
		return conn.Close()
	}
	return secure.Close()
}
