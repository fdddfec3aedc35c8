//go:build linux

package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// A balancer is a running HAProxy with the configuration of deploy/, in which
// nothing but the addresses and the time between checks is another.
type balancer struct {
	at    map[string]string // real addresses, by those in the file
	stats string            // its socket
}

var fileAddress = regexp.MustCompile(`192\.0\.2\.\d+:\d+`)

// balance reads the file and finds places on loopback for the addresses in it.
func balance(t *testing.T) (b balancer, config string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	b = balancer{at: map[string]string{}, stats: filepath.Join(real.Dir(t), "stats")}
	config = fileAddress.ReplaceAllStringFunc(string(text), func(address string) string {
		if b.at[address] == "" {
			b.at[address] = real.FreeAddr()
		}
		return b.at[address]
	})
	if strings.Count(config, "inter 10s") != 1 {
		t.Fatal("the time between checks is not where it was")
	}
	return b, strings.Replace(config, "inter 10s", "inter 500ms", 1)
}

// start runs HAProxy until all its servers have been checked, and are up.
func (b balancer) start(t *testing.T, config string) {
	t.Helper()
	dir := real.Dir(t)
	own, file := filepath.Join(dir, "global.cfg"), filepath.Join(dir, "haproxy.cfg")
	write(t, own, fmt.Sprintf("global\n  log stdout format raw daemon\n  stats socket %s\n", b.stats))
	write(t, file, config)
	haproxy := real.Bin(t, "haproxy", "haproxy")
	real.Start(t, nil, haproxy, "-db", "-f", own, "-f", file)
	servers := strings.Count(config, "\n    server ")
	real.Wait(t, fmt.Sprintf("%d servers to be up", servers), func() bool { return b.up() == servers })
}

// up counts the servers of which a check has said that they are up.
func (b balancer) up() (n int) {
	conn, err := net.Dial("unix", b.stats)
	if err != nil {
		return 0
	}
	defer conn.Close()
	fmt.Fprint(conn, "show stat\n")
	rows, err := csv.NewReader(conn).ReadAll()
	if err != nil {
		return 0
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, row := range rows[1:] {
		if row[column["status"]] == "UP" && row[column["check_status"]] == "L7OK" {
			n++
		}
	}
	return n
}

// shimRoute is a route of ours behind one of the file's listeners. Its greeting has
// two lines where the server's lacks the word ESMTP.
const shimRoute = `
[[route]]
name = %q
listen = [%q]
servers = [%q]
proxy_protocol.accept_from = ["127.0.0.0/8"]
%s
[route.options.advertise-esmtp]
style = "line"
`

// An introduction is a way for the server to get to know the client.
type introduction struct {
	setting  string // of Postfix
	route    string // of our route
	starttls string // client_tls.mode where connections begin in clear
}

// behind runs the smtpshim that the file has at a host, and gives its log.
func (b balancer) behind(t *testing.T, host, server string, by introduction, ca *real.CA) *real.Log {
	t.Helper()
	name, _, _ := net.SplitHostPort(b.at["192.0.2.10:465"]) // which clients connect to
	certificate, key := ca.Issue(t, name)
	admin := real.FreeAddr()
	text := fmt.Sprintf("[admin]\nlisten = %q\n", admin)
	for port, tls := range map[string]string{
		"25":  fmt.Sprintf("mode = %q\n", by.starttls),
		"587": fmt.Sprintf("mode = %q\n", by.starttls),
		"465": fmt.Sprintf("mode = \"implicit\"\ncertificate = %q\nkey = %q\n", certificate, key),
	} {
		text += fmt.Sprintf(shimRoute, "port-"+port, b.at[host+":"+port], server, by.route) + "[route.client_tls]\n" + tls
	}
	config := filepath.Join(real.Dir(t), "smtpshim.toml")
	write(t, config, text)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	_, log := real.StartLogged(t, nil, path, "run", "-config", config)
	real.Wait(t, "smtpshim to be ready", func() bool { // without a connection to a route
		response, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		io.Copy(io.Discard, response.Body)
		return response.StatusCode == http.StatusOK
	})
	return log
}

func TestBehindHAProxyThePostfixSeesTheClient(t *testing.T) {
	t.Parallel()
	for way, by := range map[string]introduction{
		"PROXY":   {"smtpd_upstream_proxy_protocol = haproxy", "proxy_protocol.send = \"v2\"", "pass"},
		"XCLIENT": {authorized, "xclient.send = \"require\"", "hide"},
	} {
		t.Run("by "+way, func(t *testing.T) {
			t.Parallel()
			seenBehindHAProxy(t, by)
		})
	}
}

// seenBehindHAProxy has clients send mail by all listeners of the file.
func seenBehindHAProxy(t *testing.T, by introduction) {
	real.Bin(t, "haproxy", "haproxy") // before all the rest is started
	ca := real.NewCA(t)
	to := real.Postfix(t, real.Options{Settings: []string{by.setting, "smtpd_banner = $myhostname ready"}})
	b, config := balance(t)
	logs := []*real.Log{b.behind(t, "192.0.2.11", to.Addr, by, ca), b.behind(t, "192.0.2.12", to.Addr, by, ca)}
	b.start(t, config)
	for from, way := range map[string]struct {
		at   string
		args []string
	}{
		"127.0.0.7": {"192.0.2.10:25", nil},
		"127.0.0.8": {"192.0.2.10:587", nil},
		"127.0.0.9": {"192.0.2.10:465", []string{"--tls-on-connect", "--tls-verify", "--tls-ca-path", ca.File}},
	} {
		swaks(t, b.at[way.at], "from "+from, append(way.args, "--local-interface", from)...)
	}
	for _, m := range wantStored(t, to, 3, "from 127.0.0.") {
		_, from, _ := strings.Cut(strings.TrimSpace(string(m.Body)), " ")
		if !strings.Contains(m.Header, "(unknown ["+from+"])") {
			t.Errorf("Postfix did not see %q:\n%s", from, m.Header)
		}
	}
	wantSessions(t, logs)
}

// wantSessions wants one line in the logs for each message, and none for checks.
func wantSessions(t *testing.T, logs []*real.Log) {
	t.Helper()
	session := regexp.MustCompile(`msg=session .*client=127\.0\.0\.[789] .*outcome=ok messages=1 .*proxy=127\.0\.0\.1\b.*`)
	all := func() (text string) {
		for _, log := range logs {
			_, since, _ := strings.Cut(log.String(), "msg=started ") // before it there are warnings of the certificate
			text += since
		}
		return text
	}
	real.Wait(t, "the log of 3 sessions", func() bool { return len(session.FindAllString(all(), -1)) == 3 })
	if log := all(); strings.Count(log, "msg=session ") != 3 || strings.Contains(log, "level=WARN") {
		t.Errorf("the log has more than these:\n%s", log)
	}
}
