package proxy

import (
	"bytes"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

func TestSocketsInTheFileSystemServeAndAreServed(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.sock"), filepath.Join(dir, "out.sock")
	greeter(t, "unix", out, "a")
	r := &Route{Listen: []string{"unix:" + in, "127.0.0.1:0"}, Servers: []string{"unix:" + out}}
	r.Limits = Limits{SessionsPerAddress: 1, SessionsPerMinute: 1}
	p := apply(t, r)
	at := p.Addr("unix:" + in)
	first, err := net.Dial("unix", in)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for range 3 {
		wantGreeting(t, at, "220 a") // no limit is for one who has no address
	}
	wantGreeting(t, p.Addr("127.0.0.1:0"), "220 a")
	wantGreeting(t, p.Addr("127.0.0.1:0"), "421 4.7.0 too many sessions, try again later")

	wantMode := func(want fs.FileMode) {
		t.Helper()
		info, err := os.Stat(in)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%v, %v; want %v", info, err, want)
		}
	}
	wantMode(0o660)
	r.ListenMode = 0o600
	if err := p.Apply([]*Route{r}); err != nil {
		t.Fatal(err)
	}
	wantMode(0o600)
	p.Close()
	if _, err := os.Stat(in); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestAnAllowListIsAboutClientsWithAnAddress(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.sock"), filepath.Join(dir, "out.sock")
	greeter(t, "unix", out, "a")
	p := apply(t, &Route{Listen: []string{"unix:" + in, "127.0.0.1:0"}, Servers: []string{"unix:" + out},
		Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	wantGreeting(t, p.Addr("unix:"+in), "220 a")
	wantGreeting(t, p.Addr("127.0.0.1:0"), rewrite.NotServedText)
}

func TestAClientWithoutAnAddressIsUnknownToTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	played := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = smtptest.Play(conn, 20*time.Second, smtptest.Expect("PROXY UNKNOWN"), smtptest.Say("220 a"),
				smtptest.Expect("NOOP"), smtptest.Say("250 ok"), smtptest.Expect("QUIT"), smtptest.Say("221 bye"), smtptest.ExpectEnd())
			conn.Close()
		}
		played <- err
	}()
	in := "unix:" + filepath.Join(t.TempDir(), "in.sock")
	p := apply(t, &Route{Listen: []string{in}, Servers: []string{l.Addr().String()}, ProxySend: header.V1})
	wantGreeting(t, p.Addr(in), "220 a")
	if err := <-played; err != nil {
		t.Error(err)
	}
}

func TestAClientWithoutAnAddressIsLocalInTheLog(t *testing.T) {
	server := greeter(t, "tcp", "127.0.0.1:0", "a").Addr().String()
	in := "unix:" + filepath.Join(t.TempDir(), "in.sock")
	var log bytes.Buffer
	p := &Proxy{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	defer p.Close()
	r := &Route{Name: "in", Listen: []string{in}, Servers: []string{server}}
	if err := p.Apply([]*Route{r}); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, p.Addr(in), "220 a")
	p.Close() // which waits for the log
	if text := log.String(); strings.Count(text, "msg=session ") != 1 || !strings.Contains(text, " client=local server="+server) {
		t.Errorf("the log is\n%s", text)
	}
}

func TestOnlyAStaleSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	l := greeter(t, "unix", stale, "dead")
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	live := filepath.Join(dir, "live.sock")
	greeter(t, "unix", live, "alive")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := greeter(t, "tcp", "127.0.0.1:0", "a").Addr().String()
	for path, good := range map[string]bool{stale: true, live: false, file: false, filepath.Join(dir, "none", "in.sock"): false} {
		p := &Proxy{Logger: slog.New(slog.DiscardHandler)}
		err := p.Apply([]*Route{{Name: "in", Listen: []string{"unix:" + path}, Servers: []string{server}}})
		if (err == nil) != good {
			t.Errorf("%s: %v", path, err)
		}
		if good {
			wantGreeting(t, p.Addr("unix:"+path), "220 a")
		}
		p.Close()
	}
	wantGreeting(t, &net.UnixAddr{Name: live, Net: "unix"}, "220 alive")
	if text, err := os.ReadFile(file); string(text) != "text" {
		t.Errorf("%q, %v: the file was touched", text, err)
	}
}
