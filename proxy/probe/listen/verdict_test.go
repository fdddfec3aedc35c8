package listen

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestNoMessageIsAcceptedUnlessAskedTo(t *testing.T) {
	said := []string{"EHLO a.example.com\r\n", mailFrom + "\r\n", rcptTo + "\r\n", "DATA\r\n", whole + ".\r\n", "QUIT\r\n"}
	for accept, want := range map[bool]string{
		false: "554 5.7.1 this is a test; nothing was delivered",
		true:  "250 2.0.0 thrown away: this is a test and nothing is delivered",
	} {
		_, addr, visits := start(t, func(l *Listener) { l.Accept = accept })
		if got := says(t, addr, said...)[4]; got != want {
			t.Errorf("the answer is %q, not %q", got, want)
		}
		v := visit(t, visits)
		if !v.Through || v.Ended != "it sent QUIT" {
			t.Errorf("through: %v, %s", v.Through, v.Ended)
		}
		for v.Next != "" { // whatever the server is like
			if got := says(t, addr, said...)[4]; got[:3] != want[:3] {
				t.Errorf("%s: the answer is %q", v.Next, got)
			}
			v = visit(t, visits)
		}
		chunk := says(t, addr, said[0], said[1], said[2], fmt.Sprintf("BDAT %d LAST\r\n%s", len(whole), whole), "QUIT\r\n")
		if got := chunk[3]; got != want {
			t.Errorf("the answer to the last chunk is %q", got)
		}
		visit(t, visits)
	}
}

func TestAChunkThatMayBeTheLastIsNotAccepted(t *testing.T) {
	_, addr, visits := start(t, nil)
	replies := says(t, addr, "EHLO a.example.com\r\n", mailFrom+"\r\n", rcptTo+"\r\n", "BDAT 4 LAST x\r\nabcd")
	if got := replies[3]; !strings.HasPrefix(got, "501 ") {
		t.Errorf("the answer is %q", got)
	}
	visit(t, visits)
}

// A client that is a reply behind would take the yes to a command for one to its message.
func TestAClientThatReadsOneLineHearsNoYesToItsMessage(t *testing.T) {
	_, addr, visits := start(t, func(l *Listener) {
		l.waits = func(at string) time.Duration {
			if at == "" {
				return 0 // before the greeting
			}
			return patience
		}
	})
	says(t, addr, "EHLO a.example.com\r\n", mailFrom+"\r\n", rcptTo+"\r\n", "DATA\r\n", whole+".\r\n", "QUIT\r\n")
	visit(t, visits)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	hear, last := bufio.NewReader(conn), ""
	for _, said := range []string{"", "HELO a.example.com\r\n", mailFrom + "\r\n", rcptTo + "\r\n", "DATA\r\n", whole + ".\r\n"} {
		conn.Write([]byte(said))
		last, _ = hear.ReadString('\n')
	}
	if strings.HasPrefix(last, "2") || strings.HasPrefix(last, "3") {
		t.Errorf("it takes %q for the answer to its message", last)
	}
	if v := visit(t, visits); len(v.Faults) != 1 {
		t.Errorf("%+v", v)
	}
}
