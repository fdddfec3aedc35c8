package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/metrics"
	"smtpshim/proxy"
	"smtpshim/proxy/journal"
	"smtpshim/proxy/record"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
)

// startRecorded starts a proxy before a server, which records into dir unless that
// is "". told gets what became of each recording.
func startRecorded(t testing.TB, server, dir string, told func(error)) (address string) {
	t.Helper()
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	counts := metrics.New(prometheus.NewRegistry(), "").Route("in", rules.Names(), metrics.TLS{})
	o := &observed{journal: journal.New(journalSessions, journalOctets), writer: record.Start(func(_ string, err error) { told(err) })}
	if dir != "" {
		o.record = &record.Route{Name: "in", Dir: dir, Octets: 1 << 30, Rules: rules.Names()}
	}
	p := &proxy.Proxy{Logger: slog.New(slog.DiscardHandler)}
	if err := p.Apply([]*proxy.Route{{Name: "in", Listen: []string{loopback}, Servers: []string{server}, Rules: rules,
		Observer: counts, Dialogue: o.Dialogue, Ended: o.Ended}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.writer.Close)
	t.Cleanup(func() { p.Close() })
	return p.Addr(loopback).String()
}

// readRecording waits for one session and reads what was recorded of it.
func readRecording(t *testing.T, dir string, told <-chan error) *transcript.File {
	t.Helper()
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := transcript.Parse(names[0], data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	return f
}

// messageOf is one of n octets with its dot.
func messageOf(n int) string { return strings.Repeat("x", n-5) + "\r\n.\r\n" }

// steps are what one side of a dialogue does: it says what has the mark of what
// was said, and hears what was delivered.
func steps(lines []transcript.Line, side transcript.Side) (list []smtptest.Step) {
	for _, l := range lines {
		octets := 0
		switch {
		case l.Side == side && l.Mark != transcript.Added:
			list = append(list, smtptest.Say(l.Text))
		case l.Side != side && l.Side != 0 && l.Mark != transcript.Removed:
			list = append(list, smtptest.Expect(l.Text))
		}
		if n, _ := fmt.Sscanf(l.Text, "message %d bytes", &octets); l.Side == 0 && n == 1 {
			if side == transcript.Client {
				list = append(list, smtptest.Send(messageOf(octets)))
			} else {
				list = append(list, smtptest.ExpectOctets(messageOf(octets)))
			}
		}
	}
	return list
}

// TestARecordingPlaysAgain records a session that is healed, has both peers say
// again what is recorded of them, and records the same.
func TestARecordingPlaysAgain(t *testing.T) {
	for _, c := range []struct{ server, client string }{{"exchange-5.0", "needs-esmtp"}, {"iis-4", "notes"}} {
		told := make(chan error, 10)
		server, _ := smtptest.LookupServer(c.server)
		running, err := startStandIn(server, loopback)
		if err != nil {
			t.Fatal(err)
		}
		defer running.Close()
		dir := t.TempDir()
		client, _ := smtptest.LookupClient(c.client)
		client.Deliver(dialer(startRecorded(t, running.Addr(), dir, func(err error) { told <- err })), demoMessage)
		first := readRecording(t, dir, told)
		if !strings.Contains(string(first.Format()), "+ ") || !strings.Contains(string(first.Format()), "\n~ message ") {
			t.Fatalf("nothing healed and delivered in\n%s", first.Format())
		}

		l, err := net.Listen("tcp", loopback)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		played := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				defer conn.Close()
				err = smtptest.Play(conn, patience, steps(first.Dialogue, transcript.Server)...)
			}
			played <- err
		}()
		dir = t.TempDir()
		conn, err := net.Dial("tcp", startRecorded(t, l.Addr().String(), dir, func(err error) { told <- err }))
		if err != nil {
			t.Fatal(err)
		}
		err = smtptest.Play(conn, patience, steps(first.Dialogue, transcript.Client)...)
		conn.Close()
		if heard := <-played; err != nil || heard != nil {
			t.Fatalf("client: %v; server: %v", err, heard)
		}
		if diff := transcript.Compare(first.Dialogue, readRecording(t, dir, told).Dialogue); diff != "" {
			t.Errorf("%s:\n%s", c.server, diff)
		}
	}
}

func TestARecordingBearsTheNameOfTheSessionInTheLog(t *testing.T) {
	dir, address, server := t.TempDir(), freeAddress(t), mailServer(t)
	r := start(t, address, server)
	r.configure(address, server, "")
	text, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, r.path, string(text)+fmt.Sprintf("[route.record]\ndir = %q\n", dir))
	r.signals <- syscall.SIGHUP
	r.logged("msg=reloaded")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	err = smtptest.Play(conn, patience, smtptest.Expect("220 mail.example.com ESMTP"), smtptest.Say("NOOP"), smtptest.Expect("250 ok"))
	conn.Close()
	if err != nil {
		t.Fatal(err)
	}
	line := ""
	for !strings.Contains(line, "msg=session") {
		select {
		case line = <-r.log:
		case <-time.After(patience):
			t.Fatal("no session is logged")
		}
	}
	_, after, _ := strings.Cut(line, " session=")
	id, _, _ := strings.Cut(after, " ")
	r.signals <- syscall.SIGTERM
	r.ended()
	names, err := filepath.Glob(filepath.Join(dir, "*-in-"+id+".txt"))
	if err != nil || len(names) != 1 || id == "" {
		t.Errorf("session %q has the files %q, %v; logged\n%s", id, names, err, line)
	}
}
