//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/smtptest/real"
)

// A network is three machines in a row, each a network namespace: a client that
// nobody has told of smtpshim, a router, and a server with a real Postfix.
//
//	client 192.0.2.7 ---- 192.0.2.1 router 192.0.2.129 ---- 192.0.2.130 server
type network struct {
	t      *testing.T
	server *real.Server
}

const (
	client4, client6 = "192.0.2.7", "2001:db8:1::7"
	router4, router6 = "192.0.2.129", "2001:db8:2::1" // as the server sees it
	server4, server6 = "192.0.2.130", "2001:db8:2::2"
)

// cables joins the machines; @ is what sets their names apart from others'.
const cables = `
link add client@ netns client@ type veth peer name inside netns router@
link add server@ netns server@ type veth peer name outside netns router@
-n client@ addr add 192.0.2.7/25 dev client@
-n client@ addr add 2001:db8:1::7/64 dev client@ nodad
-n router@ addr add 192.0.2.1/25 dev inside
-n router@ addr add 2001:db8:1::1/64 dev inside nodad
-n router@ addr add 192.0.2.129/25 dev outside
-n router@ addr add 2001:db8:2::1/64 dev outside nodad
-n server@ addr add 192.0.2.130/25 dev server@
-n server@ addr add 2001:db8:2::2/64 dev server@ nodad
-n client@ link set client@ up
-n router@ link set lo up
-n router@ link set inside up
-n router@ link set outside up
-n server@ link set lo up
-n server@ link set server@ up
-n client@ route add default via 192.0.2.1
-n client@ route add default via 2001:db8:1::1
-n server@ route add default via 192.0.2.129
-n server@ route add default via 2001:db8:2::1
netns exec router@ sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
`

// newNetwork makes the machines, and starts the Postfix: it refuses a name that
// ends in a dot, as IIS does (KB Q240832), and takes mail from the client and
// the router.
func newNetwork(t *testing.T) network {
	t.Helper()
	if os.Getuid() != 0 {
		real.Missing(t, "only root can make network namespaces")
	}
	for _, program := range []string{"ip", "nft", "curl"} {
		real.Bin(t, program, program)
	}
	n := network{t: t}
	for _, machine := range []string{"client", "router", "server"} {
		if out, err := exec.Command("ip", "netns", "add", n.name(machine)).CombinedOutput(); err != nil {
			real.Missing(t, fmt.Sprintf("network namespaces: %s", out))
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "delete", n.name(machine)).Run() })
	}
	for line := range strings.Lines(strings.TrimSpace(cables)) {
		args := strings.Fields(strings.ReplaceAll(line, "@", n.name("")))
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	n.on("server", func() {
		n.server = real.Postfix(t, real.Options{Listen: ":25", Settings: []string{
			"inet_protocols = all",
			"mynetworks = 192.0.2.0/24, [2001:db8::]/32",
			"smtpd_helo_required = yes",
			"smtpd_helo_restrictions = check_helo_access inline:{sub2.=REJECT}",
			"smtpd_delay_reject = no",
			"smtpd_peername_lookup = no",
		}})
	})
	return n
}

// name is that of a machine's namespace.
func (n network) name(machine string) string { return fmt.Sprintf("%s%d", machine, os.Getpid()) }

// on does something on a machine: what it starts, dials and listens at is there.
func (n network) on(machine string, do func()) {
	n.t.Helper()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		n.t.Fatal(err)
	}
	defer here.Close()
	there, err := os.Open(filepath.Join("/run/netns", n.name(machine)))
	if err != nil {
		n.t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		n.t.Fatal(err)
	}
	defer func() {
		if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
	}()
	do()
}

// run runs a program on a machine to its end.
func (n network) run(machine, input, program string, args ...string) (output string, err error) {
	cmd := exec.Command("ip", append([]string{"netns", "exec", n.name(machine), program}, args...)...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	err = cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		n.t.Fatal(err)
	}
	return out.String(), err
}

