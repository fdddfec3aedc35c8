package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

// An installed is a smtpshim that can be upgraded: the program and its
// configuration lie in a folder, systemd has given it a socket, and it listens on
// two more.
type installed struct {
	t       *testing.T
	sink    *smtptest.Running
	program string
	config  string
	places  [3]net.Addr // of one route: TCP, a path, systemd's
	admin   string
	drain   string
	lockIn  bool
	top     string   // of the configuration, before its tables
	socket  *os.File // systemd's
	told    <-chan []string
	log     *real.Log
	cmd     *exec.Cmd // the first process
	pid     int       // of the main process
}

func startInstalled(t *testing.T, drain string, lockIn bool) *installed {
	t.Helper()
	server, _ := smtptest.LookupServer("modern")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &installed{t: t, sink: server.Start(l), drain: drain, lockIn: lockIn}
	t.Cleanup(func() { s.sink.Close() })
	s.startAs("", "")
	return s
}

// startAs installs it and starts it, with more at the top of the configuration and at
// the end.
func (s *installed) startAs(top, more string) {
	t, dir := s.t, real.Dir(s.t)
	t.Helper()
	s.program, s.config, s.top = filepath.Join(dir, "smtpshim"), filepath.Join(dir, "smtpshim.toml"), top
	s.admin, s.socket = real.FreeAddr(), bound(t, real.FreeAddr())
	local, err := net.FileListener(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	s.places[0], _ = net.ResolveTCPAddr("tcp", real.FreeAddr())
	s.places[1] = &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "smtp.sock")}
	s.places[2] = local.Addr()
	local.Close()
	s.install()
	s.configure(more)
	s.told = serviceManager(t, filepath.Join(dir, "notify"))
	s.start()
}

// install puts the program in its place, as a package does: another file with the
// same name.
func (s *installed) install() {
	s.t.Helper()
	built, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile(built)
	if err = errors.Join(err, os.WriteFile(s.program+".new", text, 0o755), os.Rename(s.program+".new", s.program)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *installed) configure(more string) {
	write(s.t, s.config, fmt.Sprintf("%sdrain = %q\nlock_in = %v\nadmin.listen = %q\n[[route]]\nname = \"in\"\nlisten = [%q, \"unix:%s\", \"systemd:smtp\"]\nservers = [%q]\n%s",
		s.top, s.drain, s.lockIn, s.admin, s.places[0], s.places[1], s.sink.Addr(), more))
}

// start starts the first process as systemd does.
func (s *installed) start() {
	s.t.Helper()
	program, err := launched(s.program)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" run -config "$1"`, program, s.config)
	s.cmd.ExtraFiles = []*os.File{s.socket}
	s.cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=smtp", "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	s.log = real.StartCommand(s.t, s.cmd)
	s.pid = s.cmd.Process.Pid
	tells(s.t, s.told, "READY=1")
}

// tell sends a signal to the main process.
func (s *installed) tell(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.pid, sig); err != nil {
		s.t.Fatal(err)
	}
}

// upgrade waits until another process is the main one.
func (s *installed) upgrade() {
	s.t.Helper()
	s.tell(syscall.SIGUSR2)
	for _, line := range tells(s.t, s.told, "MAINPID=") {
		if pid, ok := strings.CutPrefix(line, "MAINPID="); ok {
			s.pid, _ = strconv.Atoi(pid)
		}
	}
	tells(s.t, s.told, "READY=1")
}

// alive says whether a process is there, and not merely unburied.
func alive(pid int) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil
}

// deliver delivers a message that has its name in it. A server that asks to come
// back later, before it has taken the message, is no error.
func deliver(to net.Addr, name string) (later bool, err error) {
	conn, err := net.Dial(to.Network(), to.String())
	if err != nil {
		return false, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	c := textproto.NewConn(conn)
	defer c.Close()
	answers := func(line string, code int) error {
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				return err
			}
		}
		if _, _, err := c.ReadResponse(code); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		return nil
	}
	for _, say := range []struct {
		line string
		code int
	}{{"", 220}, {"EHLO client.example.com", 250}, {"MAIL FROM:<anna@example.com>", 250}, {"RCPT TO:<ben@example.net>", 250}, {"DATA", 354}} {
		if err := answers(say.line, say.code); err != nil {
			return asksToComeBack(err), err
		}
	}
	if err := answers("Subject: "+name+"\r\n\r\n"+strings.Repeat("x", 900)+"\r\n.", 250); err != nil {
		return false, err
	}
	if err := answers("QUIT", 221); !asksToComeBack(err) {
		return false, err
	}
	return true, nil
}

func asksToComeBack(err error) bool {
	said, ok := errors.AsType[*textproto.Error](err)
	return ok && said.Code == 421
}

