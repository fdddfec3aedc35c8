package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// TestABareServerHasNoProxyBeforeIt ends the demo by the signal that ends a container.
func TestABareServerHasNoProxyBeforeIt(t *testing.T) {
	address := freeAddress(t)
	ended := make(chan int, 1)
	go func() {
		status, _, _ := call("demo", "-listen", address, "-bare", "iis-4")
		ended <- status
	}()
	real.Listening(t, address)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "EHLO sub2.\r\nQUIT\r\n")
	if said, err := io.ReadAll(conn); err != nil || !strings.Contains(string(said), "501 Invalid Address") {
		t.Errorf("it said %q, %v; a refusal is wanted, that a proxy would have healed", said, err)
	}
	syscall.Kill(syscall.Getpid(), syscall.SIGTERM)
	if status := <-ended; status != succeeded {
		t.Errorf("exit status %d", status)
	}
}
