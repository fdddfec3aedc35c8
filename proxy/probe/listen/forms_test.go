package listen

import (
	"bufio"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// givesUpAt sends a message over one connection, with AUTH LOGIN if asked to, and says
// QUIT at a reply that it cannot live with.
func givesUpAt(t *testing.T, addr string, logsIn bool, cannot func(reply string) bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said := []string{"EHLO a.example.com\r\n"}
	if logsIn {
		said = append(said, "AUTH LOGIN\r\n", "dQ==\r\n", "cA==\r\n")
	}
	conn.SetDeadline(time.Now().Add(patience))
	from := bufio.NewReader(conn)
	for _, line := range append(said, mailFrom+"\r\n", rcptTo+"\r\n", "DATA\r\n", whole+".\r\n", "QUIT\r\n") {
		for {
			reply, err := from.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if cannot(strings.TrimRight(reply, "\r\n")) {
				line = "QUIT\r\n"
				break
			}
			if strings.HasPrefix(reply, "500 ") {
				conn.Write([]byte("HELO a.example.com\r\n"))
				continue
			}
			if reply[3] == ' ' {
				break
			}
		}
		conn.Write([]byte(line))
		if line == "QUIT\r\n" {
			return
		}
	}
}

func TestWhatStopsAClientInAFormIsFound(t *testing.T) {
	for _, test := range []struct {
		name   string
		logsIn bool
		cannot func(reply string) bool
		route  string
	}{
		{"needs-prompts", true, func(r string) bool {
			return strings.HasPrefix(r, "334 ") && r != "334 VXNlcm5hbWU6" && r != "334 UGFzc3dvcmQ6"
		}, `"auth-prompts"`},
		{"needs-text", false, func(r string) bool { return r == "250 " }, `"reply-texts"`},
		{"needs-ehlo", false, func(r string) bool { return strings.HasPrefix(r, "500 ") }, `["standard"]`},
		{"reads-one-line", false, func(r string) bool { return strings.HasPrefix(r, "250-2.1.0") }, `"one-line-replies"`},
		{"needs-no-esmtp", false, func(r string) bool { return strings.HasPrefix(r, "220 ") && strings.Contains(r, " ESMTP ") }, `"hide-esmtp"`},
		{"needs-one-line", false, func(r string) bool { return strings.HasPrefix(r, "250-SIZE") }, `"one-line-replies"`},
	} {
		l, addr, visits := start(t, nil)
		for range len(formTable) {
			givesUpAt(t, addr, test.logsIn, test.cannot)
			if visit(t, visits).Next == "" {
				break
			}
		}
		c := l.Callers()[0]
		if !slices.Equal(names(c.Faults), []string{test.name}) || c.Through == "" || c.Untried != nil {
			t.Errorf("%s: found %q, through %q, untried %q", test.name, names(c.Faults), c.Through, c.Untried)
		}
		if route := Route(l.Callers(), ":25", "mail.example.com:25"); !strings.Contains(route, test.route) {
			t.Errorf("%s: %s is not in\n%s", test.name, test.route, route)
		}
	}
}

func TestASilentSessionSaysWhichFormComesNextIfAny(t *testing.T) {
	_, addr, visits := start(t, nil)
	says(t, addr)
	if v := visit(t, visits); v.Session != 0 || v.Next != formTable[0].says {
		t.Errorf("before the first session: %+v", v)
	}
	for range 2 * len(formTable) {
		says(t, addr, "EHLO a.example.com\r\n", mailFrom+"\r\n", rcptTo+"\r\n", "DATA\r\n", whole+".\r\n", "QUIT\r\n")
		if visit(t, visits).Next == "" {
			break
		}
	}
	says(t, addr)
	if v := visit(t, visits); v.Session != 0 || v.Next != "" {
		t.Errorf("after it has met every form: %+v", v)
	}
}

func TestWhoOnlyLooksInMeetsTheSameFormAgain(t *testing.T) {
	l, addr, visits := start(t, nil)
	says(t, addr, "EHLO a.example.com\r\n", mailFrom+"\r\n", rcptTo+"\r\n", "DATA\r\n", whole+".\r\n", "QUIT\r\n")
	next := visit(t, visits).Next
	says(t, addr, "EHLO a.example.com\r\n", "QUIT\r\n")
	if v := visit(t, visits); v.Next != next || v.Faults != nil {
		t.Errorf("%+v", v)
	}
	says(t, addr, "EHLO a.example.com\r\n", "QUIT\r\n")
	if v := visit(t, visits); v.Next == next || v.Faults != nil {
		t.Errorf("%+v", v)
	}
	if c := l.Callers()[0]; c.Sessions != 3 || c.Faults != nil {
		t.Errorf("%+v", c)
	}
}
