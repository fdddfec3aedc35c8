package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// TestABareServerHasNoProxyBeforeIt, and the one below, end the demo by the signal that ends a container.
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

func TestAMendedServerTakesWhatTheOtherRefuses(t *testing.T) {
	address, ended := freeAddress(t), make(chan int, 1)
	go func() {
		status, _, _ := call("demo", "-listen", address, "-bare", "-mended", "iis-4")
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
	if said, err := io.ReadAll(conn); err != nil || !strings.Contains(string(said), "250-mail.example.com Hello") {
		t.Errorf("it said %q, %v; a good reply to EHLO is wanted", said, err)
	}
	syscall.Kill(syscall.Getpid(), syscall.SIGTERM)
	if status := <-ended; status != succeeded {
		t.Errorf("exit status %d", status)
	}
}

func TestASimulatedProviderTakesALogin(t *testing.T) {
	address, ended := freeAddress(t), make(chan int, 1)
	read, write := io.Pipe()
	go func() { ended <- demo([]string{"-listen", address, "-bare", "microsoft-365"}, write, io.Discard) }()
	lines := bufio.NewScanner(read)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "server_tls") {
	}
	said := lines.Text()
	go io.Copy(io.Discard, read)
	listen := freeAddress(t)
	r := &running{t: t, path: filepath.Join(t.TempDir(), "smtpshim.toml"), admin: freeAddress(t),
		route: said + "\n[[route.login]]\naccount = \"office\"\nnetworks = [\"127.0.0.0/8\"]\n"}
	r.configure(listen, address, "[[account]]\nname = \"office\"\nuser = \"scanner@example.com\"\nmethod = \"oauth\"\nflow = \"command\"\ncommand = [\"/bin/echo\", \"token\"]\n")
	r.serve()
	say := connectTo(t, listen, "220 ")
	say("EHLO scanner.example.com", "250-")
	for range 9 {
		say("", "250")
	}
	say("MAIL FROM:<copier@example.org>", "250 2.1.0 Sender OK")
	say("QUIT", "221")
	r.signals <- syscall.SIGTERM
	r.ended()
	syscall.Kill(syscall.Getpid(), syscall.SIGTERM)
	if status := <-ended; status != succeeded {
		t.Errorf("exit status %d", status)
	}
}
