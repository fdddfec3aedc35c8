package proxy_test

import (
	"net/smtp"
	"testing"

	"smtpshim/proxy"
	"smtpshim/rewrite"
)

// TestAClientWithTLSDeliversToExchange55 has Go's own client, which says EHLO again
// behind STARTTLS and gives up where that is refused, deliver twice.
func TestAClientWithTLSDeliversToExchange55(t *testing.T) {
	for _, rules := range [][]string{nil, {"standard"}, {"exchange-5.5"}} {
		for _, mode := range []rewrite.ClientTLS{rewrite.ClientTLSOffer, rewrite.ClientTLSRequire} {
			ours, theirs := testTLS(t)
			server := startServer(t, legacyServer(t, "exchange-5.5"))
			r := &proxy.Route{Servers: []string{server.Addr()}, Rules: compile(t, rules...), Observer: newCounts()}
			clientLeg(mode, ours)(r)
			_, dial := startProxy(t, r)
			for range 2 { // the second session does not ask the server
				conn, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				c, err := smtp.NewClient(conn, "mail.example.com")
				if err != nil {
					t.Fatal(err)
				}
				if err := c.StartTLS(theirs); err != nil {
					t.Fatalf("%v, client_tls %v: STARTTLS and EHLO: %v", rules, mode, err)
				}
				if ok, _ := c.Extension("DSN"); !ok {
					t.Errorf("%v, client_tls %v: DSN is not offered behind TLS", rules, mode)
				}
				if ok, _ := c.Extension("STARTTLS"); ok {
					t.Errorf("%v, client_tls %v: STARTTLS is offered within TLS", rules, mode)
				}
				deliverBy(t, c)
			}
			wantMessages(t, server, 2)
		}
	}
}

// deliverBy sends the message that wantMessages wants.
func deliverBy(t *testing.T, c *smtp.Client) {
	t.Helper()
	if err := c.Mail(message.From); err != nil {
		t.Fatal(err)
	}
	for _, to := range message.To {
		if err := c.Rcpt(to); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	w.Write(message.Body)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c.Quit()
}