// A load is many clients that deliver one message after the other.
type load struct {
	t         *testing.T
	sink      *smtptest.Running
	ended     atomic.Bool
	clients   sync.WaitGroup
	delivered atomic.Int64
	again     bool // a client that is asked to come back later does so
}

func (s *installed) load(clients int, again bool, places ...net.Addr) *load {
	l := &load{t: s.t, sink: s.sink, again: again}
	s.t.Cleanup(l.stop)
	for client := range clients {
		l.clients.Go(func() {
			for n := 0; !l.ended.Load() && !s.t.Failed(); n++ {
				l.send(places[n%len(places)], fmt.Sprintf("%d-%d", client, n))
			}
		})
	}
	return l
}

func (l *load) send(to net.Addr, name string) {
	for {
		later, err := deliver(to, name)
		switch {
		case err == nil:
			l.delivered.Add(1)
			if later && !l.again {
				l.t.Errorf("%s to %v: asked to leave", name, to)
			}
			return
		case !later || !l.again:
			l.t.Errorf("%s to %v: %v", name, to, err)
			return
		}
	}
}

func (l *load) stop() {
	l.ended.Store(true)
	l.clients.Wait()
}

// goesOn waits until so many more messages are delivered.
func (l *load) goesOn() {
	l.t.Helper()
	enough := l.delivered.Load() + 50
	real.Wait(l.t, "deliveries to go on", func() bool { return l.delivered.Load() >= enough || l.t.Failed() })
}

var subject = regexp.MustCompile(`(?m)^Subject: (\S+)\r$`)

// over ends the clients, and wants the server to have each of their messages once,
// and others besides.
func (l *load) over(others int) {
	l.t.Helper()
	l.stop()
	seen := map[string]int{}
	for _, m := range l.sink.Messages() {
		seen[string(subject.FindSubmatch(m.Body)[1])]++
	}
	for name, times := range seen {
		if times != 1 {
			l.t.Errorf("the server has %s %d times", name, times)
		}
	}
	if want := int(l.delivered.Load()) + others; len(seen) != want {
		l.t.Errorf("the server has %d messages, want %d", len(seen), want)
	}
}

func TestASessionIsNotDroppedByAnUpgrade(t *testing.T) {
	s := startInstalled(t, "1h", true)
	long, err := smtp.Dial(s.places[0].String())
	if err == nil {
		err = errors.Join(long.Hello("client.example.com"), long.Mail("anna@example.com"))
	}
	if err != nil {
		t.Fatal(err)
	}
	l := s.load(8, false, s.places[:]...)
	pids := []int{s.pid}
	for range 5 {
		l.goesOn()
		s.install()
		s.upgrade()
		pids = append(pids, s.pid)
		response, err := http.Get("http://" + s.admin + "/readyz")
		if err != nil {
			t.Fatal("the admin listener: ", err)
		}
		if response.Body.Close(); response.StatusCode != http.StatusOK {
			t.Errorf("the admin listener says %s", response.Status)
		}
	}
	l.goesOn()
	if !alive(pids[0]) {
		t.Error("a process has left its session")
	}
	err = long.Rcpt("ben@example.net")
	if err == nil {
		var w io.WriteCloser
		if w, err = long.Data(); err == nil {
			fmt.Fprint(w, "Subject: long\r\n\r\n")
			err = w.Close()
		}
	}
	if err = errors.Join(err, long.Quit()); err != nil {
		t.Errorf("the session that was there from the beginning: %v", err)
	}
	l.over(1)
	for _, pid := range pids[:5] {
		real.Wait(t, "an old process to end", func() bool { return !alive(pid) })
	}
	s.tell(syscall.SIGTERM)
	real.Wait(t, "six processes to stop", func() bool { return !alive(s.pid) && strings.Count(s.log.String(), "msg=stopped\n") == 6 })
	if _, err := os.Stat(s.places[1].String()); !os.IsNotExist(err) {
		t.Errorf("a socket is left behind: %v", err)
	}
}

func TestARestartUnderSystemdRefusesNobodyAndLosesNothing(t *testing.T) {
	s := startInstalled(t, "1h", true)
	l := s.load(8, true, s.places[2])
	for range 5 {
		l.goesOn()
		s.tell(syscall.SIGTERM)
		if err := s.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		s.start()
	}
	l.goesOn()
	l.over(0)
}

