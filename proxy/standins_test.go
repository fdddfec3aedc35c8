package proxy_test

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/heal"
)

// A standInFault is how the fault of a stand-in shows to a plain client that says these things.
type standInFault struct {
	hello   string // the client's EHLO; "": one with a name that every server has to take
	again   string // a command behind EHLO; "": none
	mail    string // the client's MAIL; "": without parameters
	subject string // of the message; "": a short one
	body    string // its text; "": a short one
	shows   string // what a reply with the fault is; "": none
}

// faults are by stand-in. A reply that is no yes shows a fault in any case, and so does
// a message that arrives otherwise than it was sent.
var faults = map[string]standInFault{
	"exchange-5.0":     {shows: `^220 \S+ Microsoft Exchange`}, // which lacks the word ESMTP
	"exchange-5.5":     {again: "EHLO client.example.com"},
	"iis-4":            {hello: "EHLO sub2."},
	"iis-5":            {hello: "EHLO sub2."},
	"mcis-2":           {hello: "EHLO sub2."},
	"exchange-2003":    {again: "AUTH NTLM", shows: `^334 ntlm supported$`},
	"sendmail-8.6":     {},
	"exchange-4.0":     {body: "one\r\n.two\r\n"},
	"mail-gateway-3.0": {shows: `^220 All set`},
	"vm-smtp":          {hello: "EHLO"},
	"domino":           {hello: "EHLO", shows: `^(?:250[ -][^|]*\|)*250[ -]AUTH=LOGIN(?:\|250[ -](?:AUTH=|[^A])[^|]*)*$`}, // and no AUTH LOGIN
	"mdaemon":          {hello: "EHLO"},
	"raptor":           {},
	"interlock":        {},
	"fw-1":             {again: "NOOP", shows: `^220 OK$`},
	"message-guard":    {subject: strings.Repeat("word ", 60) + "end"},
	"cisco-pix":        {},
	"cisco-pix-noop":   {},
	"imagerunner":      {hello: "EHLO"},
	"bizhub":           {shows: `^220 ?$`},
	"panasonic-dp":     {},
	"watchguard":       {again: "AUTH LOGIN", shows: `^250-\S+ Hello[^|]*(?:\|250[- ](?:[^A|]|A[^U|])[^|]*)*$`}, // and no AUTH
	"office-365":       {shows: `^250 \S+ Hello [^|]*$`},                                                        // HELO alone was said
	"modern-strict":    {mail: "MAIL FROM: <anna@example.com> RET=HDRS"},
}

// byTheirSets are the stand-ins whose faults show under auto, each with what its message
// has in it once the set of its name is named beside auto. heal.Untold has the reasons.
var byTheirSets = map[string]string{
	"exchange-4.0":  "\r\n=2Etwo\r\n",
	"message-guard": "word\r\n word",
	"watchguard":    "Hello Ben.",
}

// visited is what a client has seen in a session with one message, and what its server
// has got.
type visited struct {
	replies []string // their lines joined with "|"
	lost    error
	sent    string   // the message
	arrived []string // messages
}

// isWhole reports whether the message has arrived once, as it was sent.
func (v visited) isWhole() bool { return len(v.arrived) == 1 && v.arrived[0] == v.sent }

// shows reports whether a visit shows a fault.
func (v visited) shows(f standInFault) bool {
	for _, reply := range v.replies {
		refuses := reply[0] > '3'
		if refuses || f.shows != "" && regexp.MustCompile(f.shows).MatchString(reply) {
			return true
		}
	}
	return v.lost != nil
}

// visitPatience is how long a plain client waits for a reply: longer than a rule waits
// for the rest of one. A server that never ends one takes it all.
const visitPatience = 4 * time.Second

