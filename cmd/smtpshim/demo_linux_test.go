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

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

// These tests end the demo by the signal that ends a container.
func endDemo(t *testing.T, ended <-chan int) {
	t.Helper()
	syscall.Kill(syscall.Getpid(), syscall.SIGTERM)
	select {
	case status := <-ended:
		if status != succeeded {
			t.Errorf("exit status %d", status)
		}
	case <-time.After(patience):
		t.Error("the demo goes on")
	}
}

func TestABareServerHasWhatItGetsWrongUnlessItIsMended(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"iis-4"}, "501 Invalid Address"}, // a proxy would have healed that
		{[]string{"-mended", "iis-4"}, "250-mail.example.com Hello"},
	} {
		address, ended := freeAddress(t), make(chan int, 1)
		go func() {
			status, _, _ := call(append([]string{"demo", "-listen", address, "-bare"}, c.args...)...)
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
		if said, err := io.ReadAll(conn); err != nil || !strings.Contains(string(said), c.says) {
			t.Errorf("%q said %q, %v; %q is wanted", c.args, said, err, c.says)
		}
		endDemo(t, ended)
	}
}

func TestTheServerOfTheDemoTellsOfAMessage(t *testing.T) {
	for _, args := range [][]string{{"iis-4"}, {"-bare", "iis-4"}} {
		address, ended := freeAddress(t), make(chan int, 1)
		read, write := io.Pipe()
		go func() {
			status := demo(append([]string{"-listen", address}, args...), write, io.Discard)
			write.Close()
			ended <- status
		}()
		told := make(chan bool, 1)
		go func() {
			found := false
			for lines := bufio.NewScanner(read); lines.Scan(); {
				found = found || lines.Text() == "got a message for ben@example.net from anna@example.com, 75 octets"
			}
			told <- found
		}()
		real.Listening(t, address)
		client, _ := smtptest.LookupClient("modern")
		if result := client.Deliver(dialer(address), demoMessage); result.Outcome != smtptest.Delivered {
			t.Errorf("%q: %+v", args, result)
		}
		endDemo(t, ended)
		if !<-told {
			t.Errorf("%q: it tells of no message", args)
		}
	}
}

func TestASimulatedProviderTakesALogin(t *testing.T) {
	address, ended := freeAddress(t), make(chan int, 1)
	read, write := io.Pipe()
	go func() {
		status := demo([]string{"-listen", address, "-bare", "microsoft-365"}, write, io.Discard)
		write.Close()
		ended <- status
	}()
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
	endDemo(t, ended)
}