func TestAnUpgradeThatFailsLeavesTheOldProcessServing(t *testing.T) {
	s := startInstalled(t, "1h", true)
	fails := func(change func(), why string) {
		t.Helper()
		change()
		before := strings.Count(s.log.String(), "this process goes on")
		s.tell(syscall.SIGUSR2)
		real.Wait(t, "the upgrade to fail", func() bool { return strings.Count(s.log.String(), "this process goes on") > before })
		if said := s.log.String(); !strings.Contains(said, why) {
			t.Errorf("it does not say %q", why)
		}
		for _, place := range s.places {
			if _, err := deliver(place, "after: "+why); err != nil {
				t.Errorf("after %q: %v", why, err)
			}
		}
	}
	fails(func() { s.configure("colour = \"blue\"\n") }, `err="the new process ended before it served: exit status 1"`)
	fails(func() {
		s.configure(fmt.Sprintf("[[route]]\nname = \"taken\"\nlisten = [%q]\nservers = [\"192.0.2.1:25\"]\n", s.sink.Addr()))
	}, "address already in use")
	fails(func() { os.Remove(s.program) }, "no such file or directory")
	s.install()
	s.configure("")
	s.upgrade()
	for _, place := range s.places {
		if _, err := deliver(place, "at last"); err != nil {
			t.Error(err)
		}
	}
}

func TestAProcessThatIsToldToEndStartsNoOther(t *testing.T) {
	s := startInstalled(t, "1h", false) // locked in it could start no script
	os.Remove(s.program)
	write(t, s.program, "#!/bin/sh\necho it has begun >&2\nexec sleep 1000\n")
	os.Chmod(s.program, 0o755)
	s.tell(syscall.SIGUSR2)
	says(t, s.log, "it has begun")
	s.tell(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(-s.pid, 0); err != syscall.ESRCH {
		t.Errorf("the new process is there still: %v", err)
	}
}

// What is changed in the configuration while a new process starts may be too late
// for it, and is for whoever goes on.
func TestAReloadDuringAnUpgradeIsNotLost(t *testing.T) {
	for _, test := range []struct{ then, goesOn string }{
		{`exec "$0.real" "$@"`, "msg=\"handed over\""},
		{"exit 1", "this process goes on"},
	} {
		s := startInstalled(t, "1h", false) // locked in it could start no script
		if err := os.Rename(s.program, s.program+".real"); err != nil {
			t.Fatal(err)
		}
		write(t, s.program, "#!/bin/sh\necho it has begun >&2\nuntil [ -e \"$0.go\" ]; do sleep 0.01; done\n"+test.then+"\n")
		os.Chmod(s.program, 0o755)
		s.tell(syscall.SIGUSR2)
		says(t, s.log, "it has begun")
		s.tell(syscall.SIGHUP)
		write(t, s.program+".go", "")
		says(t, s.log, test.goesOn)
		says(t, s.log, "msg=reloaded")
		reloaded, wentOn := stamp(t, s.log.String(), "msg=reloaded"), stamp(t, s.log.String(), test.goesOn)
		if reloaded < wentOn {
			t.Errorf("%s: reloaded at %s by the one that does not go on at %s:\n%s", test.then, reloaded, wentOn, s.log)
		}
	}
}

// stamp is the time of the line that has part. The lines of two processes come out of
// order, since each process gathers its own for a moment.
func stamp(t *testing.T, log, part string) string {
	t.Helper()
	for line := range strings.Lines(log) {
		if at, _, ok := strings.Cut(line, " level="); ok && strings.Contains(line, part) {
			return at
		}
	}
	t.Fatalf("no line has %s:\n%s", part, log)
	return ""
}

func TestASessionOutlivesTheProcessesInBetween(t *testing.T) {
	s := startInstalled(t, "1h", true)
	idle := connect(t, s.places[0].String())
	s.upgrade()
	between := s.pid
	s.upgrade()
	real.Wait(t, "the process in between to end", func() bool { return !alive(between) })
	idle("NOOP", "250")
	s.upgrade()
	idle("QUIT", "221")
	if said := s.log.String(); strings.Contains(said, "has ended") || strings.Contains(said, "closing idle sessions") {
		t.Error(said)
	}
}

func TestWhoHasHandedOverEndsWithTheNewProcess(t *testing.T) {
	s := startInstalled(t, "1h", true)
	idle, old := connect(t, s.places[0].String()), s.pid
	s.upgrade()
	s.tell(syscall.SIGKILL)
	idle("", "421 4.3.2")
	real.Wait(t, "the old process to end", func() bool { return !alive(old) })
	says(t, s.log, "the process that took over has ended")
}

func TestAnUpgradeAsksTheIdleToLeaveInTheEndAndCutsNothingOff(t *testing.T) {
	s := startInstalled(t, "1ms", true)
	at := s.places[0].String()
	idle, busy := connect(t, at), connect(t, at)
	busy("HELO client.example.com", "250")
	busy("MAIL FROM:<anna@example.com>", "250")
	busy("RCPT TO:<ben@example.net>", "250")
	busy("DATA", "354")
	old := s.pid
	s.upgrade()
	idle("", "421 4.3.2")
	busy("Subject: long\r\n\r\n.", "250")
	busy("", "421 4.3.2")
	real.Wait(t, "the old process to end", func() bool { return !alive(old) })
}