// deliverPlainly has a plain client deliver a message.
func deliverPlainly(t *testing.T, address string, f standInFault) (v visited) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	hear := func() {
		var lines []string
		for v.lost == nil {
			conn.SetDeadline(time.Now().Add(visitPatience))
			line, err := replies.ReadString('\n')
			if err != nil {
				v.lost = err
				return
			}
			if lines = append(lines, strings.TrimRight(line, "\r\n")); len(line) < 6 || line[3] != '-' {
				v.replies = append(v.replies, strings.Join(lines, "|"))
				return
			}
		}
	}
	v.sent = "From: anna@example.com\r\nSubject: " + cmp.Or(f.subject, "Hello") + "\r\n\r\n" + cmp.Or(f.body, "Hello Ben.\r\n")
	hear()
	commands := []string{cmp.Or(f.hello, "EHLO client.example.com")}
	if f.again != "" {
		commands = append(commands, f.again)
	}
	if strings.HasPrefix(f.again, "AUTH") {
		commands = append(commands, "*")
	}
	commands = append(commands, cmp.Or(f.mail, "MAIL FROM:<anna@example.com>"), "RCPT TO:<ben@example.net>", "DATA",
		strings.ReplaceAll(v.sent, "\r\n.", "\r\n..")+".", "QUIT")
	for _, c := range commands {
		if v.lost != nil || len(v.replies) > 0 && strings.HasPrefix(v.replies[len(v.replies)-1], "5") && c == "*" {
			break
		}
		fmt.Fprint(conn, c+"\r\n")
		hear()
		if c == "*" && v.lost == nil { // its refusal is right
			v.replies = v.replies[:len(v.replies)-1]
		}
	}
	return v
}

// Each stand-in with its fault shows it to a plain client, and behind auto, over real
// sockets, it does not. Of those that auto has to leave there is a reason, and a set.
func TestAutoHealsTheStandIns(t *testing.T) {
	auto := compile(t, "auto")
	for _, server := range smtptest.Servers() {
		if server.Mend == nil {
			continue
		}
		f, ok := faults[server.Name]
		if !ok {
			t.Errorf("nothing is known of how the fault of %s shows", server.Name)
			continue
		}
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			if v := visitStandIn(t, server, nil, f); v.isWhole() && !v.shows(f) {
				t.Errorf("without smtpshim the fault does not show: %q, %v", v.replies, v.lost)
			}
			v := visitStandIn(t, server, &proxy.Route{Name: "test", Rules: auto}, f)
			shows := v.shows(f) || !v.isWhole()
			if has, untold := byTheirSets[server.Name]; untold {
				if why := heal.Untold()[server.Name]; !shows || why == "" {
					t.Errorf("under auto the fault shows: %v; the reason is %q", shows, why)
				}
				v = visitStandIn(t, server, &proxy.Route{Name: "test", Rules: compile(t, "auto", server.Name)}, f)
				shows = v.shows(f) || len(v.arrived) != 1 || !strings.Contains(v.arrived[0], has)
			}
			if shows {
				t.Errorf("the fault shows: %q, %v; the server has got %q", v.replies, v.lost, v.arrived)
			}
			mended, _ := server.Mended()
			if len(mended.Ehlo) == 0 { // it is of RFC 821 still
				f.hello = "HELO"
			}
			if v := visitStandIn(t, mended, nil, f); v.shows(f) || !v.isWhole() {
				t.Errorf("mended, it still shows the fault: %q, %v; the server has got %q", v.replies, v.lost, v.arrived)
			}
		})
	}
}

// visitStandIn visits a stand-in, behind a route if there is one.
func visitStandIn(t *testing.T, server smtptest.Server, route *proxy.Route, f standInFault) visited {
	t.Helper()
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	server.Timeout = patience
	running := server.Start(l)
	defer running.Close()
	address := running.Addr()
	if route != nil {
		route.Servers = []string{address}
		p, _ := startProxy(t, route)
		address = p.Addr(route.Listen[0]).String()
	}
	v := deliverPlainly(t, address, f)
	for _, m := range running.Messages() {
		v.arrived = append(v.arrived, string(m.Body))
	}
	return v
}
