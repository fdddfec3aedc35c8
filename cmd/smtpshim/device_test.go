package main

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
)

func TestADeviceHasShorterTimeoutsThatTheFileMayChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	for _, c := range []struct {
		says                 string
		connect, greets, tls time.Duration
		shown                string
	}{
		{"", 30 * time.Second, 5 * time.Minute, 30 * time.Second, ""},
		{"device = false\n", 30 * time.Second, 5 * time.Minute, 30 * time.Second, ""},
		{"device = true\n", 5 * time.Second, 10 * time.Second, 10 * time.Second, "connect 5s, greeting 10s, tls 10s"},
		{"device = true\ntimeouts = {connect = \"3s\", greeting = \"5m\"}\n", 3 * time.Second, 5 * time.Minute, 10 * time.Second, "connect 3s, tls 10s"},
	} {
		write(t, path, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"192.0.2.1:25\"]\n"+c.says)
		read, err := config.Read(path, rehearse(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		got := read.Routes[0].Timeouts
		if got.Connect != c.connect || got.Greeting != c.greets || got.TLS != c.tls || got.DataEnd != 10*time.Minute || got.Command != 5*time.Minute || got.Reply != 5*time.Minute {
			t.Errorf("%q: %+v", c.says, got)
		}
		_, out, _ := call("check", "-config", path)
		words := strings.Join(strings.Fields(out), " ")
		if device := strings.Contains(words, "device timeouts are short"); device != (c.shown != "") || !strings.Contains(words, c.shown) {
			t.Errorf("%q: check says\n%s", c.says, out)
		}
	}
}

// The first server does not greet, so the second is tried as soon as the route says.
func TestADeviceIsServedThoughTheFirstServerIsSilent(t *testing.T) {
	silent := serveEach(t, func(conn net.Conn) { bufio.NewReader(conn).ReadByte() })
	address := freeAddress(t)
	r := &running{t: t, path: filepath.Join(t.TempDir(), "smtpshim.toml")}
	write(t, r.path, fmt.Sprintf("admin.listen = \"\"\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [%q, %q]\ndevice = true\ntimeouts.greeting = \"5s\"\n",
		address, silent, mailServer(t)))
	r.serve()
	connect(t, address)("NOOP", "250")
}
