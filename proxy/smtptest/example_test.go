package smtptest_test

import (
	"fmt"
	"net"

	"smtpshim/proxy/smtptest"
)

// A host name that ends in a dot, as KB Q240832 has it.
func Example() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server, _ := smtptest.LookupServer("iis-4")
	running := server.Start(l)
	defer running.Close()

	client, _ := smtptest.LookupClient("notes")
	result := client.Deliver(func() (net.Conn, error) {
		return net.Dial("tcp", running.Addr())
	}, smtptest.Message{From: "a@example.com", To: []string{"b@example.net"}})

	fmt.Print(result.Dialogue)
	fmt.Println(result.Outcome, len(running.Messages()))
	// Output:
	// S: 220-mail.example.com Microsoft SMTP MAIL ready at Sat, 28 Aug 1999 09:32:00 -0400 Version: 5.5.1774.114.11
	// S: 220 ESMTP spoken here
	// C: EHLO sub2.
	// S: 501 Invalid Address
	// C: HELO sub2.
	// S: 501 Invalid Address
	// C: QUIT
	// S: 221 mail.example.com Service closing transmission channel
	// queued 0
}
