//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

// hostileServer says to whoever looks at its dialogues what could harm him. It greets as
// IIS 5 does, so that fix-hello-name acts at once.
func hostileServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(conn net.Conn) {
		defer conn.Close()
		conn.Write([]byte("220 mail.example.com Microsoft ESMTP MAIL Service, Version: 5.0.2195 \x1b[2J<img src=x onerror=alert(1)>\r\n"))
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
			case "EHLO":
				conn.Write([]byte("250-mail.example.com \"><script>alert(1)</script>\r\n250 X-\xff\xfe\r\n"))
			case "MAIL":
				conn.Write([]byte("550 5.7.1 <b>not you</b> \x1b[2J\r\n"))
			case "QUIT":
				conn.Write([]byte("221 bye\r\n"))
				return
			default:
				conn.Write([]byte("252 \xe2\x80\xae{{.}}\r\n"))
			}
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String()
}

// inBrowser has a script of testdata/page look at the page of s.
func (s shim) inBrowser(t *testing.T, script string, more ...string) {
	t.Helper()
	if smtptest.RaceDetected() {
		t.Skip("what it looks for is in the browser, and the race detector would not see that")
	}
	node, chromium := real.Bin(t, "browser", "node"), real.Bin(t, "browser", "chromium")
	modules := filepath.Join(os.Getenv("SMTPSHIM_PEERS"), "browser", "node_modules")
	for _, name := range []string{"playwright-core", "axe-core"} {
		if _, err := os.Stat(filepath.Join(modules, name)); err != nil {
			real.Missing(t, "no "+name+" in SMTPSHIM_PEERS/browser/node_modules")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // a machine may be busy
	defer cancel()
	look := exec.CommandContext(ctx, node, append([]string{filepath.Join("testdata", "page", script), chromium, "http://" + s.admin + "/", s.addr}, more...)...)
	look.Env = append(os.Environ(), "NODE_PATH="+modules)
	if out, err := look.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	startShim(t, shimOptions{server: hostileServer(t)}).inBrowser(t, "browser.cjs")
}

func TestThePageOfManyRoutesInABrowser(t *testing.T) {
	t.Parallel()
	var routes strings.Builder
	for i := range 39 {
		name := fmt.Sprintf("branch-office-%d", i)
		if i == 7 {
			name = strings.Repeat("r", 63) // as long as one can be
		}
		fmt.Fprintf(&routes, "[[route]]\nname = %q\nlisten = [%q]\nservers = [%q]\n", name, real.FreeAddr(), real.FreeAddr())
		if i%5 == 0 { // found to be down
			fmt.Fprintln(&routes, "[route.health]\ninterval = \"1s\"")
		}
	}
	s := startShim(t, shimOptions{server: hostileServer(t), loginSays: routes.String()})
	s.inBrowser(t, "many.cjs", s.path, strconv.Itoa(s.proc.Pid))
}