// must is run for what must succeed.
func (n network) must(machine, program string, args ...string) {
	n.t.Helper()
	if out, err := n.run(machine, "", program, args...); err != nil {
		n.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// send has the client send a message to the server, under a name that it refuses.
func (n network) send(to, subject string) (dialogue string, err error) {
	if strings.Contains(to, ":") {
		to = "[" + to + "]"
	}
	return n.run("client", "Subject: "+subject+"\r\n\r\nA line.\r\n", real.Bin(n.t, "curl", "curl"),
		"--verbose", "--silent", "--show-error", "--max-time", "60", "smtp://"+to+":25/sub2.",
		"--mail-from", "sender@example.com", "--mail-rcpt", "recipient@example.com", "--upload-file", "-")
}

// received is the Received line that Postfix wrote for a message, once it is there.
func (n network) received(subject string) string {
	n.t.Helper()
	var line string
	real.Wait(n.t, "the message "+subject, func() bool {
		for _, m := range n.server.Messages(n.t, 0) {
			if strings.Contains(m.Header, "Subject: "+subject) {
				_, line, _ = strings.Cut(m.Header, "Received: ")
			}
		}
		return line != ""
	})
	line, _, _ = strings.Cut(line, "\n")
	return line
}

// shim starts smtpshim on the router.
func (n network) shim(says string) shim {
	n.t.Helper()
	s := shim{admin: real.FreeAddr()}
	config := filepath.Join(real.Dir(n.t), "smtpshim.toml")
	text := fmt.Sprintf("[admin]\nlisten = %q\n[[route]]\nname = \"peers\"\nlisten = [\":2525\"]\nservers = [\"original-destination\"]\n%s\n", s.admin, says)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		n.t.Fatal(err)
	}
	path, err := program()
	if err != nil {
		n.t.Fatal(err)
	}
	n.on("router", func() {
		s.proc, s.log = real.StartLogged(n.t, []string{"GORACE=halt_on_error=1"}, path, "run", "-config", config)
	})
	s.logged(n.t, "msg=started")
	return s
}

// firewall puts the files of deploy/transparent in force until the test ends.
func (n network) firewall(t *testing.T, files ...string) {
	t.Helper()
	const dir = "../../deploy/transparent/"
	n.must("router", dir+"routes", "up")
	t.Cleanup(func() {
		n.run("router", "", "nft", "flush", "ruleset")
		n.run("router", "", dir+"routes", "down")
	})
	for _, file := range files {
		n.must("router", "nft", "-D", "inside=inside", "-D", "shim=2525", "-D", "smtp=25", "-f", dir+file)
	}
}

const anywhere = "[route.original_destination]\nnetworks = [\"192.0.2.128/25\", \"2001:db8:2::/64\"]"

func TestAClientThatWasToldNothingIsHealedOnItsWay(t *testing.T) {
	n := newNetwork(t)
	for _, to := range []string{server4, server6} {
		if dialogue, err := n.send(to, "unhealed"); err == nil {
			t.Fatalf("the server takes the name as it is:\n%s", dialogue)
		}
	}
	for _, c := range []struct {
		name, says   string
		files        []string
		from4, from6 string
	}{
		{"REDIRECT", "", []string{"redirect.nft"}, router4, router6},
		{"REDIRECT as the client", "source = \"client\"", []string{"redirect.nft", "answers.nft"}, client4, client6},
		{"TPROXY", "transparent = true", []string{"tproxy.nft"}, router4, router6},
		{"TPROXY as the client", "transparent = true\nsource = \"client\"", []string{"tproxy.nft", "answers.nft"}, client4, client6},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := network{t, n.server}
			n.firewall(t, c.files...)
			s := n.shim(c.says + "\n" + anywhere)
			for to, from := range map[string]string{server4: c.from4, server6: "IPv6:" + c.from6} {
				subject := c.name + " to " + to
				if dialogue, err := n.send(to, subject); err != nil {
					t.Fatalf("not sent: %v\n%s", err, dialogue)
				}
				if got, want := n.received(subject), "from sub2 (unknown ["+from+"])"; got != want {
					t.Errorf("Postfix says %q, want %q", got, want)
				}
			}
			s.logged(t, "client="+client4, "client="+client6, "server="+server4+":25", "server=["+server6+"]:25", "rules=fix-hello-name")
		})
	}
}

func TestOurOwnConnectionHandedBackByTheFirewallEndsThere(t *testing.T) {
	n := newNetwork(t)
	n.firewall(t)
	s := n.shim(anywhere)
	n.must("router", "nft", "add table inet loop; add chain inet loop output { type nat hook output priority 0; }; "+
		"add rule inet loop output tcp dport 25 redirect to :2525")
	out, err := n.run("router", "", real.Bin(t, "curl", "curl"), "--verbose", "--silent", "--max-time", "60", "smtp://"+server4+":25")
	if err == nil || !strings.Contains(out, "421 4.3.") {
		t.Errorf("the client was told, with %v:\n%s", err, out)
	}
	s.logged(t, "our own connection")
	// Each may have begun the next before it sees what it is; that soon ends.
	if n := strings.Count(s.log.String(), "outcome="); n > 20 {
		t.Errorf("%d sessions for one client", n)
	}
}

func TestWhereTheClientMayNotGoItIsTold(t *testing.T) {
	n := newNetwork(t)
	for _, c := range []struct{ name, says, to, file, want string }{
		{"not among the networks", "[route.original_destination]\nnetworks = [\"192.0.2.131\", \"::/0\"]", server4, "redirect.nft", "192.0.2.130:25"},
		{"not redirected", anywhere, "192.0.2.1", "redirect.nft", "192.0.2.1:2525"},
		{"not handed over", "transparent = true\n" + anywhere, "192.0.2.1", "tproxy.nft", "192.0.2.1:2525"},
		{"a server that is not there", "source = \"client\"\n" + anywhere, "192.0.2.140", "redirect.nft", "192.0.2.140:25"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := network{t, n.server}
			n.firewall(t, c.file, "answers.nft")
			s := n.shim(c.says + "\n[route.timeouts]\nconnect = \"1s\"")
			port := "25"
			if c.to == "192.0.2.1" {
				port = "2525"
			}
			out, err := n.run("client", "", real.Bin(t, "curl", "curl"), "--verbose", "--silent", "--max-time", "60", "smtp://"+c.to+":"+port)
			if err == nil || !strings.Contains(out, "421 4.3.") {
				t.Errorf("the client was told, with %v:\n%s", err, out)
			}
			s.logged(t, c.want)
		})
	}
}
