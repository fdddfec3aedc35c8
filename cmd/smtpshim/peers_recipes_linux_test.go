package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// These follow the recipes to the letter, on machines that have their addresses:
// configurations, firewall and commands are those of the files.

// shim runs smtpshim with the recipe's configuration, but for what is replaced in
// it, and waits until it serves.
func (r recipe) shim(env []string, replace ...string) shim {
	r.t.Helper()
	config := filepath.Join(real.Dir(r.t), "smtpshim.toml")
	write(r.t, config, strings.NewReplacer(replace...).Replace(r.blocks("toml")[0]))
	path, err := program()
	if err != nil {
		r.t.Fatal(err)
	}
	var s shim
	s.proc, s.log = real.StartLogged(r.t, env, path, "run", "-config", config)
	s.logged(r.t, "msg=started")
	return s
}

// firewall puts the recipe's rules in force, here.
func (r recipe) firewall() {
	r.t.Helper()
	nft := exec.Command(real.Bin(r.t, "nft", "nft"), "-f", "-")
	nft.Stdin = strings.NewReader(r.blocks("nft")[0])
	if out, err := nft.CombinedOutput(); err != nil {
		r.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// swaks says the recipe's first command, here, from an address of this machine.
func (r recipe) swaks(from string) (output string, err error) {
	r.t.Helper()
	real.Bin(r.t, "swaks", "swaks")
	command := strings.TrimSpace(r.blocks("sh")[0]) + " --local-interface " + from
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	return string(out), err
}

// delivers wants that command to succeed, and the server to have the mail.
func (r recipe) delivers(from string, to *real.Server, messages int) {
	r.t.Helper()
	if out, err := r.swaks(from); err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
	to.Messages(r.t, messages)
}

const takesFromAll = "mynetworks = 192.0.2.0/24"

func TestRecipeOutboundBySmarthost(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	certificate, key := ca.Issue(t, "smtp.example.net")
	real.OwnMachine(t, "192.0.2.1 shim\n192.0.2.25 old\n192.0.2.26 other\n192.0.2.140 smtp.example.net\n")
	r := readRecipe(t, "outbound-smarthost.md")
	provider := real.Postfix(t, real.Options{Listen: "192.0.2.140:587", CA: ca, Cert: [2]string{certificate, key},
		Settings: []string{takesFromAll, "smtpd_tls_security_level = encrypt"}})
	s := r.shim([]string{"SSL_CERT_FILE=" + ca.File})
	r.delivers("192.0.2.25", provider, 1)
	s.logged(t, "route=outbound", "client=192.0.2.25", "server=smtp.example.net:587", "server_tls=1.3")
	if out, err := r.swaks("192.0.2.26"); err == nil || !strings.Contains(out, "<** 554 ") {
		t.Errorf("another machine may send: %v\n%s", err, out)
	}
}

func TestRecipePostfixOnTheFarSide(t *testing.T) {
	t.Parallel()
	real.OwnMachine(t, "192.0.2.1 shim\n192.0.2.7 client\n192.0.2.30 postfix\n")
	r := readRecipe(t, "postfix-far-side.md")
	to := real.Postfix(t, real.Options{Listen: "192.0.2.30:25", Settings: append(r.blocks("cfg"), takesFromAll)})
	s := r.shim(nil)
	r.delivers("192.0.2.7", to, 1)
	if m := to.Messages(t, 1)[0]; !strings.Contains(m.Header, "from sub2. (unknown [192.0.2.7])") {
		t.Errorf("Postfix saw\n%s", m.Header)
	}
	s.logged(t, "route=to-postfix", "client=192.0.2.7", "server=192.0.2.30:25")
}

func TestRecipeBehindHAProxyOnSeveralMachines(t *testing.T) {
	t.Parallel()
	haproxy := real.Bin(t, "haproxy", "haproxy")
	real.OwnMachine(t, "192.0.2.7 client\n192.0.2.10 haproxy\n192.0.2.11 shim1\n192.0.2.12 shim2\n192.0.2.25 old\n")
	r := readRecipe(t, "haproxy-several-machines.md")
	to := real.Postfix(t, real.Options{Listen: "192.0.2.25:25", Settings: []string{takesFromAll}})
	first, second := r.shim(nil), r.shim(nil, "192.0.2.11", "192.0.2.12")
	config := filepath.Join(real.Dir(t), "haproxy.cfg")
	write(t, config, r.blocks("haproxy")[0])
	real.Start(t, nil, haproxy, "-db", "-f", config)
	real.Listening(t, "192.0.2.10:25")
	r.delivers("192.0.2.7", to, 1)
	if out, err := exec.Command("sh", "-c", r.blocks("sh")[1]).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", r.blocks("sh")[1], err, out)
	}
	for n, stopped := range []shim{first, second} { // one alone, whichever that is
		if n == 1 {
			first = r.shim(nil)
			real.Listening(t, "192.0.2.11:25")
		}
		stopped.proc.Signal(syscall.SIGTERM)
		stopped.logged(t, "msg=stopped")
		r.delivers("192.0.2.7", to, 2+n)
	}
	first.logged(t, "route=in", "client=192.0.2.7", "messages=1", "proxy=192.0.2.10")
	second.logged(t, "client=192.0.2.7", "messages=1")
}

func TestRecipeOutboundByTheFirewall(t *testing.T) {
	n := newNetwork(t)
	real.Bin(t, "swaks", "swaks")
	r := readRecipe(t, "outbound-nft.md")
	says := r.blocks("sh") // firewall, mail, back
	n.sh("router", "cd ../../deploy/transparent && "+strings.Replace(says[0], "inside=eth1", "inside=inside", 1))
	var s shim
	n.on("router", func() { s = r.shim(nil) })
	n.sh("client", says[1])
	n.server.Messages(t, 1)
	s.logged(t, "route=outbound", "server="+server4+":25", "outcome=ok", "messages=1", "rules=fix-hello-name")
	n.sh("router", says[2])
	if out, err := n.run("client", "", "sh", "-c", says[1]); err == nil {
		t.Errorf("it is still healed:\n%s", out)
	}
}

func TestRecipeInFrontOfExchangeOnItsHost(t *testing.T) {
	n := newNetwork(t)
	real.Bin(t, "swaks", "swaks")
	r := readRecipe(t, "exchange-5.5-same-host.md")
	says := r.blocks("sh") // mail, relaying, back
	r.text = strings.ReplaceAll(r.text, `iifname "eth0"`, `iifname "inside"`)
	var s shim
	n.on("router", func() {
		s = r.shim(nil)
		r.firewall()
	})
	n.sh("client", says[0])
	n.server.Messages(t, 1)
	s.logged(t, "route=exchange-in", `hello="EHLO sub2"`, "outcome=ok", "messages=1", "rules=fix-hello-name")
	if out, err := n.run("client", "", "swaks", "--server", "192.0.2.1:2525", "--to", "ben@example.com"); err == nil || !strings.Contains(out, "refused") {
		t.Errorf("it can be reached by its own port: %v\n%s", err, out)
	}
	n.sh("router", says[2])
	if out, err := n.run("client", "", "sh", "-c", says[0]); err == nil {
		t.Errorf("it is still healed:\n%s", out)
	}
}

// sh says a recipe's command on a machine.
func (n network) sh(machine, command string) {
	n.t.Helper()
	n.must(machine, "sh", "-c", command)
}
