package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/tlspolicy"
)

// simulated starts one of the simulated servers.
func simulated(t *testing.T, name string, config *tls.Config) *smtptest.Running {
	t.Helper()
	server, ok := smtptest.LookupServer(name)
	if !ok {
		t.Fatalf("there is no server %s", name)
	}
	server.TLS = config
	running, err := startStandIn(server, loopback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { running.Close() })
	return running
}

// checkedLive runs check -live for one route with these servers, and gives what
// it says of them: the words of each line with one blank between.
func checkedLive(t *testing.T, servers []string, more string) (status int, said string) {
	t.Helper()
	return checkedLiveTop(t, "", servers, more)
}

// checkedLiveTop is checkedLive with more at the top of the file.
func checkedLiveTop(t *testing.T, top string, servers []string, more string) (status int, said string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, file, fmt.Sprintf(top+"[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [%s]\n%s\n", quotedList(servers), more))
	status, out, errs := call("check", "-config", file, "-live")
	if errs != "" {
		t.Fatal(errs)
	}
	_, live, _ := strings.Cut(out, " is right: ")
	return status, strings.Join(strings.Fields(live), " ")
}

func quotedList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(quoted, ", ")
}

// wantInOrder wants all of these in a text, in this order.
func wantInOrder(t *testing.T, text string, want ...string) {
	t.Helper()
	rest := text
	for _, w := range want {
		_, after, found := strings.Cut(rest, w)
		if !found {
			t.Errorf("%q is missing, or not behind the one before, in\n%s", w, text)
			return
		}
		rest = after
	}
}

func TestALiveCheckTellsWhatAServerIsLikeAndWhichRulesAct(t *testing.T) {
	old, modern := simulated(t, "exchange-5.0", nil), simulated(t, "modern", nil)
	status, said := checkedLive(t, []string{old.Addr(), modern.Addr()}, "")
	if status != succeeded {
		t.Errorf("status %d", status)
	}
	wantInOrder(t, said, "server "+old.Addr()+" of route in",
		"S- 220 mail.example.com Microsoft Exchange", "S+ 220 mail.example.com ESMTP Microsoft", "C: EHLO ", "S: 250-XAUTH NTLM",
		"TLS is not offered", "rule advertise-esmtp acts; it heals Exchange 5.0",
		"server "+modern.Addr()+" of route in", "S: 220 mail.example.com ESMTP", "S: 250-PIPELINING", "TLS is not offered")
	if strings.Count(said, "advertise-esmtp acts") != 1 {
		t.Errorf("a rule acts where nothing is to be healed:\n%s", said)
	}
	for _, server := range []*smtptest.Running{old, modern} {
		server.Wait()
		for _, d := range server.Dialogues() {
			commands := d.Said("C")
			for i, c := range commands {
				commands[i], _, _ = strings.Cut(c, " ")
			}
			if !slices.Equal(commands, []string{"EHLO", "QUIT"}) {
				t.Errorf("the server heard %q", commands)
			}
		}
	}
}

func TestALiveCheckTellsOfTLS(t *testing.T) {
	certificate, _, err := smtptest.Certificate("mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	server := simulated(t, "modern", &tls.Config{Certificates: []tls.Certificate{certificate}}).Addr()
	clear := simulated(t, "modern", nil).Addr()
	pin := hexadecimal(tlspolicy.Inspect(certificate.Leaf).Fingerprint)
	const version = "TLS 1.3, TLS_AES_128_GCM_SHA256"
	whose := []string{"certificate for mail.example.com; ECDSA 256; signed by itself; until ", "SHA-256 " + pin}
	for _, c := range []struct {
		name, server, more string
		status             int
		want               []string
		never              string
	}{
		{"not used", server, "[route.client_tls]\nmode = \"hide\"", succeeded,
			append([]string{version + "; offered, and not used: server_tls.mode is off"}, whose...), "FAILED"},
		{"passed on", server, "", succeeded,
			append([]string{version + "; offered, and used if the client begins it with the server"}, whose...), "FAILED"},
		{"opportunistic", server, "[route.server_tls]\nmode = \"opportunistic\"", succeeded,
			append([]string{"~ server TLS", version}, whose...), "FAILED"},
		{"pinned", server, "[route.server_tls]\nmode = \"require\"\npins = [\"" + pin + "\"]", succeeded,
			append([]string{"~ server TLS", version}, whose...), "FAILED"},
		{"not believed", server, "[route.server_tls]\nmode = \"require\"", failed,
			append([]string{version + "; if its certificate is not verified"}, append(whose, "FAILED TLS fails, so there is no mail: ")...), "~ server TLS"},
		{"not offered", clear, "[route.server_tls]\nmode = \"require\"", failed,
			[]string{"TLS is not offered", "FAILED TLS is required and not offered, so there is no mail", "1 server failed"}, "SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, said := checkedLive(t, []string{c.server}, c.more)
			if status != c.status || strings.Contains(said, c.never) {
				t.Errorf("status %d, want %d, and no %q, in\n%s", status, c.status, c.never, said)
			}
			wantInOrder(t, said, c.want...)
		})
	}
}

func TestALiveCheckFailsForAServerThatIsOfNoUse(t *testing.T) {
	nobody := freeAddress(t)
	silent := script(t)
	unwilling := script(t, smtptest.Say("554 mail.example.com not from there"), smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
	good := simulated(t, "modern", nil).Addr()
	status, said := checkedLive(t, []string{nobody, silent, unwilling, good}, "[route.timeouts]\ngreeting = \"5s\"")
	if status != failed {
		t.Errorf("status %d", status)
	}
	wantInOrder(t, said, "server "+nobody, "FAILED cannot be reached: dial tcp "+nobody,
		"server "+silent, "FAILED cannot be reached: waiting for the greeting: ", "timeout",
		"server "+unwilling, "554 mail.example.com not from there", "FAILED ",
		"server "+good, "S: 221 2.0.0 Bye", "3 servers failed.")
	if _, of, _ := strings.Cut(said, "server "+good); strings.Contains(of, "FAILED") {
		t.Errorf("a good server failed:\n%s", of)
	}
}

func TestALiveCheckSaysWhatTheServerHasToTrustUsFor(t *testing.T) {
	heard := make(chan string, 1)
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		heard <- line
	}()
	_, said := checkedLive(t, []string{l.Addr().String()}, "[route.proxy_protocol]\nsend = \"v1\"")
	if got := <-heard; got != "PROXY UNKNOWN\r\n" {
		t.Errorf("the server heard %q", got)
	}
	wantInOrder(t, said, "PROXY header was sent, without a client; the server must be configured to accept it from this machine")
}

// script plays a server once, and returns its address. It says nothing more then
// until the test is over.
func script(t *testing.T, steps ...smtptest.Step) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	t.Cleanup(func() { close(over); l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		smtptest.Play(conn, sessionEnd, steps...)
		<-over
		conn.Close()
	}()
	return l.Addr().String()
}
